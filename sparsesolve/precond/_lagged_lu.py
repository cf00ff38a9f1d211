"""`LaggedLU`: the factorization of an older matrix as preconditioner for the present one.

When values drift slowly (time steps, Newton steps, parameter sweeps), a few Krylov steps with old factors cost less
than a new factorization. The factors are arrays and the plan is static, so the operator that `factor` returns can sit
in a loop carry and be renewed under `lax.cond`. Cost of an application: one direct solve.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, PyTree

from sparsesolve.direct import AbstractDirectPlan, plan_direct
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern
from sparsesolve.precond._base import AbstractApplication, AbstractPreconditioner, PreconditionerOperator


@dataclasses.dataclass(frozen=True)
class _Factors(AbstractApplication):
    """A solve with the factors of a direct plan."""

    plan: AbstractDirectPlan

    def apply(self, arrays: Any, v: Inexact[Array, " n"], *, transpose: bool) -> Inexact[Array, " n"]:
        return self.plan.solve(arrays, v, transpose=transpose)


class LaggedLU(AbstractPreconditioner):
    """A sparse LU factorization kept while the matrix changes.

    `LaggedLU().prepare(pattern, sample)` factorizes the sample values, and every later solve uses those factors,
    whatever the matrix is by then. Inside a loop, keep the operator of `factor` in the carry and renew it when it no
    longer helps:

        operator = lagged.factor(matrix)                        # a pytree of arrays
        solver = ss.GMRES(preconditioner=operator)              # in later steps, for other matrices
        operator = lax.cond(slow, lagged.factor, lambda _: operator, matrix)

    Without factors it factorizes the matrix it is called with, and is then an exact solve.

    Attributes:
        plan: symbolic factorization pinned by `prepare`; otherwise made from the pattern while tracing.
        kept: the operator made of the sample values by `prepare`, or `None`.

    Example:
        >>> import jax.numpy as jnp, lineax as lx
        >>> from sparsesolve.linear import GMRES
        >>> from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
        >>> from sparsesolve.precond import LaggedLU
        >>> A = SparseMatrix.from_dense(jnp.array([[4.0, 1.0], [2.0, 3.0]]))
        >>> solver = GMRES(preconditioner=LaggedLU().prepare(A.pattern, A.data))
        >>> drifted = SparseLinearOperator(1.1 * A)
        >>> solution = lx.linear_solve(drifted, jnp.array([5.5, 5.5]), solver)
        >>> jnp.round(solution.value, 12), int(solution.stats["num_steps"])
        (Array([1., 1.], dtype=float64), 1)
    """

    plan: AbstractDirectPlan | None = eqx.field(default=None, static=True)
    kept: PyTree[Array] = None

    @property
    def needs_matrix(self) -> bool:
        """Only until there are factors."""
        return self.kept is None

    def prepare(self, pattern: SparsityPattern, sample: Inexact[Array, " nnz"] | None = None) -> LaggedLU:
        """The same with its symbolic factorization pinned and, given sample values, with their factors."""
        plan = plan_direct(pattern, sample=None if sample is None else np.asarray(sample))
        planned = LaggedLU(plan)
        if sample is None:
            return planned
        return LaggedLU(plan, planned.factor(SparseMatrix(jnp.asarray(sample), pattern)))

    def factor(self, matrix: SparseMatrix) -> PreconditionerOperator:
        """Factorizes `matrix` now."""
        plan = plan_direct(matrix.pattern) if self.plan is None else self.plan
        if plan.pattern != matrix.pattern:
            matrix = matrix.on_pattern(plan.pattern)
        return PreconditionerOperator(plan.factor(matrix.data), _Factors(plan), matrix.shape[0], matrix.dtype)

    def __call__(self, matrix: SparseMatrix | None) -> PreconditionerOperator:
        """The kept factors; without any, those of `matrix`."""
        if self.kept is not None:
            return self.kept
        assert matrix is not None
        return self.factor(matrix)
