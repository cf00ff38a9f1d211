"""Damped steps within bounds and under linear equality constraints, and the start's way to them.

A step is the solution of the damped linear problem in all that is allowed (`_quadratic_program.py`), so that a step of
length zero is a proof: there the conditions of optimality of the problem itself hold. Damping as in `_nielsen.py`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact

from sparsesolve.least_squares.descent._descent import AbstractDescent, Model, Proposal, Verdict
from sparsesolve.least_squares.descent._nielsen import Damping, NielsenDamping, least_damping
from sparsesolve.least_squares.descent._quadratic_program import Program, Sides, first_guess, solve_program
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver
from sparsesolve.least_squares.linear_step._saddle_solver import SaddleSolver
from sparsesolve.least_squares.objective._linear_constraints import Polytope


class Guided(NamedTuple):
    """The damping, and what was at its bound after the last step (nothing is known before the first)."""

    damping: Damping
    sides: Sides
    known: Bool[Array, ""]


@dataclasses.dataclass(frozen=True)
class PolytopeDamping(AbstractDescent):
    """See the module's description."""

    damping: NielsenDamping
    constraints: int

    repeatable = False  # bounds are part of the step

    def init(self, m: int, n: int, dtype: Any) -> Guided:
        none = jnp.zeros((n,), bool)
        sides = Sides(none, none, jnp.zeros((self.constraints,), dtype))
        return Guided(self.damping.init(m, n, dtype), sides, jnp.asarray(False))

    def propose(self, linear: AbstractDampedSolver, model: Model, state: Guided) -> tuple[Proposal, Guided]:
        assert isinstance(linear, SaddleSolver) and model.region is not None
        mu = state.damping.mu
        shift = jnp.maximum(mu, least_damping(mu.dtype)) * model.squares
        first = first_guess(model.region)
        guess = Sides(*(jnp.where(state.known, a, b) for a, b in zip(state.sides, first, strict=True)))

        def multiply(d: Array) -> Array:
            return (model.jacobian @ d) @ model.jacobian + shift * d

        program = Program(multiply, model.lin.gradient, model.region, model.prepared, shift, model.squares)
        found = solve_program(linear, program, guess)
        # At the solution, H d is what is left of the gradient besides multipliers.
        left = jnp.where(found.optimal, multiply(found.step), model.lin.gradient)
        proposal = Proposal(
            found.step,
            found.step,
            found.feasible & jnp.all(jnp.isfinite(found.step)),
            1 + mu,
            found.factorizations,
            jnp.asarray(0),
            ~found.optimal,
            left,
        )
        return proposal, Guided(state.damping, found.sides, found.optimal)

    def update(self, state: Guided, verdict: Verdict) -> Guided:
        return state._replace(damping=self.damping.update(state.damping, verdict))


def nearest_inside(saddle: SaddleSolver, region: Polytope) -> tuple[Inexact[Array, " n"], Bool[Array, ""]]:
    """The shortest step to a point that fulfils all constraints, and whether there is one."""
    n = region.low.size
    dtype = region.low.dtype
    one = jnp.ones((n,), dtype)
    prepared = saddle.prepare(jnp.zeros((saddle.pattern.nnz,), dtype))
    program = Program(lambda d: d, jnp.zeros((n,), dtype), region, prepared, one, one)
    found = solve_program(saddle, program, first_guess(region))
    return found.step, found.feasible
