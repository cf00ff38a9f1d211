"""`WatchedController`: step size control that knows why steps were rejected and where the solution stopped.

It wraps a controller, weighs errors by tolerances that may be pytrees, chooses the first step, counts rejections by
their cause, and ends a solve whose steps no longer move time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from sparsesolve.ode.stepping._first_step import first_step
from sparsesolve.ode.system._real import RealStructure
from sparsesolve.ode.system._weights import tolerance_weights

MOST_REJECTIONS = 50  # one after the other: the step has shrunk by at least 0.9^50, usually 5^50
MOST_STALLS = 8  # steps of a few units of rounding of time


class WatchState(eqx.Module):
    """State of `WatchedController`.

    Attributes:
        inner: of the wrapped controller.
        num_error_rejections: steps rejected by their error.
        num_newton_rejections: steps whose equations could not be solved.
        rejections: the last ones in a row.
        stalls: steps in a row that were as small as rounding of time.
        time: where the next step starts.
        step: the last step tried.
        worst: position of the component that changed most in it, relative to its tolerance; -1: not known.
    """

    inner: Any
    num_error_rejections: Int[Array, ""]
    num_newton_rejections: Int[Array, ""]
    rejections: Int[Array, ""]
    stalls: Int[Array, ""]
    time: Float[Array, ""]
    step: Float[Array, ""]
    worst: Int[Array, ""]


class WatchedController(dfx.AbstractAdaptiveStepSizeController):
    """Wraps a step size controller.

    Attributes:
        inner: if `weighted`, a controller for errors already divided by their tolerance (`rtol=0, atol=1`).
        rtol: relative tolerance, a number or a pytree like the state.
        atol: absolute tolerance, likewise.
        norm: of the scaled error.
        weighted: divide errors by tolerances before `inner` sees them.
    """

    inner: dfx.AbstractAdaptiveStepSizeController
    rtol: Any
    atol: Any
    norm: Callable[[PyTree], Array]
    weighted: bool = eqx.field(static=True, default=True)

    def wrap(self, direction: Any) -> WatchedController:
        """Hands the direction to the wrapped controller."""
        return eqx.tree_at(lambda c: c.inner, self, self.inner.wrap(direction))

    def init(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: PyTree[Array],
        dt0: Any,
        args: Any,
        func: Callable[..., PyTree[Array]],
        error_order: Any,
    ) -> tuple[Any, WatchState]:
        """The end of the first step: `t0 + dt0`, or chosen by `first_step`."""
        if dt0 is None and self.weighted:
            span = jnp.asarray(t1 - t0)
            chosen = first_step(self, terms, t0, t1, y0, args, func, error_order=error_order, least=1e-6 * span)
            dt0 = jnp.minimum(chosen, span)
        end, inner = self.inner.init(terms, t0, t1, y0, dt0, args, func, error_order)
        zero = jnp.asarray(0, jnp.int32)
        time = jnp.asarray(t0)
        state = WatchState(inner, zero, zero, zero, zero, time, (end - t0).astype(time.dtype), zero - 1)
        return end, lax.stop_gradient(state)

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: PyTree[Array],
        y1_candidate: PyTree[Array],
        args: Any,
        y_error: PyTree[Array] | None,
        error_order: Any,
        controller_state: WatchState,
    ) -> tuple[Any, Any, Any, Any, WatchState, dfx.RESULTS]:
        """Accepts or rejects a step and chooses the next one."""
        structure = RealStructure.of(y0)
        if y_error is None:
            raise RuntimeError(
                "solve_ode needs a solver that estimates its error, to control the step size; give one such as BDF()."
            )
        first, last, error = (structure.ravel(lax.stop_gradient(tree)) for tree in (y0, y1_candidate, y_error))
        last = jnp.where(jnp.isfinite(last), last, first)
        weights = tolerance_weights(structure, self.rtol, self.atol, first, last)
        shown = structure.unravel(error / weights) if self.weighted else y_error
        accepted, start, end, jump, inner, result = self.inner.adapt_step_size(
            t0, t1, y0, y1_candidate, args, shown, error_order, controller_state.inner
        )
        failed = ~jnp.all(jnp.isfinite(error))
        state = _watched(
            controller_state, inner, accepted, failed, jnp.abs(last - first) / weights, (t0, t1, start, end)
        )
        stuck = (state.stalls >= MOST_STALLS) | (state.rejections >= MOST_REJECTIONS)
        gone = dfx.RESULTS.where(stuck, dfx.RESULTS.dt_min_reached, dfx.RESULTS.successful)
        result = dfx.RESULTS.where(result == dfx.RESULTS.successful, gone, result)
        return accepted, start, end, jump, lax.stop_gradient(state), result


def _watched(
    old: WatchState, inner: Any, accepted: Any, failed: Array, change: Array, times: tuple[Any, Any, Any, Any]
) -> WatchState:
    t0, t1, start, end = times
    moved = jnp.max(change, initial=0.0) > 0
    worst = jnp.argmax(change).astype(jnp.int32) if change.size else old.worst
    resolution = 8 * jnp.finfo(old.time.dtype).eps * jnp.maximum(jnp.abs(t0), jnp.abs(t1))
    return WatchState(
        inner=inner,
        num_error_rejections=old.num_error_rejections + (~accepted & ~failed),
        num_newton_rejections=old.num_newton_rejections + (~accepted & failed),
        rejections=jnp.where(accepted, 0, old.rejections + 1),
        stalls=jnp.where(end - start <= resolution, old.stalls + 1, 0),
        time=start.astype(old.time.dtype),
        step=(t1 - t0).astype(old.step.dtype),
        worst=jnp.where(moved, worst, old.worst),
    )
