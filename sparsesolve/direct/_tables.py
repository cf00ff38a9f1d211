"""Index tables of the multifrontal factorization: where each chunk's entries come from and go to. Host-side.

Fronts live in one pool of values: each is there from the moment its first child is eliminated until its own
elimination, then its place is cleared and given to later fronts (first fit). A child adds entry (i, j) of its Schur
complement at `base + R[i] * width + R[j]` of the pool, so it needs one map `R` of its border's length, not of its
square. Leaves never enter the pool.
"""

from __future__ import annotations

import bisect
import dataclasses
from typing import Any, NamedTuple

import numpy as np

from sparsesolve.direct._buckets import Schedule
from sparsesolve.direct._fronts import Fronts

ABSENT = 2**29  # an index beyond every pool; two of them still fit in int32


Table = Any  # int32: a NumPy array in the plan, a device array or a tracer in compiled code


class BucketTables(NamedTuple):
    """Tables of one class; the first axis counts its chunks."""

    factor_start: Table  # (chunks,) where the chunk's factors begin
    slot_start: Table  # (chunks,) where its pivots begin in the slotted vector
    pool_start: Table  # (chunks,) where its fronts begin in the pool
    entry_source: Table  # (chunks, entries) matrix values that enter its fronts; nnz stands for 1
    entry_target: Table  # (chunks, entries) where, within the chunk's (batch, size, size)
    border_slot: Table  # (chunks, batch, m) slots of the border unknowns
    parent_row: Table  # (chunks, batch, m) pool index of the parent's row of each border row
    parent_col: Table  # (chunks, batch, m) column within the parent


