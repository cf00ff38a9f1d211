"""Damped linear least squares by a sparse Cholesky factorization of the normal equations.

    (J^T J + diag(shift)) x = J^T v

`J^T J` has a static plan (`_gram.py`), so has its factorization: a new damping changes the diagonal alone. Solutions
are refined (`_semi_normal.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Inexact

from sparsesolve.direct import AbstractDirectPlan, plan_direct
from sparsesolve.least_squares.linear_step._gram import GramPlan
from sparsesolve.least_squares.linear_step._semi_normal import AbstractSemiNormalSolver
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern


class Normal(NamedTuple):
    """Values of `J` and of `J^T J`."""

    data: Inexact[Array, " nnz"]
    gram: Inexact[Array, " entries"]


class Damped(NamedTuple):
    """Factors of `J^T J + diag(shift)`, and whether it was positive definite."""

    factors: Any
    shift: Float[Array, " n"]
    sound: Bool[Array, ""]


class NormalSolver(AbstractSemiNormalSolver):
    """Sparse Cholesky factorizations of `J^T J` with a changed diagonal."""

    name = "sparse Cholesky of the normal equations"
    num_factorizations = 1

    def __init__(self, pattern: SparsityPattern):
        self.pattern = pattern
        self.gram = GramPlan(pattern)
        self.plan: AbstractDirectPlan = plan_direct(self.gram.pattern, symmetry="positive")
        self.nnz_factor = self.plan.nnz_factor

    def prepare(self, data: Inexact[Array, " nnz"]) -> Normal:
        return Normal(data, self.gram.values(data))

    def diagonal(self, prepared: Normal) -> Float[Array, " n"]:
        return prepared.gram.at[self.gram.pattern.diagonal_positions].get(mode="promise_in_bounds")

    def factor(self, prepared: Normal, shift: Float[Array, " n"]) -> Damped:
        place = self.gram.pattern.diagonal_positions
        values = prepared.gram.at[place].add(shift, unique_indices=True, mode="promise_in_bounds")
        factors = self.plan.factor(values)
        return Damped(factors, shift, self.plan.sound(factors))

    def matrix(self, prepared: Normal) -> SparseMatrix:
        return SparseMatrix(prepared.data, self.pattern)

    def solve_once(self, factors: Damped, g: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        return self.plan.solve(factors.factors, g)
