"""Step lengths along the Gauss-Newton direction: 1 first, then minima of parabolas until the cost falls enough.

One factorization an iterate. The model predicts the decrease  (t - t^2 / 2) |J d|^2  for a step length `t`; it is
accepted from a ten-thousandth of that on (Armijo's condition), otherwise `t` is reduced to between a tenth and a half.

Reference: J. E. Dennis, R. B. Schnabel, Numerical Methods for Unconstrained Optimization and Nonlinear Equations, 1983,
sections 6.3 and 10.3, doi:10.1137/1.9781611971200.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact, Int

from sparsesolve.least_squares.descent._descent import AbstractDescent, Model, Proposal, Verdict
from sparsesolve.least_squares.descent._nielsen import faintest_damping, least_damping
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver


class Along(NamedTuple):
    """The direction at the iterate and the step length to try."""

    direction: Inexact[Array, " n"]
    good: Bool[Array, ""]
    iterations: Int[Array, ""]
    length: Float[Array, ""]


@dataclasses.dataclass(frozen=True)
class LineSearch(AbstractDescent):
    """See the module's description."""

    repeatable = False  # a length belongs to the direction that was kept

    def init(self, m: int, n: int, dtype: Any) -> Along:
        zero = jnp.zeros((n,), dtype)
        return Along(zero, jnp.asarray(False), jnp.asarray(0, jnp.int32), jnp.asarray(1.0, dtype))

    def propose(self, linear: AbstractDampedSolver, model: Model, state: Along) -> tuple[Proposal, Along]:
        def compute() -> Along:
            factors = linear.factor(model.prepared, least_damping(model.squares.dtype) * model.squares)
            faintest = faintest_damping(model.squares.dtype) * model.squares
            solved = linear.solve_lighter(model.prepared, factors, -model.lin.residual, faintest)
            return Along(solved.x, solved.good, solved.iterations.astype(jnp.int32), jnp.ones_like(state.length))

        state = lax.cond(model.fresh, compute, lambda: state)
        step = state.length * state.direction
        count = model.fresh.astype(int) * linear.num_factorizations
        return Proposal(step, step, state.good, 1 / state.length, count, model.fresh * state.iterations), state

    def update(self, state: Along, verdict: Verdict) -> Along:
        # actual decrease = ratio (t - t^2/2) s, initial slope s = |J d|^2: the parabola's minimum relative to t.
        t = state.length
        excess = t - verdict.ratio * (t - 0.5 * t * t)
        best = 0.5 * t * t / jnp.maximum(excess, jnp.finfo(t.dtype).tiny)
        shorter = jnp.where(verdict.ratio == -1, 0.25 * t, jnp.clip(best, 0.1 * t, 0.5 * t))
        return state._replace(length=jnp.where(verdict.accepted, 1.0, shorter).astype(t.dtype))
