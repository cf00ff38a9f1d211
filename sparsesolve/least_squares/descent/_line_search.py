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
from jaxtyping import Array, Float

from sparsesolve.least_squares.descent._descent import AbstractDescent, Model, Proposal, Verdict
from sparsesolve.least_squares.descent._undamped import Undamped, gauss_newton_step, no_step
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver


class Along(NamedTuple):
    """The direction at the iterate and the step length to try."""

    found: Undamped
    length: Float[Array, ""]


@dataclasses.dataclass(frozen=True)
class LineSearch(AbstractDescent):
    """See the module's description."""

    repeatable = False  # a length belongs to the direction that was kept

    def init(self, m: int, n: int, dtype: Any) -> Along:
        return Along(no_step(n, dtype), jnp.asarray(1.0, dtype))

    def propose(self, linear: AbstractDampedSolver, model: Model, state: Along) -> tuple[Proposal, Along]:
        def compute() -> Along:
            return Along(gauss_newton_step(linear, model), jnp.ones_like(state.length))

        state = lax.cond(model.fresh, compute, lambda: state)
        found = state.found
        step = state.length * found.step
        count, iterations = model.fresh * found.factorizations, model.fresh * found.iterations
        return Proposal(step, step, found.good, 1 / state.length, count, iterations), state

    def update(self, state: Along, verdict: Verdict) -> Along:
        # actual decrease = ratio (t - t^2/2) s, initial slope s = |J d|^2: the parabola's minimum relative to t.
        t = state.length
        excess = t - verdict.ratio * (t - 0.5 * t * t)
        best = 0.5 * t * t / jnp.maximum(excess, jnp.finfo(t.dtype).tiny)
        shorter = jnp.where(verdict.ratio == -1, 0.25 * t, jnp.clip(best, 0.1 * t, 0.5 * t))
        return state._replace(length=jnp.where(verdict.accepted, 1.0, shorter).astype(t.dtype))
