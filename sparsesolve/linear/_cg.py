"""`CG`: conjugate gradients as a lineax solver, see `krylov/_cg.py`."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx

from sparsesolve.krylov import cg
from sparsesolve.linear._krylov_base import AbstractKrylovSolver, KrylovMethod
from sparsesolve.pattern import SparsityPattern


class CG(AbstractKrylovSolver):
    """Conjugate gradients for Hermitian positive definite lineax operators, preconditioned.

    An operator tagged negative semidefinite is negated. Tags are not required; a matrix or a preconditioner that turns
    out not to be positive definite ends the solve with the result `breakdown`.

    Attributes:
        rtol: the solve ends when `|b - A x| <= max(rtol |b|, atol)`, Euclidean norms of the true residual; `None` means
            eps^(2/3) of the dtype (4e-11 in float64).
        atol: see `rtol`.
        max_steps: most steps.
        preconditioner: a preconditioner of this package, a lineax operator that applies `M^-1`, or a function
            `v -> M^-1 v`; `options={"preconditioner": ...}` of `lx.linear_solve` takes the latter two as well.
        pattern: pinned by `prepare`; otherwise detected where the preconditioner needs entries.

    Example:
        >>> import jax.numpy as jnp, lineax as lx
        >>> from sparsesolve.linear import CG
        >>> from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
        >>> from sparsesolve.precond import Jacobi
        >>> A = SparseMatrix.from_dense(jnp.array([[4.0, 1.0], [1.0, 3.0]]))
        >>> operator = SparseLinearOperator(A, lx.positive_semidefinite_tag)
        >>> solution = lx.linear_solve(operator, A @ jnp.array([1.0, 2.0]), CG(preconditioner=Jacobi()))
        >>> jnp.round(solution.value, 9)
        Array([1., 2.], dtype=float64)
    """

    rtol: Any = None
    atol: Any = 0.0
    max_steps: int = eqx.field(default=1000, static=True)
    preconditioner: Any = None
    pattern: SparsityPattern | None = eqx.field(default=None, static=True)
    definite: ClassVar[bool] = True

    @property
    def method(self) -> KrylovMethod:
        """`cg`."""
        return cg
