"""`BiCGStab`: BiCGStab(2) as a lineax solver, see `krylov/_bicgstab.py`."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import equinox as eqx

from sparsesolve.krylov import bicgstab
from sparsesolve.linear._krylov_base import AbstractKrylovSolver, KrylovMethod
from sparsesolve.pattern import SparsityPattern


class BiCGStab(AbstractKrylovSolver):
    """BiCGStab(2) of any square lineax operator, preconditioned from the right.

    Short recurrences: 8 vectors whatever the number of steps. The preconditioner must be linear. Stagnation, breakdown
    and too many steps are results.

    Attributes:
        rtol: the solve ends when `|b - A x| <= max(rtol |b|, atol)`, Euclidean norms of the true residual; `None` means
            eps^(2/3) of the dtype (4e-11 in float64).
        atol: see `rtol`.
        degree: of the minimal residual polynomials.
        max_steps: most products.
        preconditioner: a preconditioner of this package, a lineax operator that applies `M^-1`, or a function
            `v -> M^-1 v`; `options={"preconditioner": ...}` of `lx.linear_solve` takes the latter two as well.
        pattern: pinned by `prepare`; otherwise detected where the preconditioner needs entries.

    Example:
        >>> import jax.numpy as jnp, lineax as lx
        >>> from sparsesolve.linear import BiCGStab
        >>> from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
        >>> from sparsesolve.precond import Jacobi
        >>> A = SparseMatrix.from_dense(jnp.array([[4.0, 1.0], [2.0, 3.0]]))
        >>> operator = SparseLinearOperator(A)
        >>> solution = lx.linear_solve(operator, A @ jnp.array([1.0, 2.0]), BiCGStab(preconditioner=Jacobi()))
        >>> jnp.round(solution.value, 9)
        Array([1., 2.], dtype=float64)
    """

    rtol: Any = None
    atol: Any = 0.0
    degree: int = eqx.field(default=2, static=True)
    max_steps: int = eqx.field(default=1000, static=True)
    preconditioner: Any = None
    pattern: SparsityPattern | None = eqx.field(default=None, static=True)
    definite: ClassVar[bool] = False

    @property
    def method(self) -> KrylovMethod:
        """`bicgstab`."""
        return functools.partial(bicgstab, degree=self.degree)
