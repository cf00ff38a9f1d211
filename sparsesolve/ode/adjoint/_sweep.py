"""`Sweep`: the linear map from tangents of start and parameters to tangents of saved states, and its transpose.

Loops over records, not scans: as many turns as steps were made. Lanes of a batch that have no step left take part with
zeros, so that the sums of cotangents are never chosen between but only added to.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import equinox.internal as eqxi
import jax.numpy as jnp
import jax.tree_util as jtu
from jax import lax
from jaxtyping import Array

from sparsesolve.linear._raising import raise_unless
from sparsesolve.ode.adjoint._jumps import corrected, corrected_cotangent, corrected_tangent
from sparsesolve.ode.adjoint._parameters import Parameters
from sparsesolve.ode.adjoint._tape import Room, Tape
from sparsesolve.ode.system._custom_solve import custom_solve
from sparsesolve.ode.system._system import StiffSystem


class FAILURES(eqx.Enumeration):  # pyright: ignore[reportGeneralTypeIssues]
    """What may come between an integration and its derivatives."""

    too_many_steps = (
        "DiscreteAdjoint keeps the times of at most 32768 steps where no max_steps is given, and the integration made "
        "more; write a larger bound, such as max_steps=1000000."
    )
    steps_not_repeated = (
        "DiscreteAdjoint integrates long intervals piece by piece again, and a step that had been made could not be "
        "made again; write DiscreteAdjoint(records=...) with at least the number of accepted steps (each record holds "
        "a state), or adjoint=diffrax.RecursiveCheckpointAdjoint()."
    )


class _Held(NamedTuple):
    vectors: Any
    first: Array  # see `Tape`
    segment: Array
    okay: Array  # all that had to be integrated again could be


class Moved(NamedTuple):
    """Tangents of states.

    Attributes:
        end: at the end, `(n,)`.
        at_times: at times saved at, one `(times, n)` for each part of `saveat`.
        at_steps: rows that a sweep carries at the ends of all steps, `(records, rows, n)`, the state first; or `None`.
    """

    end: Array
    at_times: list[Array | None]
    at_steps: Array | None


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A recorded integration, linearized.

    Attributes:
        steps: the method, see `_methods.py`.
        system: prepared, not differentiable.
        parameters: those that move.
        tape: of the steps.
        count: of accepted steps.
        x0: initial state.
        ts: times saved at, for each part of `saveat`.
        rows: how many leading rows of what a sweep carries are wanted at the ends of all steps.
        room: of the tape.
    """

    steps: Any
    system: StiffSystem
    parameters: Parameters
    tape: Tape
    count: Array
    x0: Array
    ts: list[Array | None]
    rows: int
    room: Room

    def apply(self, start: Array | None, moved: list[Array]) -> Moved:
        """Tangents of states from those of the start (`None`: it does not move) and of the parameters."""
        n, dtype = self.system.size, self.system.dtype
        some = jtu.tree_leaves((start, moved))
        # A zero that JAX regards as linear, as it wants the whole right-hand side to be.
        nothing = 0.0 * jnp.ravel(some[0])[:1].sum().astype(dtype) if some else jnp.zeros((), dtype)
        zeros = lambda *shape: jnp.broadcast_to(nothing, shape)  # noqa: E731
        rooms = [None if t is None else zeros(len(t), n) for t in self.ts]
        steps = zeros(self.room.steps, self.rows, n) if self.rows else None
        given = ({"x": start, "p": moved}, {"end": zeros(n), "ts": rooms, "steps": steps})
        _, out = custom_solve(
            lambda z: z,  # stands for the block matrix of `_adjoint.py`, which nobody multiplies with
            given,
            lambda b: (b[0], jtu.tree_map(jnp.add, b[1], self._forward(b[0], b[1]))),
            lambda b: (jtu.tree_map(jnp.add, b[0], self._backward(b[0], b[1])), b[1]),
        )
        return Moved(out["end"], out["ts"], out["steps"])

    def _step_of(self, ts: Array) -> Array:
        """For every time, the step that reaches it."""
        ends = jnp.where(jnp.arange(self.room.steps) < self.count, self.tape.records.end, jnp.inf)
        return jnp.searchsorted(ends, ts, side="left")

    def _held(self) -> _Held:
        """The vectors that the integration left."""
        dtype = self.count.dtype
        last = (self.count - 1) // self.room.rows
        vectors = eqx.filter(self.tape.records, lambda leaf: leaf.ndim > 1)
        return _Held(vectors, self.tape.first, last.astype(dtype), jnp.asarray(True) | (last < 0))

    def _at(self, held: _Held, i: Array) -> tuple[Any, Array]:
        """The record of a step, and the state before it."""
        row = i % self.room.rows
        scalars = eqx.filter(self.tape.records, lambda leaf: leaf.ndim == 1)
        scalars = jtu.tree_map(lambda b: b[i], scalars)
        record = eqx.combine(scalars, jtu.tree_map(lambda b: b[row], held.vectors))
        return record, jnp.where(row == 0, held.first[0], held.vectors.y[jnp.maximum(row - 1, 0)])

    def _reaching(self, held: _Held, i: Array) -> _Held:
        """With the vectors of the segment of step `i`, integrated again where others are held."""
        room, histories = self.room, self.tape.histories
        if histories is None:
            return held
        segment = i // room.rows
        level = room.level((self.count - 1) // room.rows)

        def wanted(held: _Held) -> Array:
            return (held.segment != segment) & (segment * room.rows < self.count)

        def fetch(held: _Held) -> _Held:
            need = wanted(held)
            end = jnp.minimum((segment + 1) * room.rows, self.count)
            origin = segment // 2**level * 2**level
            begin = jnp.where(need, origin * room.rows, end)
            history = histories[room.slot(origin)]
            start, _ = self._at(held, jnp.clip(begin, 0, room.steps - 1))
            work = self.steps.work(self.system, start.start, history[0])

            def body(loop: Any) -> Any:
                j, history, work, vectors, first, okay = loop
                active = j < end
                record, _ = self._at(held, jnp.clip(j, 0, room.steps - 1))
                begun = history.at[0].set(corrected(self.system, record, history[0]))
                made, after, work = self.steps.again(self.system, record, begun, work)
                here = active & (j // room.rows == segment)
                row = jnp.where(here, j % room.rows, room.rows)
                new = eqx.filter(made, lambda leaf: leaf.ndim > 0)
                vectors = jtu.tree_map(lambda b, v: b.at[row].set(v), vectors, new)
                first = first.at[jnp.where(here & (j == segment * room.rows), 0, 1)].set(history[0])
                history = jnp.where(active, after, history)
                okay = okay & (~active | jnp.all(jnp.isfinite(made.y)))
                return j + 1, history, work, vectors, first, okay

            loop = (begin, history, work, held.vectors, held.first, held.okay)
            *_, vectors, first, okay = lax.while_loop(lambda loop: eqxi.unvmap_any(loop[0] < end), body, loop)
            return _Held(vectors, first, jnp.where(need, segment, held.segment), okay)

        # A loop of one turn or none: unlike a condition it hands the vectors through without copying them.
        return lax.while_loop(lambda held: eqxi.unvmap_any(wanted(held)), fetch, held)

    def _limited(self) -> tuple[Array, Array, Array]:
        """Steps that can be swept, the most of any lane of a batch, and 1, or NaN where that is not all of them."""
        dtype = self.system.dtype
        poison = jnp.where(self.count > self.room.steps, jnp.asarray(jnp.nan, dtype), jnp.ones((), dtype))
        count = jnp.minimum(self.count, self.room.steps)
        return count, eqxi.unvmap_max(count), poison

    def _checked(self, held: _Held, out: Any, poison: Array) -> Any:
        out = jtu.tree_map(lambda leaf: leaf * poison.astype(leaf.dtype), out)
        if self.tape.histories is None:
            return out
        return raise_unless(held.okay, FAILURES.steps_not_repeated, out)

    def _forward(self, u: Any, v: Any) -> Any:
        count, most, poison = self._limited()
        x = jnp.zeros_like(self.x0) if u["x"] is None else u["x"]
        steps_of = [None if t is None else self._step_of(t) for t in self.ts]
        cursors = [None if t is None else jnp.zeros((), jnp.int32) for t in self.ts]

        def body(loop: Any) -> Any:
            i, held, carry, memory, out, cursors = loop
            active = i < count
            held = self._reaching(held, i)
            place = jnp.clip(i, 0, jnp.maximum(count - 1, 0))
            record, before = self._at(held, place)
            before, new = corrected_tangent(self.parameters, record, before, carry, u["p"])
            new, memory = self.steps.forward(self.system, self.parameters, record, before, new, u["p"], memory)
            carry = jnp.where(active, new, carry)
            times, moved = [], []
            for ts, index, cursor, rows in zip(self.ts, steps_of, cursors, out["ts"], strict=True):
                rows, cursor = self._saving(ts, index, cursor, rows, i, record, carry, active)
                times.append(rows)
                moved.append(cursor)
            steps = out["steps"]
            if steps is not None:
                steps = steps.at[place].set(jnp.where(active, carry[: self.rows], steps[place]))
            return i + 1, held, carry, memory, {**out, "ts": times, "steps": steps}, moved

        zero = jtu.tree_map(jnp.zeros_like, v)
        start = (jnp.zeros_like(most), self._held(), self.steps.carry(x), self.steps.memory(self.system), zero, cursors)
        _, held, carry, _, out, _ = lax.while_loop(lambda loop: loop[0] < most, body, start)
        return self._checked(held, {**out, "end": self.steps.value(carry)}, poison)

    def _saving(
        self, ts: Any, index: Any, cursor: Any, rows: Any, i: Array, record: Any, carry: Array, active: Array
    ) -> tuple[Any, Any]:
        """Writes the tangents at the times that lie in step `i`."""
        if ts is None:
            return rows, cursor

        def here(loop: Any) -> Array:
            k = jnp.minimum(loop[0], ts.shape[0] - 1)
            return active & (loop[0] < ts.shape[0]) & (index[k] == i)

        def save(loop: Any) -> Any:
            k, rows = loop
            weights = self.steps.weights(record, ts[jnp.minimum(k, ts.shape[0] - 1)], carry.dtype)
            return k + 1, rows.at[k].set(weights @ carry)

        cursor, rows = lax.while_loop(here, save, (cursor, rows))
        return rows, cursor

    def _backward(self, u: Any, v: Any) -> Any:
        count, most, poison = self._limited()
        steps_of = [None if t is None else self._step_of(t) for t in self.ts]
        cursors = [None if s is None else jnp.sum(s < count).astype(jnp.int32) - 1 for s in steps_of]

        def body(loop: Any) -> Any:
            i, held, carry, sums, memory, cursors = loop
            active = i < count
            held = self._reaching(held, i)
            place = jnp.clip(i, 0, jnp.maximum(count - 1, 0))
            record, before = self._at(held, place)
            if v["steps"] is not None:
                carry = carry.at[: self.rows].add(jnp.where(active, v["steps"][place], 0.0))
            moved = []
            for ts, index, cursor, rows in zip(self.ts, steps_of, cursors, v["ts"], strict=True):
                carry, cursor = self._collecting(ts, index, cursor, rows, i, record, carry)
                moved.append(cursor)
            masked, begun = jnp.where(active, carry, 0.0), corrected(self.system, record, before)
            new, sums, memory = self.steps.backward(self.system, self.parameters, record, begun, masked, sums, memory)
            new, sums = corrected_cotangent(self.parameters, record, before, new, sums)
            return i - 1, held, jnp.where(active, new, carry), sums, memory, moved

        start = (
            most - 1,
            self._held(),
            self.steps.carry(v["end"]),
            self.parameters.zeros(),
            self.steps.memory(self.system),
            cursors,
        )
        _, held, carry, sums, *_ = lax.while_loop(lambda loop: loop[0] >= 0, body, start)
        x = None if u["x"] is None else self.steps.value(carry)
        return self._checked(held, {"x": x, "p": sums}, poison)

    def _collecting(
        self, ts: Any, index: Any, cursor: Any, rows: Any, i: Array, record: Any, carry: Array
    ) -> tuple[Array, Any]:
        """Adds the cotangents at the times that lie in step `i`."""
        if ts is None:
            return carry, cursor

        def here(loop: Any) -> Array:
            return (loop[0] >= 0) & (index[jnp.maximum(loop[0], 0)] == i)

        def collect(loop: Any) -> Any:
            k, carry = loop
            place = jnp.maximum(k, 0)
            weights = self.steps.weights(record, ts[place], carry.dtype)
            return k - 1, carry + weights[:, None] * rows[place][None]

        cursor, carry = lax.while_loop(here, collect, (cursor, carry))
        return carry, cursor
