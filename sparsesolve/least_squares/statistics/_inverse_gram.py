"""`(J^T J)^-1` of few fitted parameters, the unscaled covariance, and what the residuals do not determine.

`J` is scaled to columns of length one first, which is what its rank should be judged by. A QR factorization gives
`R^-1 R^-T`, never `J^T J`. What the residuals do not determine shows as right singular vectors of vanishing singular
values. For many parameters see `_sparse_inverse.py`.

Reference: A. Bjorck, Numerical Methods for Least Squares Problems, SIAM 1996, section 2.8.3 (covariance), 2.7.2 (rank).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Bool, Float, Inexact

from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern

_DENSE = 400  # parameters up to which a dense factorization is used


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


def dense_inverse(
    matrix: SparseMatrix, held: Bool[Array, " n"], pseudo: bool
) -> tuple[Float[Array, "n n"], Undetermined]:
    """`(J^T J)^-1`, or its pseudo-inverse, and what `J` does not determine. Held parameters, whose columns of `J` are
    zero, count as known."""
    m, n = matrix.pattern.shape
    scale, scaled = scaled_columns(matrix)
    J = SparseMatrix(scaled, matrix.pattern).todense()
    J = jnp.concatenate([J, jnp.diag(held.astype(J.dtype))])
    R = jnp.linalg.qr(J, mode="r")
    _, singular, rows = jnp.linalg.svd(jax.lax.stop_gradient(R))
    tolerance = max(m, n) * jnp.finfo(J.dtype).eps * singular[0]
    lost = Undetermined(singular, rows.T, tolerance)
    if pseudo:
        weights = jnp.where(lost.which, 0.0, 1.0 / jnp.where(lost.which, 1.0, singular))
        root = lost.vectors * weights[None]
    else:
        root = jsl.solve_triangular(R, jnp.eye(n, dtype=R.dtype))
    root = jnp.where(held[:, None], 0.0, root / scale[:, None])
    return root @ root.T, lost


def scaled_columns(matrix: SparseMatrix) -> tuple[Array, Array]:
    """Norms of the columns (1 for those that vanish), and the values divided by them."""
    columns = jnp.asarray(matrix.pattern.indices)
    squares = jnp.zeros((matrix.pattern.shape[1],), matrix.data.dtype).at[columns].add(matrix.data**2)
    scale = jnp.sqrt(jnp.where(squares > 0, squares, 1.0))
    return scale, matrix.data / scale[columns]
