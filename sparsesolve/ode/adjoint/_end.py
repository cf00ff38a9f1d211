"""`End`: where an integration ended and how that moves: with t1, or with the zero of a condition that stopped it.

An event that a root finder places is a zero of `c(t, y(t))` along the polynomial of the last step; by the implicit
function theorem it moves by

    t' = -(c_y y' + c_args args' + ...) / (c_t + c_y dy/dt),

where y' is the tangent of the polynomial at a fixed time and dy/dt its slope. An event without a root finder, or with a
condition that is true or false, ends the integration at the end of a step, and does not move.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array

from sparsesolve.ode.adjoint._moving import Moving, full, full_tree
from sparsesolve.ode.adjoint._saveat import buffers_of, parts_of
from sparsesolve.ode.adjoint._sweep import Moved
from sparsesolve.ode.system._system import StiffSystem


class End(NamedTuple):
    """The last values.

    Attributes:
        time: of the end.
        x: the state there.
        t_dot: tangent of the time.
        x_dot: of the state.
    """

    time: Array
    x: Array
    t_dot: Array
    x_dot: Array


def place_of_event(call: dict[str, Any], final: Any) -> Array | None:
    """The time at which an event may have cut the last step, if anything was saved there."""
    event = call["event"]
    if event is None or event.root_finder is None:
        return None
    parts = zip(parts_of(call["saveat"]), buffers_of(final), strict=True)
    last = [state.ts[jnp.maximum(state.save_index - 1, 0)] for sub, state in parts if sub.t1 or sub.steps]
    if not last:
        return None
    latest = jnp.max(jnp.stack([jnp.where(jnp.isfinite(t), t, -jnp.inf) for t in last]))
    return jnp.where(jnp.isfinite(latest), latest, final.tprev)  # nothing was saved yet


def end_of(
    call: dict[str, Any],
    system: StiffSystem,
    moving: Moving,
    along: Moving,
    final: Any,
    moved: Moved,
    slope: Array | None,
    place: Array | None,
) -> End:
    """Where it ended.

    Args:
        call: of diffrax's loop.
        system: prepared.
        moving: what may move.
        along: its tangents.
        final: last state of the loop.
        moved: tangents of states, those at `place` last of `at_times`.
        slope: at the end of the last step; `None` where t1 does not move.
        place: see `place_of_event`.
    """
    structure, started = system.structure, final.num_accepted_steps > 0
    time, x = final.tprev, structure.ravel(final.y)
    at_start = structure.ravel(full_tree(along.y, moving.y))
    # Before t1 it was stopped by an event, or failed.
    t_dot = jnp.where(time < moving.t1, 0.0, full(along.t1, moving.t1))
    if place is None:
        x_dot = jnp.where(started, moved.end, at_start)
    else:
        interpolation = call["solver"].interpolation_cls(
            t0=final.event_tprev, t1=final.event_tnext, **final.event_dense_info
        )
        y, rate = jax.jvp(interpolation.evaluate, (place,), (jnp.ones_like(place),))
        time, x = place, jnp.where(started, structure.ravel(y), x)
        slope = jnp.where(started, structure.ravel(rate), 0.0)
        rows = moved.at_times[-1]
        assert rows is not None
        x_dot = jnp.where(started, rows[0], at_start)
        stopped = _event_tangent(call, structure, moving, along, final.event_mask, time, (x, slope, x_dot))
        t_dot = jnp.where(jnp.stack(jtu.tree_leaves(final.event_mask)).any(), stopped, t_dot)
    if slope is not None:
        x_dot = x_dot + t_dot.astype(x.dtype) * jnp.where(started, slope, 0.0)
    return End(time, x, jnp.where(started, t_dot, full(along.t0, moving.t0)), x_dot)


def _event_tangent(
    call: dict[str, Any], structure: Any, moving: Moving, along: Moving, mask: Any, t: Array, state: tuple
) -> Array:
    """Of the time at which the condition marked by `mask` is zero, from the state, its slope and its tangent."""
    x, slope, x_dot = state
    conditions, static = eqx.partition((call["event"].cond_fn, call["args"]), eqx.is_array)
    leaves, treedef = jtu.tree_flatten(conditions)
    moving_leaves = jtu.tree_leaves((moving.conditions, moving.args))
    dots = jtu.tree_leaves((along.conditions, along.args))
    dots = [full(d, p) for d, p in zip(dots, moving_leaves, strict=True)]
    t_dot = jnp.zeros_like(t)
    for k, chosen in enumerate(jtu.tree_leaves(mask)):

        def value(t: Array, x: Array, leaves: list[Array], k: int = k) -> Array:
            conditions, args = eqx.combine(jtu.tree_unflatten(treedef, leaves), static)
            fn = jtu.tree_leaves(conditions, is_leaf=callable)[k]
            return fn(t, structure.unravel(x), args)

        if not jnp.issubdtype(jax.eval_shape(value, t, x, leaves).dtype, jnp.floating):
            continue
        change = jax.jvp(value, (t, x, moving_leaves), (jnp.zeros_like(t), x_dot, dots))[1]
        rate = jax.jvp(lambda t, x: value(t, x, leaves), (t, x), (jnp.ones_like(t), slope))[1]
        t_dot = jnp.where(chosen, -change / jnp.where(chosen, rate, 1.0), t_dot)
    return t_dot.astype(t.dtype)
