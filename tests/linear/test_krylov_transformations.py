"""Gradients, batches and lowering of Krylov solves; derivatives are compared with the direct solver's."""

import functools

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

import sparsesolve as ss
from tests.linear.problems import GRID, grid_residual

B = jnp.asarray(np.random.default_rng(2).standard_normal(GRID.shape))


def loss(theta, solver):
    operator = lx.JacobianLinearOperator(grid_residual, GRID, theta)
    return jnp.sum(lx.linear_solve(operator, B * theta, solver).value ** 2)


@functools.cache
def exact():
    f = functools.partial(loss, solver=ss.AutoSparse())
    return float(jax.jit(jax.grad(f))(jnp.asarray(1.3)))


@pytest.mark.parametrize(
    "solver",
    [
        ss.GMRES(preconditioner=ss.Jacobi()),
        ss.BiCGStab(),
        ss.IDR(preconditioner=lambda v: v / 9.0),
    ],
    ids=["gmres", "bicgstab", "idr"],
)
def test_derivatives_in_both_modes(solver):
    f = functools.partial(loss, solver=solver)
    theta = jnp.asarray(1.3)
    np.testing.assert_allclose(jax.jit(jax.grad(f))(theta), exact(), rtol=1e-8)
    forward = jax.jit(lambda t: jax.jvp(f, (t,), (jnp.ones_like(t),))[1])(theta)
    np.testing.assert_allclose(forward, exact(), rtol=1e-8)


def test_the_transposed_solve_uses_the_transposed_preconditioner():
    rng = np.random.default_rng(1)
    dense = rng.standard_normal((30, 30)) + np.diag(np.logspace(0, 3, 30))
    inverse = jnp.asarray(np.linalg.inv(dense))  # far from symmetric: untransposed it would not help
    operator = lx.MatrixLinearOperator(jnp.asarray(dense))
    ways = [(ss.GMRES(preconditioner=lambda v: inverse @ v), {}), (ss.GMRES(), {"preconditioner": inverse})]
    for solver, options in ways:
        if options:
            options = {"preconditioner": lx.MatrixLinearOperator(inverse)}
        state = solver.init(operator, options)
        transposed, turned = solver.transpose(state, options)
        x, result, stats = solver.compute(transposed, jnp.ones(30), turned)
        assert result == lx.RESULTS.successful and int(stats["num_steps"]) <= 2
        np.testing.assert_allclose(dense.T @ x, np.ones(30), rtol=1e-9)


def test_conjugated_and_transposed_complex_states():
    rng = np.random.default_rng(1)
    dense = rng.standard_normal((12, 12)) + 1j * rng.standard_normal((12, 12)) + 8 * np.eye(12)
    A = ss.SparseMatrix.from_dense(jnp.asarray(dense))
    b = jnp.asarray(rng.standard_normal(12) + 1j * rng.standard_normal(12))
    solver = ss.GMRES(preconditioner=ss.Jacobi())
    state = solver.init(ss.SparseLinearOperator(A), {})
    conj, _ = solver.conj(state, {})
    both, _ = solver.transpose(conj, {})
    for turned, matrix in ((state, dense), (conj, dense.conj()), (both, dense.conj().T)):
        x, result, _ = solver.compute(turned, b, {})
        assert result == lx.RESULTS.successful
        np.testing.assert_allclose(matrix @ x, b, rtol=1e-8)


def test_a_failing_member_of_a_batch_leaves_the_others_alone():
    pattern = ss.detect_sparsity(grid_residual, GRID, 2.0)
    good = ss.jacobian(grid_residual, GRID, 2.0)(GRID, 2.0).data
    data = jnp.stack([good, 0 * good, jnp.nan * good, 2 * good])

    def solve(values):
        operator = ss.SparseLinearOperator(ss.SparseMatrix(values, pattern))
        solution = lx.linear_solve(operator, B.ravel(), ss.GMRES(preconditioner=ss.Jacobi()), throw=False)
        return solution.value, solution.result == lx.RESULTS.successful

    x, fine = jax.jit(jax.vmap(solve))(data)
    np.testing.assert_array_equal(fine, [True, False, False, True])
    np.testing.assert_allclose(x[0], 2 * x[3], rtol=1e-9)
    assert bool(jnp.all(jnp.isfinite(x)))


def test_lowers_for_cuda():
    solver = ss.GMRES(preconditioner=ss.Jacobi())

    def f(theta):
        # Not the gradient itself: there lineax raises errors by a callback that belongs to the machine it runs on.
        state = solver.init(lx.JacobianLinearOperator(grid_residual, GRID, theta), {})
        transposed, _ = solver.transpose(state, {})
        return solver.compute(state, B, {})[0], solver.compute(transposed, B, {})[0]

    text = jax.jit(f).trace(jnp.asarray(1.3)).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("while") >= 2 and "callback" not in text