class Tables(NamedTuple):
    """Everything the compiled functions read; a pytree of int32 arrays, passed to them as arguments."""

    levels: Table  # (levels, classes, 2)
    slot_row: Table  # (slots,) matrix row of each slot, n where padded
    slot_col: Table  # (slots,) matrix column of each slot, n where padded
    row_slot: Table  # (n,)
    col_slot: Table  # (n,)
    buckets: tuple[BucketTables, ...]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Lengths of the working arrays."""

    factor: int
    slots: int
    pool: int


@dataclasses.dataclass(frozen=True, eq=False)
class _Layout:
    """Where each front lives: its position in its chunk and the offsets of its blocks."""

    lane: np.ndarray
    slot: np.ndarray
    pool: np.ndarray
    chunk_factor: list[np.ndarray]
    chunk_slot: list[np.ndarray]
    chunk_pool: list[np.ndarray]
    sizes: Sizes


def build_tables(
    fronts: Fronts, schedule: Schedule, rows: np.ndarray, cols: np.ndarray, row_order: np.ndarray, col_order: np.ndarray
) -> tuple[Tables, Sizes]:
    """The tables of a matrix with entries `(rows, cols)` in CSR order.

    Args:
        fronts: the assembly tree, in places.
        schedule: classes and chunks.
        rows, cols: row and column of each stored entry.
        row_order, col_order: the row and the column of the matrix that sit at each place.
    """
    layout = _layout(fronts, schedule)
    n = row_order.size
    front_of = np.repeat(np.arange(fronts.pivots.size), fronts.pivots)
    locate = _Locator(fronts, front_of)
    slot_of_place = layout.slot[front_of] + np.arange(n) - fronts.first[front_of]
    row_place, col_place = np.empty(n, np.int64), np.empty(n, np.int64)
    row_place[row_order], col_place[col_order] = np.arange(n), np.arange(n)
    entries = _entry_tables(fronts, schedule, layout, locate, row_place[rows], col_place[cols], front_of)
    buckets = tuple(
        _bucket_tables(c, fronts, schedule, layout, locate, slot_of_place, entries[c])
        for c in range(len(schedule.buckets))
    )
    slot_row, slot_col = np.full(layout.sizes.slots, n), np.full(layout.sizes.slots, n)
    slot_row[slot_of_place], slot_col[slot_of_place] = row_order, col_order
    tables = Tables(
        _int32(schedule.levels),
        _int32(slot_row),
        _int32(slot_col),
        _int32(slot_of_place[row_place]),
        _int32(slot_of_place[col_place]),
        buckets,
    )
    return tables, layout.sizes


class _Locator:
    """Finds the local row of a place within a front."""

    def __init__(self, fronts: Fronts, front_of: np.ndarray):
        sizes = fronts.border_sizes
        self.front_of, self.pivots, self.first = front_of, fronts.pivots, fronts.first
        self.start = np.concatenate([[0], np.cumsum(sizes)])
        self.rows = np.concatenate([*fronts.border, np.zeros(0, np.int64)]).astype(np.int64)
        self.stride = front_of.size + 1
        self.keys = np.repeat(np.arange(sizes.size), sizes) * self.stride + self.rows

    def __call__(self, front: np.ndarray, place: np.ndarray, pivots: np.ndarray) -> np.ndarray:
        """Local row: pivots first, border after the (padded) number of pivots given."""
        border = pivots + np.searchsorted(self.keys, front * self.stride + place) - self.start[front]
        return np.where(self.front_of[place] == front, place - self.first[front], border)


class _Pool:
    """First-fit allocation of intervals, host-side."""

    def __init__(self):
        self.free: list[tuple[int, int]] = []  # (start, length), sorted
        self.top = 0

    def take(self, length: int) -> int:
        for i, (start, room) in enumerate(self.free):
            if room >= length:
                self.free[i : i + 1] = [(start + length, room - length)] if room > length else []
                return start
        if self.free and sum(self.free[-1]) == self.top:
            start, room = self.free.pop()
            self.top = start + length
            return start
        self.top += length
        return self.top - length

    def give(self, start: int, length: int) -> None:
        i = bisect.bisect(self.free, (start, length))
        self.free.insert(i, (start, length))
        if i + 1 < len(self.free) and start + length == self.free[i + 1][0]:
            self.free[i : i + 2] = [(start, length + self.free[i + 1][1])]
        if i and sum(self.free[i - 1]) == start:
            self.free[i - 1 : i + 1] = [(self.free[i - 1][0], self.free[i - 1][1] + self.free[i][1])]


def _layout(fronts: Fronts, schedule: Schedule) -> _Layout:
    count = fronts.pivots.size
    lane, slot, pool = (np.zeros(count, np.int64) for _ in range(3))
    factor_start, slot_start = ([np.zeros(len(chunks), np.int64) for chunks in schedule.chunks] for _ in range(2))
    factor_top = slot_top = 0
    for _, c, q, members in schedule.in_order():
        bucket = schedule.buckets[c]
        lane[members] = np.arange(members.size)
        slot[members] = slot_top + lane[members] * bucket.k
        factor_start[c][q], slot_start[c][q] = factor_top, slot_top
        factor_top += bucket.entries
        slot_top += bucket.batch * bucket.k
    pool_start, pool_size = _allocate(fronts, schedule)
    for c, chunks in enumerate(schedule.chunks):
        for q, members in enumerate(chunks):
            pool[members] = pool_start[c][q] + lane[members] * schedule.buckets[c].size ** 2
    return _Layout(lane, slot, pool, factor_start, slot_start, pool_start, Sizes(factor_top, slot_top, pool_size))


def _allocate(fronts: Fronts, schedule: Schedule) -> tuple[list[np.ndarray], int]:
    """A place in the pool for every chunk that has children, from its first child's level to its own."""
    born = fronts.height.copy()
    has_parent = fronts.parent >= 0
    np.minimum.at(born, fronts.parent[has_parent], fronts.height[has_parent])
    start = [np.zeros(len(chunks), np.int64) for chunks in schedule.chunks]
    num_levels = schedule.levels.shape[0]
    births: list[list[tuple[int, int, int]]] = [[] for _ in range(num_levels)]
    deaths: list[list[tuple[int, int]]] = [[] for _ in range(num_levels + 1)]
    for level, c, q, members in schedule.in_order():
        if not schedule.buckets[c].leaf:
            births[int(born[members].min())].append((c, q, level))
    allocator = _Pool()
    for level in range(num_levels):
        for begin, length in deaths[level]:
            allocator.give(begin, length)
        for c, q, last in births[level]:
            length = schedule.buckets[c].batch * schedule.buckets[c].size ** 2
            start[c][q] = allocator.take(length)
            if schedule.buckets[c].m:  # roots do not clean up
                deaths[last + 1].append((int(start[c][q]), length))
    return start, allocator.top


