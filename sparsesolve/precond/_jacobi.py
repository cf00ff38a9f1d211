"""`Jacobi`: division by the diagonal. Traced; cost `n` divisions once and `n` products an application."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern
from sparsesolve.precond._base import AbstractApplication, AbstractPreconditioner, PreconditionerOperator


class _Scaling(AbstractApplication):
    """`v -> d v`, entry by entry."""

    def apply(self, arrays: Inexact[Array, " n"], v: Inexact[Array, " n"], *, transpose: bool) -> Inexact[Array, " n"]:
        return arrays * v

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Scaling)

    def __hash__(self) -> int:
        return hash(_Scaling)


class Jacobi(AbstractPreconditioner):
    """Diagonal preconditioner, `M = diag(A)`; where the diagonal is zero or not finite, `M` is the identity.

    Example:
        >>> import jax.numpy as jnp, lineax as lx
        >>> from sparsesolve.matrix import SparseMatrix
        >>> from sparsesolve.precond import Jacobi
        >>> A = SparseMatrix.from_dense(jnp.array([[4.0, 1.0], [2.0, 0.5]]))
        >>> Jacobi()(A).mv(jnp.ones(2))
        Array([0.25, 2.  ], dtype=float64)
    """

    def prepare(self, pattern: SparsityPattern, sample: Inexact[Array, " nnz"] | None = None) -> Jacobi:
        """Nothing to plan."""
        return self

    def factor(self, matrix: SparseMatrix) -> PreconditionerOperator:
        """The reciprocal diagonal."""
        diagonal = matrix.diagonal()
        usable = (diagonal != 0) & jnp.isfinite(diagonal)
        inverse = jnp.where(usable, 1 / jnp.where(usable, diagonal, 1), 1)
        return PreconditionerOperator(inverse, _Scaling(), matrix.shape[0], matrix.dtype)
