"""Damped linear least squares by a sparse Cholesky factorization of the normal equations.

    (J^T J + diag(shift)) x = J^T v

`J^T J` has a static plan (`_gram.py`), so has its factorization: a new damping changes the diagonal alone. Forming
`J^T J` squares the condition number; the solution is refined with residuals that are computed from `J` itself
(corrected semi-normal equations), until they are small or stop falling.

Reference: A. Bjorck, Stability analysis of the method of seminormal equations for linear least squares problems,
Linear Algebra Appl. 88/89 (1987) 31-48, doi:10.1016/0024-3795(87)90101-7.
Cost of a solve: two products with `J` and one solve with the factors, the same again for each refinement.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact

from sparsesolve.direct import AbstractDirectPlan, plan_direct
from sparsesolve.least_squares._gram import GramPlan
from sparsesolve.least_squares._linear_base import AbstractDampedSolver, Solved
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern

_REFINEMENTS = 3
_DIGITS = 1e-3  # eps ** 0.5 times this many of the right-hand side may be left over without refinement


class Normal(NamedTuple):
    """Values of `J` and of `J^T J`."""

    data: Inexact[Array, " nnz"]
    gram: Inexact[Array, " entries"]


class Damped(NamedTuple):
    """Factors of `J^T J + diag(shift)`, and whether it was positive definite."""

    factors: Any
    shift: Float[Array, " n"]
    sound: Bool[Array, ""]


class NormalSolver(AbstractDampedSolver):
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

    def solve(self, prepared: Normal, factors: Damped, v: Inexact[Array, " m"]) -> Solved:
        matrix = SparseMatrix(prepared.data, self.pattern)

        def left(x: Array) -> Array:
            return (v - matrix @ x) @ matrix - factors.shift * x

        return self._refined(factors, left, v @ matrix)

    def solve_normal(self, prepared: Normal, factors: Damped, g: Inexact[Array, " n"]) -> Solved:
        matrix = SparseMatrix(prepared.data, self.pattern)
        return self._refined(factors, lambda x: g - (matrix @ x) @ matrix - factors.shift * x, g)

    def _refined(self, damped: Damped, left: Any, g: Inexact[Array, " n"]) -> Solved:
        """Solves with refinement; each unknown's equation is measured by its own diagonal."""
        limit = _DIGITS * jnp.finfo(g.dtype).eps ** 0.5 * jnp.max(jnp.abs(g), initial=0.0)

        def size(rest: Array) -> Array:
            return jnp.max(jnp.abs(rest), initial=0.0)

        def going(carry: Any) -> Array:
            _, rest, before, count = carry
            return (size(rest) > limit) & (size(rest) < 0.5 * before) & (count < _REFINEMENTS)

        def refine(carry: Any) -> Any:
            x, rest, _, count = carry
            better = x + self.plan.solve(damped.factors, rest)
            return better, left(better), size(rest), count + 1

        x = self.plan.solve(damped.factors, g)
        start = (x, left(x), jnp.asarray(jnp.inf, g.dtype), jnp.asarray(0))
        x, _, _, count = lax.while_loop(going, refine, start)
        return Solved(x, damped.sound & jnp.all(jnp.isfinite(x)), count)
