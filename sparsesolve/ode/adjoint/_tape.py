"""`Tape`: what an integration leaves for the sweeps, in bounded memory whatever the number of steps.

Scalars (times, order) are kept of all steps. Vectors are kept of the steps of one segment, the last; of the segments
before there are histories from which to start, and a segment is integrated again, with the step sizes and orders that
are known, when a sweep arrives at it. Where histories are more than there are slots, every second one gives its place
to a later one, and some segments are reached from further away.

Reference: P. Stumm, A. Walther, SIAM J. Sci. Comput. 32 (2010) 836, doi:10.1137/080742439 (checkpoints where the
number of steps is not known beforehand).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array

from sparsesolve.ode.adjoint._jumps import recorded
from sparsesolve.ode.adjoint._memory import Memory
from sparsesolve.ode.system._system import StiffSystem

MEMORY = 2**26  # bytes of vectors, and as much of histories
LEAST_ROWS, MOST_ROWS, LEAST_SLOTS = 128, 16384, 16
MOST_STEPS = 2**15  # where the caller names no bound
FEW = 2**17  # bytes of vectors where the caller names no bound: a batch of small systems has as many tapes
LARGE = 2**10  # bytes of a record of systems that come alone: these hold as many records in any case


@dataclasses.dataclass(frozen=True)
class Room:
    """Sizes of a tape.

    Attributes:
        steps: most steps.
        rows: steps of a segment.
        slots: histories, an even number; 0 where one segment holds all steps.
    """

    steps: int
    rows: int
    slots: int

    def level(self, segment: Array) -> Array:
        """Histories are kept of every `2^level`th segment, when this is the last one so far."""
        level, reach = jnp.zeros_like(segment), self.slots
        while reach * self.rows < self.steps:
            level, reach = level + (segment >= reach), 2 * reach
        return level

    def slot(self, segment: Array) -> Array:
        """The slot of the history of a segment that is a multiple of `2^level(segment)`."""
        reach = self.slots
        while reach * self.rows < self.steps:
            reach *= 2
        while reach > self.slots:
            # The m-th that comes in the upper half takes the place of the m-th odd multiple of half the distance.
            distance = reach // self.slots
            taken = distance // 2 * (2 * (segment // distance - self.slots // 2) + 1)
            segment = jnp.where(segment >= reach // 2, taken, segment)
            reach //= 2
        return segment


def room_for(
    records: int | None, max_steps: int | None, bytes_of_record: int, bytes_of_history: int, whole: bool
) -> Room:
    """Sizes for an integration.

    Args:
        records: wished length of a segment.
        max_steps: bound on the steps; `None` where the caller names none.
        bytes_of_record: vectors of a step.
        bytes_of_history: of a segment.
        whole: all vectors are wanted at once.
    """
    steps = MOST_STEPS if max_steps is None else max_steps
    few = LARGE * bytes_of_record if bytes_of_record >= LARGE else FEW
    memory = MEMORY if max_steps is not None else min(MEMORY, few)
    fitting = min(MOST_ROWS, max(LEAST_ROWS, memory // max(bytes_of_record, 1)))
    if whole or (steps * bytes_of_record <= memory and records is None):
        return Room(steps, steps, 0)
    rows = max(1, min(steps, fitting if records is None else records))
    if rows == steps:
        return Room(steps, rows, 0)
    slots = min(-(-steps // rows), max(LEAST_SLOTS, MEMORY // max(bytes_of_history, 1)))
    return Room(steps, rows, slots + slots % 2)


class Tape(eqx.Module):
    """Recorded steps.

    Attributes:
        records: leaves of scalars `(steps,)` and of vectors `(rows + 1, n)`, the last row of which nobody reads.
        first: the state before the first step of the segment, and a row that nobody reads.
        histories: `(slots + 1, ...)`, or `None`.
    """

    records: Any
    first: Array
    histories: Array | None

    @classmethod
    def empty(cls, room: Room, steps: Any, system: StiffSystem, state: Any, near: Any) -> Tape:
        """Nothing recorded yet, for integrations that depend on `near`. First rows are zero, others undefined."""
        struct = eqx.filter_eval_shape(lambda s: recorded(steps, system, s, s), state)
        length = lambda s: room.steps if s.ndim == 0 else room.rows + 1  # noqa: E731
        leaves, treedef = jtu.tree_flatten(struct)
        memory = Memory(near)
        records = jtu.tree_unflatten(treedef, [memory.rows(length(s), s) for s in leaves])
        first = jnp.zeros((2, system.size), system.dtype)
        if room.slots == 0:
            return cls(records, first, None)
        history = eqx.filter_eval_shape(lambda s: steps.history(system, s), state)
        return cls(records, first, memory.rows(room.slots + 1, history))

    def written(self, room: Room, steps: Any, system: StiffSystem, record: Any, before: Any, after: Any) -> Tape:
        """With the record of the step from `before` to `after`, states of diffrax's loop, if that was accepted."""
        place = before.num_accepted_steps
        accepted = after.num_accepted_steps > place
        begins = accepted & (place % room.rows == 0)
        row = jnp.where(accepted, place % room.rows, room.rows)
        put = lambda v, b: b.at[place if v.ndim == 0 else row].set(v)  # noqa: E731
        records = jtu.tree_map(put, record, self.records)
        x = system.structure.ravel(before.y)
        first = self.first.at[jnp.where(begins, 0, 1)].set(x)
        if self.histories is None:
            return Tape(records, first, None)
        segment = place // room.rows
        wanted = begins & (segment % 2 ** room.level(segment) == 0)
        slot = jnp.where(wanted, room.slot(segment), room.slots)
        return Tape(records, first, self.histories.at[slot].set(steps.history(system, before)))
