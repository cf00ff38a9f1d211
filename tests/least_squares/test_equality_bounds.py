"""Linear equality constraints together with bounds: shares that sum to one and are not negative, and many more."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.sparse
import scipy.sparse.linalg

import sparsesolve as ss
from sparsesolve.least_squares import RESULTS

rng = np.random.default_rng(7)
N, P, M = 12, 3, 20
ROWS = rng.standard_normal((P, N)) * (rng.random((P, N)) < 0.6)
SPECTRA = jnp.asarray(np.abs(rng.standard_normal((M, N))))


def distance(y, data):
    return y - data


def bent(y, data):
    return jnp.tanh(data[0] @ y / 3) - data[1]


def on_simplex(data):
    """The nearest point with entries that are not negative and sum to one (Held, Wolfe, Crowder, 1974)."""
    falling = np.sort(data)[::-1]
    excess = (np.cumsum(falling) - 1) / np.arange(1, data.size + 1)
    return np.maximum(data - excess[np.flatnonzero(falling > excess)[-1]], 0)


@pytest.mark.parametrize("n", [8, 3000], ids=["few", "many"])
def test_the_nearest_shares(n):
    data = np.random.default_rng(n).standard_normal(n)
    whole = (np.ones((1, n)), np.ones(1))
    starts = [np.full(n, 1 / n), np.zeros(n), np.eye(n)[0]] if n < 10 else [np.full(n, 1 / n)]
    for start in starts:
        sol = ss.least_squares(distance, None, jnp.asarray(start), jnp.asarray(data), bounds=(0.0, 1.0), equality=whole)
        np.testing.assert_allclose(sol.value, on_simplex(data), atol=1e-12)
        assert int(jnp.sum(sol.value == 0.0)) >= n // 3
        assert int(sol.stats["num_steps"]) <= 3


def optimality(sol, fn, data, low, high, A: Any):
    """The largest gradient that multipliers of constraints and bounds leave over."""
    y = np.asarray(sol.value)
    gradient = np.asarray(jax.grad(lambda y: 0.5 * sum(jnp.sum(r**2) for r in jax.tree.leaves(fn(y, data))))(sol.value))
    free = (y > low) & (y < high)
    part = scipy.sparse.csr_matrix(A)[:, np.flatnonzero(free)]
    shifted = scipy.sparse.csc_matrix(part @ part.T + 1e-14 * scipy.sparse.eye(part.shape[0]))
    nu = scipy.sparse.linalg.spsolve(shifted, -part @ gradient[free])
    left = gradient + A.T @ nu
    wrong = np.where(free, np.abs(left), np.where(y <= low, -left, left))
    return float(np.max(np.where(low < high, wrong, 0.0)) / np.abs(gradient).max())


def test_random_fits_have_the_costs_of_a_peer_and_fulfil_all_conditions():
    cost = jax.jit(lambda y, data: 0.5 * jnp.sum(bent(y, data) ** 2))
    for seed in range(12):
        rng = np.random.default_rng(seed)
        matrix = rng.standard_normal((M, N)) @ (np.eye(N) + 0.4 * (seed % 3) * rng.standard_normal((N, N)))
        low, high = -0.5 * rng.random(N), 0.5 * rng.random(N)
        low[::3], high[1::3] = 0.0, np.inf
        inside = low + (np.minimum(high, 1.0) - low) * rng.random(N)
        b = ROWS @ inside
        data = (jnp.asarray(matrix), jnp.asarray(np.tanh(matrix @ inside / 3) + 0.05 * rng.standard_normal(M)))
        limits = (jnp.asarray(low), jnp.asarray(high))
        sol = ss.least_squares(bent, None, jnp.clip(0.0, *limits), data, bounds=limits, equality=(ROWS, b))
        np.testing.assert_allclose(ROWS @ np.asarray(sol.value), b, atol=1e-13)
        assert optimality(sol, bent, data, low, high, ROWS) < 1e-6
        peer = scipy.optimize.minimize(
            lambda y, data=data: float(cost(y, data)),
            np.asarray(sol.value),
            bounds=list(zip(low, high, strict=True)),
            constraints={"type": "eq", "fun": lambda y, b=b: ROWS @ y - b, "jac": lambda y: ROWS},
            method="SLSQP",
            options={"ftol": 1e-14},
        )
        assert float(sol.stats["cost"]) <= peer.fun * (1 + 1e-8)  # it finds nothing better beginning at our minimum


def smooth(y, data):
    return {"fit": y + 0.1 * y**3 - data, "slope": 3 * (y[1:] - y[:-1])}


def test_ten_thousand_parameters_under_hundreds_of_constraints():
    n, p, width = 10_000, 300, 6
    rng = np.random.default_rng(0)
    columns = np.concatenate([33 * k + rng.choice(33, width, replace=False) for k in range(p)])
    A = scipy.sparse.csr_matrix((0.1 + rng.random(p * width), columns, np.arange(0, p * width + 1, width)), (p, n))
    true = 0.05 + rng.random(n) * (rng.random(n) < 0.6)
    data = jnp.asarray(true + 0.8 * rng.standard_normal(n))
    sol = ss.least_squares(smooth, None, jnp.full(n, 0.5), data, bounds=(0.0, None), equality=(A, A @ true))
    np.testing.assert_allclose(A @ np.asarray(sol.value), A @ true, atol=1e-12)
    assert optimality(sol, smooth, data, np.zeros(n), np.full(n, np.inf), A) < 1e-7
    assert int(jnp.sum(sol.value == 0.0)) > 300
    assert int(sol.stats["nnz_factor"]) < 20 * n


def shares(data, b, low):
    """Of which the last is at its bound."""
    matrix = SPECTRA[:, :5]
    sol = ss.least_squares(
        bent, None, jnp.full(5, 0.2), (matrix, data), bounds=(low, 1.0), equality=(np.ones((1, 5)), b)
    )
    return sol.value


DATA = jnp.tanh(SPECTRA[:, :5] @ jnp.array([0.4, 0.3, 0.2, 0.2, -0.1]) / 3)


def test_derivatives_are_those_of_differences():
    at = (DATA, jnp.ones(1), jnp.zeros(5))
    weights = jnp.arange(1.0, 6.0)

    def reading(data, b, low):
        return shares(data, b, low) @ weights

    assert float(shares(*at)[4]) == 0.0
    gradient = jax.grad(reading, argnums=(0, 1, 2))(*at)
    h = 1e-4
    for place, position in ((0, 3), (1, 0), (2, 4)):
        step = jnp.zeros_like(at[place]).at[position].set(h)
        ends = [reading(*(x + sign * step if i == place else x for i, x in enumerate(at))) for sign in (1, -1)]
        assert float(gradient[place][position]) == pytest.approx(float(ends[0] - ends[1]) / (2 * h), rel=1e-5)
    assert float(jnp.max(jnp.abs(gradient[2][:4]))) == 0.0


def test_lanes_are_what_they_are_alone():
    data = jnp.stack([0.5 * DATA, DATA, 1.5 * DATA])
    together = jax.jit(jax.vmap(lambda d: shares(d, jnp.ones(1), jnp.zeros(5))))(data)
    alone = jnp.stack([shares(d, jnp.ones(1), jnp.zeros(5)) for d in data])
    np.testing.assert_allclose(together, alone, atol=1e-7)
    np.testing.assert_array_equal(together == 0.0, alone == 0.0)


def test_what_cannot_be_is_refused_in_a_sentence():
    whole, start = np.ones((2, 4)), jnp.full(4, 0.5)

    def fit(b, solver=None, y0=start):
        return ss.least_squares(
            distance, solver, y0, jnp.arange(4.0), bounds=(0.0, 1.0), equality=(whole, b), throw=False
        )

    assert bool(fit(jnp.array([5.0, 5.0])).result == RESULTS.infeasible)
    assert bool(fit(jnp.array([1.0, 2.0])).result == RESULTS.infeasible)  # contradict each other
    repeated = fit(jnp.array([1.0, 1.0]))
    assert bool(repeated.result == RESULTS.successful)
    np.testing.assert_allclose(repeated.value, on_simplex(np.arange(4.0)), atol=1e-12)
    np.testing.assert_array_equal(fit(jnp.array([4.0, 4.0])).value, 1.0)  # the only point
    with pytest.raises(RuntimeError, match="No point fulfils both"):
        ss.least_squares(distance, None, start, jnp.arange(4.0), bounds=(0.0, 1.0), equality=(whole, jnp.full(2, 5.0)))
    with pytest.raises(ValueError, match="start outside the bounds"):
        fit(jnp.ones(2), y0=3 * start)
    with pytest.raises(ValueError, match="write LevenbergMarquardt"):
        fit(jnp.ones(2), ss.GaussNewton())
    with pytest.raises(ValueError, match="stores no Jacobian"):
        fit(jnp.ones(2), ss.LevenbergMarquardt(linear_solver="lsmr"))


def test_covariances_know_the_constraints_and_if_asked_the_bounds():
    data = DATA + 0.01 * jnp.asarray(np.random.default_rng(1).standard_normal(M))
    matrix = SPECTRA[:, :5]
    sol = ss.least_squares(
        bent, None, jnp.full(5, 0.2), (matrix, data), bounds=(0.0, 1.0), equality=(np.ones((1, 5)), jnp.ones(1))
    )
    J = np.asarray(jax.jacfwd(bent)(sol.value, (matrix, data)))
    for hold, rows in ((False, np.ones((1, 5))), (True, np.stack([np.ones(5), np.eye(5)[4]]))):
        Z = scipy.linalg.null_space(rows)
        variance = 2 * float(sol.stats["cost"]) / (M - Z.shape[1])
        expected = variance * Z @ np.linalg.inv(Z.T @ J.T @ J @ Z) @ Z.T
        np.testing.assert_allclose(ss.covariance(sol, hold_bounds=hold), expected, atol=1e-9 * expected.max())
    text = sol.report()
    assert "16 degrees of freedom" in text and "at its bound" in text


def test_it_lowers_for_other_devices():
    lowered = jax.jit(shares).trace(DATA, jnp.ones(1), jnp.zeros(5)).lower(lowering_platforms=("cuda",))
    assert "while" in lowered.as_text()
