"""`GMRES`: restarted flexible GMRES as a lineax solver, see `krylov/_gmres.py`."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import equinox as eqx

from sparsesolve.krylov import gmres
from sparsesolve.linear._krylov_base import AbstractKrylovSolver, KrylovMethod
from sparsesolve.pattern import SparsityPattern


class GMRES(AbstractKrylovSolver):
    """Restarted flexible GMRES of any square lineax operator, preconditioned from the right.

    The residual never grows, and a preconditioner may change from step to step. Stores `2 restart + 1` vectors;
    `BiCGStab` and `IDR` store few and need more products. Stagnation, breakdown and too many steps are results.

    Attributes:
        rtol: the solve ends when `|b - A x| <= max(rtol |b|, atol)`, Euclidean norms of the true residual; `None` means
            eps^(2/3) of the dtype (4e-11 in float64).
        atol: see `rtol`.
        restart: steps between restarts.
        max_steps: most steps in all.
        preconditioner: a preconditioner of this package, a lineax operator that applies `M^-1`, or a function
            `v -> M^-1 v`; `options={"preconditioner": ...}` of `lx.linear_solve` takes the latter two as well.
        pattern: pinned by `prepare`; otherwise detected where the preconditioner needs entries.

    Example:
        >>> import jax.numpy as jnp, lineax as lx
        >>> from sparsesolve.linear import GMRES
        >>> from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
        >>> from sparsesolve.precond import Jacobi
        >>> A = SparseMatrix.from_dense(jnp.array([[4.0, 1.0], [2.0, 3.0]]))
        >>> operator = SparseLinearOperator(A)
        >>> solution = lx.linear_solve(operator, A @ jnp.array([1.0, 2.0]), GMRES(preconditioner=Jacobi()))
        >>> jnp.round(solution.value, 9)
        Array([1., 2.], dtype=float64)
    """

    rtol: Any = None
    atol: Any = 0.0
    restart: int = eqx.field(default=30, static=True)
    max_steps: int = eqx.field(default=1000, static=True)
    preconditioner: Any = None
    pattern: SparsityPattern | None = eqx.field(default=None, static=True)
    definite: ClassVar[bool] = False

    @property
    def method(self) -> KrylovMethod:
        """`gmres`."""
        return functools.partial(gmres, restart=self.restart)
