"""What methods on the damped normal equations have in common: solutions from factors, refined with products by `J`.

    (J^T J + diag(shift)) x = J^T v

A method says what its factors are and how they solve; refinement and taking back damping are in `_refinement.py`.
"""

from __future__ import annotations

import abc
from typing import Any

from jaxtyping import Array, Float, Inexact

from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver, Solved
from sparsesolve.least_squares.linear_step._refinement import DampedProblem, refined
from sparsesolve.matrix import SparseMatrix


class AbstractSemiNormalSolver(AbstractDampedSolver):
    """Factors with a `shift` and whether they are `sound`; no more than a digit of their solutions need be right."""

    @abc.abstractmethod
    def matrix(self, prepared: Any) -> SparseMatrix:
        """`J`."""

    @abc.abstractmethod
    def solve_once(self, factors: Any, g: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        """`(J^T J + diag(shift))^-1 g` as good as the factors are."""

    def solve(self, prepared: Any, factors: Any, v: Inexact[Array, " m"]) -> Solved:
        return self._solved(factors, DampedProblem(self.matrix(prepared), v, 0.0, factors.shift))

    def solve_lighter(self, prepared: Any, factors: Any, v: Inexact[Array, " m"], shift: Float[Array, " n"]) -> Solved:
        return self._solved(factors, DampedProblem(self.matrix(prepared), v, 0.0, factors.shift, factors.shift - shift))

    def solve_normal(self, prepared: Any, factors: Any, g: Inexact[Array, " n"]) -> Solved:
        return self._solved(factors, DampedProblem(self.matrix(prepared), 0.0, g, factors.shift))

    def _solved(self, factors: Any, problem: DampedProblem) -> Solved:
        x, finite, count = refined(lambda rest: self.solve_once(factors, rest), problem)
        return Solved(x, factors.sound & finite, count)