def _entry_tables(
    fronts: Fronts,
    schedule: Schedule,
    layout: _Layout,
    locate: _Locator,
    row_place: np.ndarray,
    col_place: np.ndarray,
    front_of: np.ndarray,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per class, which values enter each chunk's fronts and where, padded to the longest chunk of the class."""
    nnz = row_place.size
    front = front_of[np.minimum(row_place, col_place)]
    bucket_k = np.array([b.k for b in schedule.buckets])
    k = bucket_k[schedule.bucket_of[front]]
    row, col = locate(front, row_place, k), locate(front, col_place, k)
    chunk_of = np.zeros(fronts.pivots.size, np.int64)
    for chunks in schedule.chunks:
        for q, members in enumerate(chunks):
            chunk_of[members] = q
    out = []
    for c, bucket in enumerate(schedule.buckets):
        here = np.flatnonzero(schedule.bucket_of[front] == c)
        lane = layout.lane[front[here]]
        target = (lane * bucket.size + row[here]) * bucket.size + col[here]
        chunks = schedule.chunks[c]
        used = np.zeros((len(chunks), bucket.batch), np.int64)
        for q, members in enumerate(chunks):
            used[q, : members.size] = fronts.pivots[members]
        pad_chunk, pad_lane, pad = np.nonzero(np.arange(bucket.k)[None, None, :] >= used[:, :, None])
        target = np.concatenate([target, (pad_lane * bucket.size + pad) * bucket.size + pad])
        source = np.concatenate([here, np.full(pad.size, nnz)])
        chunk = np.concatenate([chunk_of[front[here]], pad_chunk])
        by = np.lexsort((target, chunk))
        target, source, chunk = target[by], source[by], chunk[by]
        counts = np.bincount(chunk, minlength=len(chunks))
        column = np.arange(chunk.size) - np.repeat(np.cumsum(counts) - counts, counts)
        width = int(counts.max(initial=0))
        sources = np.full((len(chunks), width), nnz, np.int32)
        targets = np.full((len(chunks), width), ABSENT, np.int32)
        sources[chunk, column], targets[chunk, column] = source, target
        out.append((sources, targets))
    return out


def _bucket_tables(
    c: int,
    fronts: Fronts,
    schedule: Schedule,
    layout: _Layout,
    locate: _Locator,
    slot_of_place: np.ndarray,
    entries: tuple[np.ndarray, np.ndarray],
) -> BucketTables:
    bucket, chunks = schedule.buckets[c], schedule.chunks[c]
    border_slot = np.full((len(chunks), bucket.batch, bucket.m), layout.sizes.slots, np.int32)
    for q, members in enumerate(chunks):
        lane, column, places = _spread(fronts, members)
        border_slot[q, lane, column] = slot_of_place[places]
    return BucketTables(
        _int32(layout.chunk_factor[c]),
        _int32(layout.chunk_slot[c]),
        _int32(layout.chunk_pool[c]),
        *entries,
        border_slot,
        *_parent_tables(c, fronts, schedule, layout, locate),
    )


def _spread(fronts: Fronts, members: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(position among members, position in its border, place)` of every border row of the fronts given."""
    rows = [fronts.border[s] for s in members]
    sizes = np.array([r.size for r in rows], np.int64)
    lane = np.repeat(np.arange(members.size), sizes)
    column = np.arange(lane.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return lane, column, np.concatenate([*rows, np.zeros(0, np.int64)])


def _parent_tables(
    c: int, fronts: Fronts, schedule: Schedule, layout: _Layout, locate: _Locator
) -> tuple[np.ndarray, np.ndarray]:
    bucket, chunks = schedule.buckets[c], schedule.chunks[c]
    row, col = (np.full((len(chunks), bucket.batch, bucket.m), ABSENT, np.int32) for _ in range(2))
    pivots = np.array([b.k for b in schedule.buckets])
    width = np.array([b.size for b in schedule.buckets])
    for q, members in enumerate(chunks):
        lane, column, places = _spread(fronts, members)
        parent = fronts.parent[members][lane]
        target = locate(parent, places, pivots[schedule.bucket_of[parent]])
        row[q, lane, column] = layout.pool[parent] + target * width[schedule.bucket_of[parent]]
        col[q, lane, column] = target
    return row, col


def _int32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.int32)
