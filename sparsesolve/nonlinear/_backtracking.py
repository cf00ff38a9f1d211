"""Backtracking line search on the norm of the residual.

Along the Newton direction `d` the squared norm falls at the rate  d/dt |F(y + t d)|^2 = -2 |F(y)|^2  at t = 0.
A step length is accepted when

    |F(y + t d)| <= (1 - c t) |F(y)|,     c = 1e-4,

(Dennis and Schnabel, Numerical Methods for Unconstrained Optimization and Nonlinear Equations, 1983, A6.3.1;
Kelley, Solving Nonlinear Equations with Newton's Method, 2003, section 1.6). Otherwise the minimum of the parabola
through the value and slope at 0 and the value at t is tried, kept within [t/10, t/2]. NaN or infinite residuals
count as rejected, and the step is quartered. Cost: one residual per trial; one in all when the full step is good.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Trial(eqx.Module):
    """Where a line search ended.

    Attributes:
        length: step length `t`, 0 where none was accepted.
        norm: residual norm of the last trial.
        payload: what the last trial returned besides its norm.
        accepted: whether the norm decreased enough.
        num_evaluations: residual evaluations.
    """

    length: Float[Array, ""]
    norm: Float[Array, ""]
    payload: Any
    accepted: Bool[Array, ""]
    num_evaluations: Int[Array, ""]


class AbstractLineSearch(eqx.Module):
    """How far to go along a direction."""

    @abc.abstractmethod
    def search(
        self,
        evaluate: Callable[[Float[Array, ""]], tuple[Float[Array, ""], Any]],
        norm: Float[Array, ""],
        limit: Int[Array, ""],
    ) -> Trial:
        """Searches.

        Args:
            evaluate: step length to residual norm and anything that should be kept of the accepted trial.
            norm: residual norm at step length 0.
            limit: most evaluations allowed this time, at least the caller's; 0 does nothing.
        """


class Backtracking(AbstractLineSearch):
    """Armijo backtracking with parabolic interpolation.

    Attributes:
        decrease: `c` above.
        max_evaluations: trials before giving up.
    """

    decrease: float = 1e-4
    max_evaluations: int = 24

    def search(
        self,
        evaluate: Callable[[Float[Array, ""]], tuple[Float[Array, ""], Any]],
        norm: Float[Array, ""],
        limit: Int[Array, ""],
    ) -> Trial:
        """See the module's description."""
        limit = jnp.minimum(limit, self.max_evaluations)
        shapes = jax.eval_shape(evaluate, norm)[1]
        nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        start = Trial(jnp.ones_like(norm), norm, nothing, jnp.asarray(False), jnp.asarray(0))

        def proceed(trial: Trial) -> Bool[Array, ""]:
            return ~trial.accepted & (trial.num_evaluations < limit)

        def attempt(trial: Trial) -> Trial:
            first = trial.num_evaluations == 0
            length = jnp.where(first, trial.length, _shorter(trial.length, trial.norm / norm))
            new_norm, payload = evaluate(length)
            # For tiny lengths 1 - c t rounds to 1, hence the strict decrease. All False for NaN.
            accepted = (new_norm <= (1 - self.decrease * length) * norm) & ((new_norm < norm) | (new_norm == 0))
            return Trial(length, new_norm, payload, accepted, trial.num_evaluations + 1)

        # One traced copy of `evaluate`: the full step is the first pass of the loop.
        return jax.lax.while_loop(proceed, attempt, start)


def _shorter(length: Array, ratio: Array) -> Array:
    """The next step length when `|F(y + length d)| = ratio * |F(y)|` was too large."""
    parabola = length**2 / (ratio**2 - 1 + 2 * length)
    kept = jnp.clip(parabola, 0.1 * length, 0.5 * length)
    return jnp.where(jnp.isfinite(ratio), kept, 0.25 * length)
