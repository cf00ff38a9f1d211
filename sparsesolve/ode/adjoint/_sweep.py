"""`Sweep`: the linear map from tangents of start and parameters to tangents of saved states, and its transpose.

Loops over records, not scans: as many turns as steps were made. Lanes of a batch that have no step left take part with
zeros, so that the sums of cotangents are never chosen between but only added to.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax import lax
from jaxtyping import Array

from sparsesolve.ode.adjoint._parameters import Parameters
from sparsesolve.ode.system._system import StiffSystem


class Moved(NamedTuple):
    """Tangents of states.

    Attributes:
        end: at the end, `(n,)`.
        at_times: at times saved at, one `(times, n)` for each part of `saveat`.
        at_steps: at the ends of all steps, `(records, n)`, or `None`.
        saved: which of the times were reached.
    """

    end: Array
    at_times: list[Array | None]
    at_steps: Array | None
    saved: list[Array | None]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A recorded integration, linearized.

    Attributes:
        steps: the method, see `_methods.py`.
        system: prepared, not differentiable.
        parameters: those that move.
        records: stacked.
        count: of accepted steps.
        x0: initial state.
        ts: times saved at, for each part of `saveat`.
        all_steps: whether states at the ends of all steps are wanted.
        room: length of the records.
    """

    steps: Any
    system: StiffSystem
    parameters: Parameters
    records: Any
    count: Array
    x0: Array
    ts: list[Array | None]
    all_steps: bool
    room: int

    def apply(self, start: Array | None, moved: list[Array], shapes: list[int | None]) -> Moved:
        """Tangents of states from those of the start (`None`: it does not move) and of the parameters."""
        n, dtype = self.system.size, self.system.dtype
        some = jtu.tree_leaves((start, moved))
        # A zero that JAX regards as linear, as it wants the whole right-hand side to be.
        nothing = 0.0 * jnp.ravel(some[0])[:1].sum().astype(dtype) if some else jnp.zeros((), dtype)
        zeros = lambda *shape: jnp.broadcast_to(nothing, shape)  # noqa: E731
        rooms = [None if m is None else zeros(m, n) for m in shapes]
        steps = zeros(self.room, n) if self.all_steps else None
        given = ({"x": start, "p": moved}, {"end": zeros(n), "ts": rooms, "steps": steps})
        _, out = lax.custom_linear_solve(
            lambda z: z,  # stands for the block matrix of `_adjoint.py`, which nobody multiplies with
            given,
            lambda _, b: (b[0], jtu.tree_map(jnp.add, b[1], self._forward(b[0], b[1]))),
            lambda _, b: (jtu.tree_map(jnp.add, b[0], self._backward(b[0], b[1])), b[1]),
        )
        saved = [None if t is None else self._step_of(t) < self.count for t in self.ts]
        return Moved(out["end"], out["ts"], out["steps"], saved)

    def _step_of(self, ts: Array) -> Array:
        """For every time, the step that reaches it."""
        ends = jnp.where(jnp.arange(self.room) < self.count, self.records.end, jnp.inf)
        return jnp.searchsorted(ends, ts, side="left")

    def _at(self, i: Array) -> tuple[Any, Array]:
        """The record of a step, and the state before it."""
        record = jtu.tree_map(lambda b: b[i], self.records)
        return record, jnp.where(i == 0, self.x0, self.records.y[jnp.maximum(i - 1, 0)])

    def _limited(self) -> tuple[Array, Array]:
        """Steps that can be swept, and 1, or NaN where that is not all of them."""
        dtype = self.system.dtype
        poison = jnp.where(self.count > self.room, jnp.asarray(jnp.nan, dtype), jnp.ones((), dtype))
        return jnp.minimum(self.count, self.room), poison

    def _forward(self, u: Any, v: Any) -> Any:
        count, poison = self._limited()
        x = jnp.zeros_like(self.x0) if u["x"] is None else u["x"]
        steps_of = [None if t is None else self._step_of(t) for t in self.ts]
        cursors = [None if t is None else jnp.zeros((), jnp.int32) for t in self.ts]

        def body(loop: Any) -> Any:
            i, carry, memory, out, cursors = loop
            active = i < count
            place = jnp.clip(i, 0, jnp.maximum(count - 1, 0))
            record, before = self._at(place)
            new, memory = self.steps.forward(self.system, self.parameters, record, before, carry, u["p"], memory)
            carry = jnp.where(active, new, carry)
            times, moved = [], []
            for ts, index, cursor, rows in zip(self.ts, steps_of, cursors, out["ts"], strict=True):
                rows, cursor = self._saving(ts, index, cursor, rows, i, record, carry, active)
                times.append(rows)
                moved.append(cursor)
            steps = out["steps"]
            if steps is not None:
                row = jnp.where(active, self.steps.value(carry), steps[place])
                steps = steps.at[place].set(row)
            return i + 1, carry, memory, {**out, "ts": times, "steps": steps}, moved

        zero = jtu.tree_map(jnp.zeros_like, v)
        start = (jnp.zeros((), jnp.int32), self.steps.carry(x), self.steps.memory(self.system), zero, cursors)
        loop = lax.while_loop(lambda loop: eqxi.unvmap_any(loop[0] < count), body, start)
        out = {**loop[3], "end": self.steps.value(loop[1])}
        return jtu.tree_map(lambda leaf: leaf * poison, out)

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
        count, poison = self._limited()
        steps_of = [None if t is None else self._step_of(t) for t in self.ts]
        cursors = [None if s is None else jnp.sum(s < count).astype(jnp.int32) - 1 for s in steps_of]

        def body(loop: Any) -> Any:
            i, carry, sums, memory, cursors = loop
            active = i >= 0
            place = jnp.maximum(i, 0)
            record, before = self._at(place)
            if v["steps"] is not None:
                carry = carry + self.steps.carry(jnp.where(active, v["steps"][place], 0.0))
            moved = []
            for ts, index, cursor, rows in zip(self.ts, steps_of, cursors, v["ts"], strict=True):
                carry, cursor = self._collecting(ts, index, cursor, rows, i, record, carry)
                moved.append(cursor)
            masked = jnp.where(active, carry, 0.0)
            new, sums, memory = self.steps.backward(self.system, self.parameters, record, before, masked, sums, memory)
            return i - 1, jnp.where(active, new, carry), sums, memory, moved

        start = (
            count.astype(jnp.int32) - 1,
            self.steps.carry(v["end"]),
            self.parameters.zeros(),
            self.steps.memory(self.system),
            cursors,
        )
        _, carry, sums, *_ = lax.while_loop(lambda loop: eqxi.unvmap_any(loop[0] >= 0), body, start)
        x = None if u["x"] is None else self.steps.value(carry)
        return jax.tree.map(lambda leaf: leaf * poison.astype(leaf.dtype), {"x": x, "p": sums})

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
