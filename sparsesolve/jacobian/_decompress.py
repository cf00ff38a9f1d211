"""Decompression: the CSR data of a Jacobian from compressed values, with indices that are part of the plan.

    data[s] = C[s] + sum_q w_q[s] G[index_q[s]]

Contribution `q` of all entries is one gather ("ELL by contribution rank"): deterministic and differentiable, with no
atomic additions. Entries are ordered by falling number of contributions where that saves work, so that level `q`
covers a prefix; entries with more than 8 contributions (the corner of an arrow) are summed along the rows of small
tables. If only a part of the entries varies, it is set into a copy of C at unique indices, else the sums are permuted
by one more gather.
Cost: about 1 ns an element of a level on one CPU core. Unit weights are not multiplied, equal weights are scalars.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_MAX_LEVELS = 8
_NONE = -1
# Setting an element costs about as much as gathering one, and C must be copied.
_SET_FRACTION = 0.6


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Which contribution each level reads for each position; -1 for none.

    Attributes:
        levels: int arrays; level `q` covers the first `len(levels[q])` positions.
        tables: int arrays `(positions, width)`, summed along the second axis, appended to the positions.
        slots: for each position the entry of the data that it is, or `None`.
        order: for each entry of the data its position (one past the end for none), or `None`. Without `slots` and
            `order`, positions are entries.
    """

    levels: tuple[np.ndarray, ...]
    tables: tuple[np.ndarray, ...]
    slots: np.ndarray | None
    order: np.ndarray | None

    def map(self, fn: Callable[[np.ndarray], Any]) -> list[Any]:
        """`fn` of every level and table."""
        return [fn(a) for a in (*self.levels, *self.tables)]


def plan_layout(slot: np.ndarray, num_slots: int) -> Layout:
    """The cheaper layout for contributions sorted by `slot`."""
    count = np.bincount(slot, minlength=num_slots)
    varying = np.flatnonzero(count)
    is_set = varying.size <= _SET_FRACTION * num_slots
    if not is_set:
        varying = np.arange(num_slots)
    place = np.cumsum(np.bincount(varying, minlength=num_slots)) - 1
    levels, tables, position = _levels(place[slot], count[varying])
    if is_set:
        slots = np.empty(varying.size, np.int32)
        slots[position] = varying
        return Layout(levels, tables, slots, None)
    identical = np.array_equal(position, np.arange(varying.size))
    return Layout(levels, tables, None, None if identical else position.astype(np.int32))


def _levels(slot: np.ndarray, count: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...], np.ndarray]:
    """Levels and tables, and the position of each slot."""
    rank = np.arange(slot.size) - (np.cumsum(count) - count)[slot]
    most = int(count.max(initial=0))
    if most <= _MAX_LEVELS and most * count.size <= slot.size + count.size:
        levels = np.full((most, count.size), _NONE, np.int64)
        levels[rank, slot] = np.arange(slot.size)
        return tuple(levels), (), np.arange(count.size)
    return _ranked_levels(slot, rank, count)


def _ranked_levels(
    slot: np.ndarray, rank: np.ndarray, count: np.ndarray
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...], np.ndarray]:
    position = np.empty(count.size, np.int64)
    short = np.flatnonzero(count <= _MAX_LEVELS)
    short = short[np.argsort(-count[short], kind="stable")]
    position[short] = np.arange(short.size)
    levels = []
    for q in range(max(1, int(count[short].max(initial=0)))):
        width = short.size if q == 0 else int(np.sum(count[short] > q))
        level = np.full(width, _NONE, np.int64)
        here = np.flatnonzero((rank == q) & (count[slot] <= _MAX_LEVELS))
        level[position[slot[here]]] = here
        levels.append(level)
    tables, start = [], short.size
    power = 2 ** np.ceil(np.log2(np.maximum(count, 1))).astype(np.int64)
    for width in np.unique(power[count > _MAX_LEVELS]):
        members = np.flatnonzero((power == width) & (count > _MAX_LEVELS))
        position[members] = start + np.arange(members.size)
        table = np.full((members.size, int(width)), _NONE, np.int64)
        here = np.flatnonzero((power[slot] == width) & (count[slot] > _MAX_LEVELS))
        table[position[slot[here]] - start, rank[here]] = here
        tables.append(table)
        start += members.size
    return tuple(levels), tuple(tables), position


def source_tables(layout: Layout, source: np.ndarray, length: int) -> list[np.ndarray | None]:
    """int32 indices into values of the given length, followed by a zero; `None` for all of them in their order."""
    padded = np.append(source, length)

    def table(chosen: np.ndarray) -> np.ndarray | None:
        index = padded[chosen].astype(np.int32)
        return None if index.ndim == 1 and np.array_equal(index, np.arange(length)) else index

    return layout.map(table)


def weight_tables(layout: Layout, weights: np.ndarray) -> list[np.ndarray | None]:
    """Static weights of each level: `None` for all one, a scalar when equal, else an array."""

    def table(chosen: np.ndarray) -> np.ndarray | None:
        present = weights[chosen[chosen >= 0]]
        if present.size == 0 or np.all(present == 1):
            return None
        if np.all(present == present[0]):
            return np.asarray(present[0])
        return np.append(weights, weights.dtype.type(0))[chosen]

    return layout.map(table)


def decompress(
    layout: Layout, parts: Sequence[Any], dtype: Any, tables: dict[str, Any], weights: list[Any], constant: Any
) -> jax.Array:
    """The data, traced.

    Args:
        layout: the plan.
        parts: compressed values in pieces.
        dtype: of the data.
        tables: `sources`, `slots` and `order` of the plan.
        weights: of each level.
        constant: C, or `None` for zero.
    """
    compressed = join(parts, dtype)
    gathered = []
    for source, weight in zip(tables["sources"], weights, strict=True):
        part = take(compressed, source)
        gathered.append(part if weight is None else part * weight)
    data = gathered[0]
    for part in gathered[1 : len(layout.levels)]:
        data = data + jnp.pad(part, (0, data.size - part.size))
    rows = [jnp.sum(part, axis=1) for part in gathered[len(layout.levels) :]]
    data = jnp.concatenate([data, *rows]) if rows else data
    if layout.slots is not None:
        return _set(data, tables["slots"], constant)
    if layout.order is not None:
        data = data[tables["order"]]
    return data if constant is None else constant + data


def _set(data: jax.Array, slots: Any, constant: Any) -> jax.Array:
    assert constant is not None
    base = jnp.asarray(constant, data.dtype)
    at = base.at[slots]
    return at.set(data + base[slots], unique_indices=True, mode="promise_in_bounds")


def join(parts: Sequence[Any], dtype: Any) -> jax.Array:
    """The concatenation of raveled arrays and a zero, as updates in place of one buffer.

    XLA's CPU back end would inline a producer into the gathers that read it, and compute it again for each; and it
    gathers from a `concatenate` three times as slowly (measured with jax 0.10.2 at 2e5 entries).
    """
    flat = [jnp.ravel(part).astype(dtype) for part in parts if part.size]
    out = jnp.zeros((sum(part.size for part in flat) + 1,), dtype)
    start = 0
    for part in flat:
        out = jax.lax.dynamic_update_slice(out, part, (start,))
        start += part.size
    return out


def take(values: jax.Array, index: Any | None) -> jax.Array:
    """`values[index]`, where the last value is zero and stands for "nothing"; without an index, all but that one."""
    return values[:-1] if index is None else values.at[index].get(mode="promise_in_bounds")
