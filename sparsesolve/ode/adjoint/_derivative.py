"""The derivative rule of a recorded integration: from tangents of what moves to tangents of what was saved."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax import lax
from jax.custom_derivatives import SymbolicZero

from sparsesolve.linear._raising import raise_unless
from sparsesolve.ode.adjoint._closures import closed_observers
from sparsesolve.ode.adjoint._end import end_of, place_of_event
from sparsesolve.ode.adjoint._jumps import may_jump, recorded, without_jumps
from sparsesolve.ode.adjoint._methods import steps_of
from sparsesolve.ode.adjoint._moving import Moving, any_moves, full, full_tree, moves
from sparsesolve.ode.adjoint._parameters import Parameters, parameters_of, with_parameters
from sparsesolve.ode.adjoint._saveat import SAVE_STATE, buffers_of, is_save_state, parts_of, times_of
from sparsesolve.ode.adjoint._saves import Saves
from sparsesolve.ode.adjoint._slopes import Slopes
from sparsesolve.ode.adjoint._sweep import FAILURES, Sweep
from sparsesolve.ode.adjoint._tape import Room, Tape
from sparsesolve.ode.stepping._start import start_slope
from sparsesolve.ode.system._system import StiffSystem

_TWICE = (
    "DiscreteAdjoint gives first derivatives only; for second derivatives write adjoint=diffrax.DirectAdjoint(), or "
    "forward mode twice with adjoint=diffrax.ForwardMode()."
)
_JUMPS = (
    "DiscreteAdjoint has no derivatives by jump_ts or step_ts; write adjoint=diffrax.RecursiveCheckpointAdjoint(), or "
    "jax.lax.stop_gradient around the times."
)


@dataclasses.dataclass(frozen=True)
class Run:
    """One call of an adjoint's `loop`. Host-side.

    Attributes:
        loop: diffrax's.
        steps: how steps are recorded, see `_methods.py`.
        call: arguments of the call.
        room: for the records.
        throw: no derivatives of an integration that failed.
    """

    loop: Callable[..., Any]
    steps: Any
    call: dict[str, Any]
    room: Room
    throw: bool

    @property
    def subs(self) -> list[dfx.SubSaveAt]:
        """Parts of `saveat`."""
        return parts_of(self.call["saveat"])

    def plain(self) -> Any:
        """The integration as diffrax makes it."""
        inner, outer = _loops(None)
        return self.loop(**self.call, inner_while_loop=inner, outer_while_loop=outer)

    def recorded(self, system: StiffSystem, along: Moving) -> tuple[Any, Tape, Slopes, list[Any]]:
        """The same, and records of the steps, slopes where times move, and states at the times saved at."""
        extra = [k for k, sub in enumerate(self.subs) if sub.ts is not None and sub.fn is not SAVE_STATE]
        call = self.steps.recording(self.call, system)
        call = _saving_states(call, [self.subs[k].ts for k in extra])
        near = (call["init_state"].y, call["t0"], call["t1"], call["stepsize_controller"], parameters_of(system))
        tape = Tape.empty(self.room, self.steps, system, call["init_state"], near)
        slopes = Slopes.empty(system, times_of(self.call["saveat"]), along)
        found: list[Any] = []
        jumps: list[bool] = []

        def write(kept: tuple[Tape, Slopes], before: Any, after: Any) -> tuple[Tape, Slopes]:
            tape, slopes = kept
            jumps.append(may_jump(after))
            record = recorded(self.steps, system, before, after)
            slopes = slopes.written(self.steps, record, before, after)
            return tape.written(self.room, self.steps, system, record, before, after), slopes

        inner, outer = _loops((write, (tape, slopes), found))
        final, aux = self.loop(**call, inner_while_loop=inner, outer_while_loop=outer)
        tape, slopes = found[0]
        if not any(jumps):
            tape = dataclasses.replace(tape, records=without_jumps(tape.records))
        if moves(along.t1):
            slopes = slopes.ended(self.steps, tape.records, final)
        final = self.steps.recorded(final)
        raw: list[Any] = [None] * len(self.subs)
        if extra:
            own, states = final.save_state
            for k, saved in zip(extra, states, strict=True):
                raw[k] = saved.ys
            final = eqx.tree_at(lambda s: s.save_state, final, own, is_leaf=lambda s: s is None)
        return (final, aux), tape, slopes, raw


def _loops(recording: Any) -> tuple[Callable, Callable]:
    def inner(cond: Any, body: Any, start: Any, *, max_steps: Any, buffers: Any, checkpoints: Any) -> Any:
        del checkpoints
        return eqxi.while_loop(cond, body, start, max_steps=max_steps, buffers=buffers, kind="lax")

    def outer(cond: Any, body: Any, start: Any, *, max_steps: Any, buffers: Any) -> Any:
        if recording is None:
            return eqxi.while_loop(cond, body, start, max_steps=max_steps, buffers=buffers, kind="lax")
        write, empty, found = recording

        def both(loop: Any) -> Any:
            state, kept = loop
            after = body(state)
            return after, write(kept, state, after)

        final, kept = eqxi.while_loop(
            lambda loop: cond(loop[0]),
            both,
            (start, empty),
            max_steps=max_steps,
            buffers=lambda loop: [*buffers(loop[0]), loop[1]],
            kind="lax",
        )
        found.append(kept)
        return final

    return inner, outer


def _saving_states(call: dict[str, Any], ts: list[Any]) -> dict[str, Any]:
    """The call with further parts of `saveat` that save the state itself."""
    init = call["init_state"]
    parts = [dfx.SubSaveAt(ts=t) for t in ts]
    if not ts:
        return call
    kind = type(buffers_of(init)[0])
    room = lambda count: jtu.tree_map(lambda y: jnp.full((count, *y.shape), jnp.inf, y.dtype), init.y)  # noqa: E731
    saved = [kind(saveat_ts_index=0, ts=jnp.full_like(t, jnp.inf), ys=room(t.shape[0]), save_index=0) for t in ts]
    saveat = eqx.tree_at(lambda s: s.subs, call["saveat"], (call["saveat"].subs, parts))
    init = eqx.tree_at(lambda s: s.save_state, init, (init.save_state, saved), is_leaf=lambda s: s is None)
    return {**call, "saveat": saveat, "init_state": init}


def attach(run: Run, system: StiffSystem) -> Any:
    """Runs the integration; its saved values are differentiable."""
    call = closed_observers(run.call)
    run = dataclasses.replace(run, call=call)
    parameters = jtu.tree_leaves(parameters_of(system))
    moving = Moving(
        call["init_state"].y,
        call["t0"],
        call["t1"],
        [sub.ts for sub in run.subs],
        parameters,
        eqx.filter(call["args"], eqx.is_array),
        [eqx.filter(sub.fn, eqx.is_array) for sub in run.subs],
        None if call["event"] is None else eqx.filter(call["event"].cond_fn, eqx.is_array),
    )
    rest, static = eqx.partition((_guarded(call), system), eqx.is_array)
    box: list[Any] = []

    def whole(rest: Any) -> tuple[dict[str, Any], StiffSystem]:
        return eqx.combine(lax.stop_gradient(rest), static)

    def opened(out: Any) -> Any:
        arrays, remainder = eqx.partition(out, eqx.is_array)
        box[:] = [remainder]
        return arrays

    @jax.custom_jvp
    def integrate(moving: Moving, rest: Any) -> Any:
        del moving
        return opened(dataclasses.replace(run, call=whole(rest)[0]).plain())

    def rule(primals: Any, tangents: Any) -> Any:
        moving, rest = primals
        inner, system = whole(rest)
        here = dataclasses.replace(run, call=inner, steps=steps_of(inner))  # of this trace
        (final, aux), tape, slopes, raw = here.recorded(system, tangents[0])
        out = opened((final, aux))
        tangent = _tangents(here, system, moving, tangents[0], final, tape, slopes, raw)
        return out, _placed(out, tangent)

    integrate.defjvp(rule, symbolic_zeros=True)
    arrays = integrate(moving, lax.stop_gradient(rest))
    return eqx.combine(arrays, box[0])


def _guarded(call: dict[str, Any]) -> dict[str, Any]:
    """The call without what must not be differentiated silently as a constant."""
    controller = call["stepsize_controller"]
    if not isinstance(controller, dfx.ClipStepSizeController):
        return call
    times = [getattr(controller, name) for name in ("jump_ts", "step_ts")]
    guarded = [None if t is None else eqxi.nondifferentiable(t, msg=_JUMPS) for t in times]
    controller = eqx.tree_at(
        lambda c: (c.jump_ts, c.step_ts), controller, tuple(guarded), is_leaf=lambda leaf: leaf is None
    )
    return {**call, "stepsize_controller": controller}


def _tangents(
    run: Run,
    system: StiffSystem,
    moving: Moving,
    along: Moving,
    final: Any,
    tape: Tape,
    slopes: Slopes,
    raw: list[Any],
) -> tuple[list[tuple[Any, Any]], Any]:
    """Tangents `(ts, ys)` of every part of `saveat`, and of dense output."""
    structure = system.structure
    flags = [moves(d) for d in along.parameters]
    x0 = structure.ravel(moving.y)
    system, tape, slopes, raw, x0 = eqxi.nondifferentiable((system, tape, slopes, raw, x0), msg=_TWICE)
    records = tape.records
    system = with_parameters(system, jtu.tree_unflatten(jtu.tree_structure(parameters_of(system)), moving.parameters))
    system = eqxi.nondifferentiable(system, msg=_TWICE)
    count = final.num_accepted_steps
    if run.throw:  # here, too: derivatives need no value that `diffeqsolve` checks
        count = raise_unless(dfx.is_okay(final.result), final.result, count)
    if run.call["max_steps"] is None or run.room.steps < run.call["max_steps"]:
        count = raise_unless(count <= run.room.steps, FAILURES.too_many_steps, count)
    place = place_of_event(run.call, final)
    saveat, ends = run.call["saveat"], [] if place is None else [place[None]]
    rows = run.steps.dense_rows(run.steps.carry(x0)) if saveat.dense else int(any(sub.steps for sub in run.subs))
    times = [*times_of(saveat), *ends]
    sweep = Sweep(run.steps, system, Parameters(system, flags), tape, count, x0, times, rows, run.room)
    start: Any = None
    if any_moves(along.y) or moves(along.t0):
        start = structure.ravel(full_tree(along.y, moving.y))
    if moves(along.t0):
        first = records.end[0] - records.start[0]
        start = start - along.t0.astype(x0.dtype) * start_slope(system, moving.t0, x0, first)
    chosen = [full(d, p) for d, p, flag in zip(along.parameters, moving.parameters, flags, strict=True) if flag]
    moved = sweep.apply(start, chosen)
    end = end_of(run.call, system, moving, along, final, moved, slopes.end, place)
    cut = place is not None
    saves = Saves(run.call["args"], run.subs, system, moving, along, final, records, slopes, moved, end, cut, x0)
    saved = [saves.of(k, state, raw[k]) for k, state in enumerate(buffers_of(final))]
    return saved, run.steps.dense_info(system, records, moved.at_steps) if saveat.dense else None


def _placed(out: Any, tangents: tuple[list[tuple[Any, Any]], Any]) -> Any:
    """The tangent of everything that `integrate` returns: of saved times and values; nothing else moves."""
    arrays, aux = out
    saved, dense = tangents
    none = jtu.tree_map(_nothing, arrays)
    buffers, treedef = jtu.tree_flatten(none.save_state, is_leaf=is_save_state)
    new = [eqx.tree_at(lambda s: (s.ts, s.ys), s, pair) for s, pair in zip(buffers, saved, strict=True)]
    none = eqx.tree_at(
        lambda s: (s.save_state, s.dense_infos),
        none,
        (jtu.tree_unflatten(treedef, new), dense),
        is_leaf=lambda s: s is None,
    )
    return none, jtu.tree_map(_nothing, aux)


def _nothing(leaf: Any) -> Any:
    return SymbolicZero.from_primal_value(leaf)
