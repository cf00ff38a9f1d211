"""Decompression: the CSR data of a Jacobian from compressed values, by gathers whose indices are part of the plan.

    data[s] = C[s] + sum_q w_q[s] G[index_q[s]]

Contribution `q` of all slots is one gather ("ELL by contribution rank"): no scatter, deterministic, differentiable.
Two layouts: *padded*, where every level covers all slots, and *ranked*, where slots are ordered by falling number of
contributions so that level `q` covers a prefix, followed by one permutation; slots with more than 8 contributions (a
dense row's diagonal) are summed along the rows of small tables. The cheaper is chosen.
Cost: one gather an element of a level; unit weights are not multiplied, equal weights are scalars.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_MAX_LEVELS = 8
_NONE = -1


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Which contribution each level reads for each slot; -1 for none.

    Attributes:
        levels: int arrays; level `q` covers the first `len(levels[q])` positions.
        tables: int arrays `(slots, width)`, summed along the second axis, appended to the positions.
        order: for each slot its position (an out-of-range one reads zero), or `None` when they coincide.
    """

    levels: tuple[np.ndarray, ...]
    tables: tuple[np.ndarray, ...]
    order: np.ndarray | None

    @property
    def work(self) -> int:
        """Elements gathered by one decompression."""
        return sum(a.size for a in (*self.levels, *self.tables)) + (0 if self.order is None else self.order.size)

    def map(self, fn: Callable[[np.ndarray], Any]) -> list[Any]:
        """`fn` of every level and table."""
        return [fn(a) for a in (*self.levels, *self.tables)]


def plan_layout(slot: np.ndarray, num_slots: int) -> Layout:
    """The cheaper layout for contributions sorted by `slot`."""
    count = np.bincount(slot, minlength=num_slots)
    rank = np.arange(slot.size) - (np.cumsum(count) - count)[slot]
    most = int(count.max(initial=0))
    ranked_work = int(np.minimum(count, _MAX_LEVELS).sum()) + num_slots
    if most <= _MAX_LEVELS and most * num_slots <= ranked_work:
        return _padded(slot, rank, num_slots, most)
    return _ranked(slot, rank, count)


def _padded(slot: np.ndarray, rank: np.ndarray, num_slots: int, most: int) -> Layout:
    levels = np.full((most, num_slots), _NONE, np.int64)
    levels[rank, slot] = np.arange(slot.size)
    return Layout(tuple(levels), (), None)


def _ranked(slot: np.ndarray, rank: np.ndarray, count: np.ndarray) -> Layout:
    width = np.where(count > _MAX_LEVELS, 2 ** np.ceil(np.log2(np.maximum(count, 1))).astype(np.int64), count)
    by_width = np.argsort(-width, kind="stable")
    is_long = width[by_width] > _MAX_LEVELS
    short = by_width[~is_long & (width[by_width] > 0)]
    position = np.full(count.size, _NONE, np.int64)
    position[short] = np.arange(short.size)
    levels = []
    for q in range(int(count[short].max(initial=0))):
        level = np.full(int(np.sum(count[short] > q)), _NONE, np.int64)
        here = np.flatnonzero((rank == q) & (width[slot] <= _MAX_LEVELS))
        level[position[slot[here]]] = here
        levels.append(level)
    tables, start = [], short.size
    for w in np.unique(width[by_width[is_long]]):
        members = np.flatnonzero(width == w)
        local = np.full(count.size, _NONE, np.int64)
        local[members] = np.arange(members.size)
        table = np.full((members.size, int(w)), _NONE, np.int64)
        here = np.flatnonzero(local[slot] >= 0)
        table[local[slot[here]], rank[here]] = here
        tables.append(table)
        position[members] = start + np.arange(members.size)
        start += members.size
    order = np.where(position < 0, start, position).astype(np.int32)
    return Layout(tuple(levels), tuple(tables), None if np.array_equal(order, np.arange(start)) else order)


def source_tables(layout: Layout, source: np.ndarray, length: int) -> list[np.ndarray]:
    """int32 indices into compressed values of the given length; `length` itself (out of range) where there is none."""
    padded = np.append(source, length)
    return layout.map(lambda a: padded[a].astype(np.int32))


def weight_tables(layout: Layout, weights: np.ndarray) -> list[np.ndarray | None]:
    """Static weights of each level: `None` for all one, a scalar when equal, else an array."""

    def table(chosen: np.ndarray) -> np.ndarray | None:
        present = weights[chosen[chosen >= 0]]
        if present.size == 0 or np.all(present == 1):
            return None
        if np.all(present == present[0]):
            return np.asarray(present[0])
        return np.append(weights, 0)[chosen]

    return layout.map(table)


def decompress(
    layout: Layout, compressed: Any, sources: list[Any], weights: list[Any | None], order: Any | None, constant: Any
) -> jax.Array:
    """The data, traced. `constant` is C, or `None` for zero; the other arguments are the tables of the plan."""
    gathered = []
    for source, weight in zip(sources, weights, strict=True):
        part = take(compressed, source)
        gathered.append(part if weight is None else part * weight)
    data = None
    for part in gathered[: len(layout.levels)]:
        data = part if data is None else data + jnp.pad(part, (0, data.size - part.size))
    rows = [] if data is None else [data]
    rows += [jnp.sum(part, axis=1) for part in gathered[len(layout.levels) :]]
    data = rows[0] if len(rows) == 1 else jnp.concatenate(rows)
    if order is not None:
        data = take(data, order)
    return data if constant is None else constant + data


def take(values: Any, index: Any) -> jax.Array:
    """`values[index]`, zero where the index lies past the end."""
    return values.at[index].get(mode="fill", fill_value=0)
