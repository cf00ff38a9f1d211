"""GMRES with the factors where refinement fails, and failures told apart: singular, inaccurate, not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.direct import SolveStatus, plan_direct, solve_refined
from tests.direct import problems


def drifted(dtype=np.float64, scale=1.0):
    """Factors of one matrix, values of another: every fifth row is three times as large."""
    pattern, values = problems.split(problems.stencil(9, 9, convection=0.4), dtype)
    new = np.where(pattern.rows % 5 == 0, values * (1 + 2 * scale), values)
    plan = plan_direct(pattern, method="banded")
    return plan, plan.factor(jnp.asarray(values)), jnp.asarray(new)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
def test_factors_of_drifted_values_still_solve(dtype, transpose):
    plan, factors, data = drifted(dtype)
    rhs = jnp.linspace(1.0, 2.0, 81).astype(dtype)
    alone = solve_refined(plan, factors, data, rhs, transpose=transpose, max_linear_iterations=0)[1]
    assert alone.status == SolveStatus.inaccurate and int(alone.num_linear_iterations) == 0
    x, info = solve_refined(plan, factors, data, rhs, transpose=transpose)
    assert info.converged and 0 < int(info.num_linear_iterations) <= 100
    dense = np.zeros((81, 81), dtype)
    dense[plan.pattern.rows, plan.pattern.indices] = data
    residual = (dense.T if transpose else dense) @ np.asarray(x) - np.asarray(rhs)
    assert np.abs(residual).max() < 100 * np.finfo(dtype).eps * np.abs(dense).sum(1).max() * np.abs(x).max()


def test_in_a_batch_only_those_that_need_it_iterate():
    plan, factors, data = drifted()
    _, values = problems.split(problems.stencil(9, 9, convection=0.4))
    batch = jnp.stack([jnp.asarray(values), data, jnp.asarray(values) * jnp.nan])

    @jax.jit
    @jax.vmap
    def solve(member):
        return solve_refined(plan, factors, member, jnp.ones(81))[1]

    info = solve(batch)
    steps = np.asarray(info.num_linear_iterations)
    assert steps[0] == 0 and steps[1] > 0 and steps[2] == 0
    assert np.asarray(info.status == SolveStatus.successful).tolist() == [True, True, False]
    assert np.asarray(info.status == SolveStatus.nonfinite).tolist() == [False, False, True]
    again = jax.vmap(lambda m: solve_refined(plan, factors, m, jnp.ones(81))[1])(batch[:1])
    assert not np.asarray(again.num_linear_iterations).any()


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("method", ["dense", "multifrontal"])
@pytest.mark.parametrize("kind", ["zero row", "zero column", "no gauge"])
def test_a_singular_matrix_is_certified(kind, method, transpose):
    matrix = problems.stencil(6, 6).tolil()
    if kind == "zero row":
        matrix[20] = 0 * matrix[20]
    elif kind == "zero column":
        matrix[:, 20] = 0 * matrix[:, 20]
    else:
        matrix.setdiag(matrix.diagonal() - np.asarray(matrix.sum(1)).ravel())
    full, _ = problems.split(problems.stencil(6, 6))
    values = np.asarray(matrix.todense())[full.rows, full.indices]
    plan = plan_direct(full, method=method)
    data, rhs = jnp.asarray(values), jnp.asarray(np.random.default_rng(0).standard_normal(36))
    _, info = solve_refined(plan, plan.factor(data), data, rhs, transpose=transpose)
    assert info.status == SolveStatus.singular


def test_badly_scaled_is_not_singular():
    rng = np.random.default_rng(1)
    rows, cols = (problems.sp.diags(10.0 ** rng.uniform(-6, 6, 81)) for _ in range(2))
    pattern, values = problems.split(rows @ problems.stencil(9, 9) @ cols)
    plan = plan_direct(pattern, method="banded")
    factors = plan.factor(jnp.asarray(values) * jnp.where(pattern.rows % 3 == 0, 1e3, -1.0))  # useless on purpose
    data, x = jnp.asarray(values), jnp.ones(81)
    _, info = solve_refined(plan, factors, data, x, max_linear_iterations=2)
    assert info.status == SolveStatus.inaccurate
    _, info = solve_refined(plan, plan.factor(data), data, x)
    assert info.converged


@pytest.mark.parametrize("where", ["matrix", "rhs"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(where, value):
    pattern, values = problems.split(problems.stencil(50))
    plan = plan_direct(pattern)
    data, rhs = jnp.asarray(values), jnp.ones(50)
    data, rhs = (data.at[7].set(value), rhs) if where == "matrix" else (data, rhs.at[7].set(value))
    _, info = solve_refined(plan, plan.factor(data), data, rhs)
    assert info.status == SolveStatus.nonfinite


def test_the_message_of_a_status():
    assert "singular" in SolveStatus[SolveStatus.singular] and SolveStatus[SolveStatus.successful] == ""
