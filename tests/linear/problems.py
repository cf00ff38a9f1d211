"""Operators with known dense matrices, for the table of solvers times operators."""

import jax.numpy as jnp
import lineax as lx
import numpy as np

from sparsesolve.matrix import SparseLinearOperator, SparseMatrix


def grid_residual(u, args):
    """A five-point stencil with a nonlinear diagonal on a 4 x 3 grid, not symmetric."""
    padded = jnp.pad(u, 1)
    inner = padded[1:-1, 1:-1]
    around = padded[:-2, 1:-1] + 1.5 * padded[2:, 1:-1] + padded[1:-1, :-2] + 0.5 * padded[1:-1, 2:]
    return 5.0 * inner - around + args * inner**3


def pair_residual(y, args):
    """Two leaves of different shapes that depend on each other."""
    u, v = y["u"], y["v"]
    return {"u": 3.0 * u - v.reshape(-1) + u**2, "v": 4.0 * v + args * jnp.roll(u, 1).reshape(v.shape) * v}


GRID = jnp.asarray(np.random.default_rng(0).uniform(0.5, 1.0, (4, 3)))
PAIR = {"u": jnp.linspace(0.5, 1.0, 6), "v": jnp.linspace(1.0, 2.0, 6).reshape(2, 3)}


def _banded_dense():
    rng = np.random.default_rng(3)
    i, j = np.indices((9, 9))
    return np.where(abs(i - j) <= 2, rng.standard_normal((9, 9)), 0.0) + 6 * np.eye(9)


def operators():
    """Name to operator."""
    banded = _banded_dense()
    jacobian = lx.JacobianLinearOperator(grid_residual, GRID, jnp.asarray(2.0))
    matrix = SparseLinearOperator(SparseMatrix.from_dense(banded))
    vector = jnp.asarray(np.random.default_rng(4).standard_normal(9))

    def product(x):
        return jnp.asarray(banded) @ x + vector * x

    return {
        "sparse": matrix,
        "matrix": lx.MatrixLinearOperator(jnp.asarray(banded)),
        "tridiagonal matrix": lx.MatrixLinearOperator(
            jnp.diag(jnp.full(5, 4.0)) + jnp.diag(jnp.ones(4), 1) - jnp.diag(jnp.ones(4), -1), lx.tridiagonal_tag
        ),
        "jacobian": jacobian,
        "jacobian by vjp": lx.JacobianLinearOperator(grid_residual, GRID, jnp.asarray(2.0), jac="bwd"),
        "jacobian of a pytree": lx.JacobianLinearOperator(pair_residual, PAIR, jnp.asarray(0.3)),
        "linearised": lx.linearise(jacobian),
        "transposed": jacobian.T,
        "function": lx.FunctionLinearOperator(product, vector),
        "diagonal": lx.DiagonalLinearOperator(vector),
        "tridiagonal": lx.TridiagonalLinearOperator(jnp.full(9, 4.0), jnp.ones(8), -2.0 * jnp.ones(8)),
        "identity": lx.IdentityLinearOperator(vector) * 2.0,
        "tagged": lx.TaggedLinearOperator(matrix, lx.positive_semidefinite_tag),
        "sum": matrix + lx.DiagonalLinearOperator(vector),
        "difference of jacobians": jacobian + 0.5 * jacobian,
        "multiple": -(matrix * 3.0) / 2.0,
        "composed": matrix @ lx.DiagonalLinearOperator(vector),
        "composed with a function": lx.FunctionLinearOperator(product, vector) @ matrix,
    }
