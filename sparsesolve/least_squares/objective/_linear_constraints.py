"""Linear equality constraints `A y = b` that are kept beside bounds, in the parameters themselves.

Alone, constraints are eliminated (`_equality.py`). Together with bounds they are not: which parameters lie at a bound
changes from step to step, and with it the null space of what is left. Steps solve saddle-point systems instead
(`linear_step/_saddle_solver.py`, `descent/_polytope.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Inexact

from sparsesolve.least_squares.objective._null_space import CSR
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern


class Polytope(NamedTuple):
    """What a step may be:  low <= d <= high  and  A d = rest, which is right to `rounding`."""

    low: Float[Array, " n"]
    high: Float[Array, " n"]
    rest: Inexact[Array, " p"]
    rounding: Float[Array, " p"]


class LinearConstraints:
    """The rows of `A`, scaled to unit norm. Host-side, compares by content.

    Attributes:
        matrix: shape `(p, n)`.
        scale: norms of the rows as they were given.
    """

    def __init__(self, matrix: CSR):
        norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1))).ravel()
        self.scale = np.where(norms > 0, norms, 1.0)
        self.matrix: CSR = scipy.sparse.csr_matrix(scipy.sparse.diags(1 / self.scale) @ matrix)
        self.matrix.sort_indices()
        self._pattern = SparsityPattern(self.matrix.indptr, self.matrix.indices, self.matrix.shape)
        arrays = (self.matrix.indptr, self.matrix.indices, self.matrix.data, self.scale)
        self._key = (self.matrix.shape, *(array.tobytes() for array in arrays))

    def constant(self, dtype: Any) -> SparseMatrix:
        """`A`, traced as a constant."""
        return SparseMatrix(jnp.asarray(self.matrix.data, dtype), self._pattern)

    def scaled(self, b: Any, dtype: Any) -> Inexact[Array, " p"]:
        """The right-hand side that belongs to the scaled rows."""
        return jnp.asarray(b, dtype) / jnp.asarray(self.scale, dtype)

    def around(self, y: Inexact[Array, " n"], b: Inexact[Array, " p"], low: Array, high: Array) -> Polytope:
        """What may be added to a flat `y` between `low` and `high`."""
        A = self.constant(y.dtype)
        rest = b - A @ y
        eps = jnp.finfo(y.dtype).eps
        rounding = 8 * eps * (SparseMatrix(jnp.abs(A.data), self._pattern) @ jnp.abs(y) + jnp.abs(b))
        return Polytope(low - y, high - y, jnp.where(jnp.abs(rest) <= rounding, 0.0, rest), rounding)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LinearConstraints) and self._key == other._key
