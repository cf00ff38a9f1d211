"""Bounds that are active at the solution: the costs of SciPy's `trf`, a zero projected gradient, few steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from sparsesolve.least_squares import LevenbergMarquardt, least_squares

INF = np.inf
MANY = LevenbergMarquardt(linear_solver="cholesky")
rng = np.random.default_rng(5)
MIXED = jnp.asarray(rng.standard_normal((30, 20)) @ (np.eye(20) + 0.9 * rng.standard_normal((20, 20))))
DATA = jnp.asarray(3 * rng.standard_normal(30))


def rosenbrock(y, args):
    return jnp.stack([10.0 * (y[1] - y[0] ** 2), 1.0 - y[0]])


def helical(y, args):
    angle = jnp.arctan2(y[1], y[0]) / (2 * jnp.pi)
    return jnp.stack([10 * (y[2] - 10 * angle), 10 * (jnp.hypot(y[0], y[1]) - 1), y[2]])


def linear(y, args):
    return MIXED @ y - DATA


def bent(y, args):
    return jnp.tanh(MIXED @ y / 5) - DATA / 10


CASES = {
    "rosenbrock, one side": (rosenbrock, (-INF, 1.5), (INF, INF), (-2.0, 2.0)),
    "rosenbrock, both at the corner": (rosenbrock, (-50, 0.0), (0.5, 100), (-1.0, 1.0)),
    "rosenbrock, starts at a bound": (rosenbrock, (-2, -2), (2, 0.3), (-2.0, -2.0)),
    "helical valley, starts at a bound": (helical, (-100, 0.1, -INF), (0.8, INF, INF), (-1.0, 0.1, 0.0)),
    "non-negative, correlated, starts at zero": (linear, (0,) * 20, (INF,) * 20, (0.0,) * 20),
    "box, correlated": (bent, (-0.1,) * 20, (0.1,) * 20, (0.0,) * 20),
}


@pytest.mark.parametrize("solver", [None, MANY], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", CASES)
def test_active_bounds(name, solver):
    fn, *sides = CASES[name]
    low, high, start = (jnp.asarray(side, float) for side in sides)
    sol = least_squares(fn, solver, start, bounds=(low, high))
    gradient = jax.grad(lambda y: 0.5 * jnp.sum(fn(y, None) ** 2))(sol.value)
    projected = sol.value - jnp.clip(sol.value - gradient, low, high)
    assert float(jnp.max(jnp.abs(projected))) <= 1e-8
    assert bool(jnp.any((sol.value == low) | (sol.value == high)))
    inside = np.clip(start, np.where(np.isinf(low), low, low + 1e-3), np.where(np.isinf(high), high, high - 1e-3))
    peer = scipy.optimize.least_squares(
        lambda y: np.asarray(fn(jnp.asarray(y), None)), inside, bounds=(low, high), xtol=1e-15, ftol=1e-15, gtol=1e-12
    )
    assert float(sol.stats["cost"]) <= peer.cost * (1 + 1e-8)
    assert int(sol.stats["num_steps"]) <= 30


def test_bounds_in_the_form_of_the_parameters():
    def residual(y, args):
        return {"a": y["a"] - 3.0, "b": jnp.exp(y["b"]) - jnp.array([0.1, 5.0]), "both": y["a"] - y["b"]}

    start = {"a": 0.0, "b": jnp.zeros(2)}
    bounds = ({"a": None, "b": -1.0}, {"a": 1.0, "b": jnp.array([INF, 1.2])})
    sol = least_squares(residual, None, start, bounds=bounds)
    assert float(sol.value["a"]) == 1.0
    assert -1.0 <= float(sol.value["b"][0]) < 1.0 and float(sol.value["b"][1]) == 1.2
    slope = jnp.exp(sol.value["b"][0]) * (jnp.exp(sol.value["b"][0]) - 0.1) - (1.0 - sol.value["b"][0])
    assert abs(float(slope)) < 1e-7


def affine(y, args):
    return args[0] @ y - args[1]


def decays(y, data):
    t = jnp.linspace(0.0, 5.0, 40)
    return y[0] * jnp.exp(-y[1] * t) + y[2] * jnp.exp(-y[3] * t) - data


def test_random_non_negative_problems_reach_the_minimum_and_say_so():
    """Columns of fixed unknowns are zero: what rounding errors make of them must not move them off their bounds."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        A = rng.standard_normal((30, 20)) @ (np.eye(20) + 0.45 * (seed % 3) * rng.standard_normal((20, 20)))
        b = 3 * rng.standard_normal(30)
        start = (np.zeros(20), np.ones(20), np.abs(rng.standard_normal(20)))[seed % 3]
        sol = least_squares(affine, None, jnp.asarray(start), (jnp.asarray(A), jnp.asarray(b)), bounds=(0.0, None))
        peer = scipy.optimize.lsq_linear(A, b, (0.0, INF), method="bvls", tol=1e-15)
        assert float(sol.stats["cost"]) <= peer.cost * (1 + 1e-10)
        assert int(sol.stats["num_steps"]) <= 40


def test_random_bounded_decays_from_several_starts():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        amplitudes, rates = rng.uniform((0.5, -1), (3, 2)), rng.uniform((0.1, 0.5), (0.8, 3))
        data = np.exp(-np.linspace(0, 5, 40)[:, None] * rates) @ amplitudes + 0.02 * rng.standard_normal(40)
        for start in rng.uniform(0.01, 1.5, (3, 4)):
            sol = least_squares(decays, None, jnp.asarray(start), jnp.asarray(data), bounds=(0.0, 2.0))
            gradient = jax.grad(lambda y, data=data: 0.5 * jnp.sum(decays(y, data) ** 2))(sol.value)
            projected = sol.value - jnp.clip(sol.value - gradient, 0.0, 2.0)
            assert float(jnp.max(jnp.abs(projected))) <= 1e-6  # equal rates: J is singular
