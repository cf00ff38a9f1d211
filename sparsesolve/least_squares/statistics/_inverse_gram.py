"""Parts of `(J^T J)^-1`, the unscaled covariance of fitted parameters.

`J` is scaled to columns of length one first, which is what its rank should be judged by. Few parameters: a QR
factorization, `R^-1 R^-T`, never `J^T J`. Many: chosen columns by solves with a sparse Cholesky factorization of
`J^T J`, refined with `J` itself; the inverse is never formed.

What the residuals do not determine shows as right singular vectors of vanishing singular values, in the sparse case
found by inverse iteration with a block of random vectors.

Reference: A. Bjorck, Numerical Methods for Least Squares Problems, SIAM 1996, section 2.8.3 (covariance), 2.7.2 (rank);
G. H. Golub, C. F. Van Loan, Matrix Computations, 2013, section 8.2.4 (simultaneous iteration).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jaxtyping import Array, Float, Inexact

from sparsesolve.least_squares.linear_step._choose_linear import choose_damped_solver
from sparsesolve.least_squares.linear_step._normal_solver import NormalSolver
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern

_DENSE = 400  # parameters up to which a dense factorization is used
_BLOCK = 8  # vectors of the inverse iteration
_ITERATIONS = 3
_BATCH = 32  # columns solved for together


class Undetermined(NamedTuple):
    """Directions of the scaled parameters that the residuals do not determine.

    Attributes:
        singular: the smallest singular values of the scaled Jacobian that were looked at.
        vectors: their right singular vectors, shape `(n, k)`.
        tolerance: at or below which a singular value counts as zero.
    """

    singular: Float[Array, " k"]
    vectors: Inexact[Array, "n k"]
    tolerance: Float[Array, ""]

    @property
    def which(self) -> Array:
        """Which of the directions are not determined, `(k,)`."""
        return ~(self.singular > self.tolerance)

    @property
    def involved(self) -> Array:
        """Which parameters take part in one, `(n,)`."""
        return jnp.max(jnp.where(self.which[None], jnp.abs(self.vectors), 0.0), axis=1, initial=0.0) > 1e-3


def is_dense(pattern: SparsityPattern) -> bool:
    """Whether a dense factorization is used for Jacobians of a pattern."""
    return pattern.shape[1] <= _DENSE


def dense_inverse(matrix: SparseMatrix, pseudo: bool) -> tuple[Float[Array, "n n"], Undetermined]:
    """`(J^T J)^-1`, or its pseudo-inverse, and what `J` does not determine."""
    m, n = matrix.pattern.shape
    scale, scaled = _scaled(matrix)
    J = SparseMatrix(scaled, matrix.pattern).todense()
    if m < n:
        J = jnp.concatenate([J, jnp.zeros((n - m, n), J.dtype)])
    R = jnp.linalg.qr(J, mode="r")
    _, singular, rows = jnp.linalg.svd(jax.lax.stop_gradient(R))
    tolerance = max(m, n) * jnp.finfo(J.dtype).eps * singular[0]
    lost = Undetermined(singular, rows.T, tolerance)
    if pseudo:
        weights = jnp.where(lost.which, 0.0, 1.0 / jnp.where(lost.which, 1.0, singular))
        root = lost.vectors * weights[None]
    else:
        root = jsl.solve_triangular(R, jnp.eye(n, dtype=R.dtype))
    root = root / scale[:, None]
    return root @ root.T, lost


def sparse_columns(matrix: SparseMatrix, columns: np.ndarray) -> tuple[Float[Array, "k n"], Undetermined]:
    """The rows `columns` of the symmetric `(J^T J)^-1`, and what `J` does not determine."""
    solve, scale, lost = _sparse_solver(matrix)
    n = matrix.pattern.shape[1]

    def column(j: Array) -> Array:
        return solve(jnp.zeros((n,), scale.dtype).at[j].set(1.0)) / scale / scale[j]

    return jax.lax.map(column, jnp.asarray(columns, jnp.int32), batch_size=_BATCH), lost


def sparse_blocks(matrix: SparseMatrix, blocks: np.ndarray) -> tuple[Float[Array, "b k k"], Undetermined]:
    """The square blocks of `(J^T J)^-1` of the parameters in each row of `blocks`, `(b, k)`."""
    solve, scale, lost = _sparse_solver(matrix)
    n = matrix.pattern.shape[1]

    def row(pair: tuple[Array, Array]) -> Array:
        j, block = pair
        return solve(jnp.zeros((n,), scale.dtype).at[j].set(1.0))[block] / scale[block] / scale[j]

    count, k = blocks.shape
    pairs = (jnp.asarray(blocks.ravel(), jnp.int32), jnp.asarray(np.repeat(blocks, k, axis=0), jnp.int32))
    return jax.lax.map(row, pairs, batch_size=_BATCH).reshape(count, k, k), lost


def _sparse_solver(matrix: SparseMatrix) -> tuple[Any, Array, Undetermined]:
    """Solves with the scaled `J^T J`, the scale, and what is not determined."""
    linear = choose_damped_solver(matrix.pattern, "cholesky")
    assert isinstance(linear, NormalSolver)
    scale, scaled = _scaled(matrix)
    prepared = linear.prepare(scaled)
    n = matrix.pattern.shape[1]
    eps = jnp.finfo(scaled.dtype).eps
    factors = linear.factor(prepared, jnp.full((n,), 4 * eps, scaled.dtype))

    def solve(b: Array) -> Array:
        return linear.solve_normal(prepared, factors, b).x

    vectors = jax.random.normal(jax.random.key(0), (n, min(_BLOCK, n)), scaled.dtype)
    for _ in range(_ITERATIONS):
        # Only the directions matter: perturbed pivots of a singular matrix point into its null space.
        vectors = jax.vmap(lambda b: linear.plan.solve(factors.factors, b), 1, 1)(vectors)
        vectors = jnp.linalg.qr(vectors / jnp.max(jnp.abs(vectors), axis=0, keepdims=True))[0]
    J = SparseMatrix(scaled, matrix.pattern)
    image = jax.vmap(lambda v: J @ v, 1, 1)(vectors)
    _, singular, rows = jnp.linalg.svd(image, full_matrices=False)
    tolerance = jnp.asarray(10.0 * eps**0.5, scaled.dtype)
    return solve, scale, Undetermined(singular, vectors @ rows.T, tolerance)


def _scaled(matrix: SparseMatrix) -> tuple[Array, Array]:
    """Norms of the columns (1 for those that vanish), and the values divided by them."""
    columns = jnp.asarray(matrix.pattern.indices)
    squares = jnp.zeros((matrix.pattern.shape[1],), matrix.data.dtype).at[columns].add(matrix.data**2)
    scale = jnp.sqrt(jnp.where(squares > 0, squares, 1.0))
    return scale, matrix.data / scale[columns]
