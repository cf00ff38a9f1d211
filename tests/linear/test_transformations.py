"""`lx.linear_solve` with our solvers under jit, vmap, jvp, grad and their nestings, against finite differences."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from sparsesolve.linear import AutoSparse, SparseLU
from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
from sparsesolve.pattern import detect_sparsity
from tests.linear.problems import GRID, grid_residual

PATTERN = detect_sparsity(grid_residual, GRID, 2.0)
B = jnp.asarray(np.random.default_rng(2).standard_normal(GRID.shape))


def by_jacobian(theta):
    operator = lx.JacobianLinearOperator(grid_residual, GRID, theta)
    return jnp.sum(lx.linear_solve(operator, B * theta, AutoSparse()).value ** 2)


def by_matrix(theta):
    i = jnp.arange(PATTERN.nnz, dtype=float)
    data = jnp.where(PATTERN.rows == PATTERN.indices, 6.0 + theta, jnp.sin(i + theta))
    operator = SparseLinearOperator(SparseMatrix(data, PATTERN))
    return jnp.sum(lx.linear_solve(operator, B.ravel(), AutoSparse()).value ** 2)


CASES = pytest.mark.parametrize("f", [by_jacobian, by_matrix], ids=["jacobian", "matrix"])


def _slope(f, x, h=1e-6):
    return (f(x + h) - f(x - h)) / (2 * h)


@CASES
def test_first_derivatives(f):
    x = jnp.asarray(1.3)
    exact = _slope(jax.jit(f), x)
    backward = jax.jit(jax.grad(f))(x)
    forward = jax.jit(lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1])(x)
    np.testing.assert_allclose([backward, forward], exact, rtol=1e-7)


def test_multifrontal_gradient():
    def loss(theta):
        operator = lx.JacobianLinearOperator(grid_residual, GRID, theta)
        return jnp.sum(lx.linear_solve(operator, B, SparseLU()).value ** 2)

    x = jnp.asarray(0.8)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(x), _slope(jax.jit(loss), x), rtol=1e-7)


@CASES
def test_second_derivatives(f):
    x = jnp.asarray(1.3)
    exact = _slope(jax.jit(jax.grad(f)), x)
    np.testing.assert_allclose(jax.jit(jax.hessian(f))(x), exact, rtol=1e-6)


@CASES
def test_vmap(f):
    x = jnp.linspace(0.5, 2.0, 3)
    for g in (f, jax.grad(f)):
        one = jax.jit(g)
        np.testing.assert_allclose(jax.jit(jax.vmap(g))(x), jnp.stack([one(v) for v in x]), rtol=1e-9)


def test_many_right_hand_sides_share_one_state():
    solver = AutoSparse()
    operator = lx.JacobianLinearOperator(grid_residual, GRID, jnp.asarray(2.0))
    state = solver.init(operator, {})
    bs = jnp.stack([B, 2 * B, -B])
    xs = jax.vmap(lambda b: lx.linear_solve(operator, b, solver, state=state).value)(bs)
    np.testing.assert_allclose(xs[1], 2 * xs[0], rtol=1e-12)
    np.testing.assert_allclose(operator.mv(xs[2]), -B, rtol=1e-11, atol=1e-13)
