"""What methods on the damped normal equations have in common: solutions from factors, refined with products by `J`.

    (J^T J + diag(shift)) x = J^T v

A method says what its factors are and how they solve; refinement and taking back damping are in `_refinement.py`.
"""

from __future__ import annotations

import abc
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver, Solved
from sparsesolve.least_squares.linear_step._refinement import lightened, refined
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
        matrix = self.matrix(prepared)
        return self._refined(factors, lambda x: (v - matrix @ x) @ matrix - factors.shift * x, v @ matrix)

    def solve_lighter(self, prepared: Any, factors: Any, v: Inexact[Array, " m"], shift: Float[Array, " n"]) -> Solved:
        matrix = self.matrix(prepared)
        solved = self.solve(prepared, factors, v)
        x, count = lightened(
            lambda rest: self.solve_once(factors, rest),
            lambda x: (matrix @ x) @ matrix + shift * x,
            solved.x,
            v @ matrix,
            factors.shift - shift,
        )
        return Solved(x, solved.good & jnp.all(jnp.isfinite(x)), solved.iterations + count)

    def solve_normal(self, prepared: Any, factors: Any, g: Inexact[Array, " n"]) -> Solved:
        matrix = self.matrix(prepared)
        return self._refined(factors, lambda x: g - (matrix @ x) @ matrix - factors.shift * x, g)

    def _refined(self, factors: Any, left: Any, g: Inexact[Array, " n"]) -> Solved:
        x, count = refined(lambda rest: self.solve_once(factors, rest), left, g)
        return Solved(x, factors.sound & jnp.all(jnp.isfinite(x)), count)
