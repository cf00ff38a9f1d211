"""Index tables of the multifrontal factorization: where each chunk's entries come from and go to. Host-side.

Every Schur complement has a place in one pool of values, reused as soon as its parent has taken it up (first fit).
A front gathers from the blocks of its children: entry (i, j) of the front reads `base + R[i] * width + R[j]` of the
pool, so a child needs one map `R` of the front's length rather than one of its square. Children come in pairs.
"""

from __future__ import annotations

import bisect
import dataclasses
from typing import NamedTuple

import numpy as np

from sparsesolve.direct._buckets import Schedule
from sparsesolve.direct._fronts import Fronts

ABSENT = 2**29  # an index beyond every pool; two of them still fit in int32


class BucketTables(NamedTuple):
    """Tables of one class; the first axis counts its chunks (child tables: its pairs of children)."""

    factor_start: np.ndarray  # (chunks,) where the chunk's factors begin
    slot_start: np.ndarray  # (chunks,) where its pivots begin in the slotted vector
    pool_start: np.ndarray  # (chunks,) where its Schur complements begin in the pool
    update_start: np.ndarray  # (chunks,) where its border updates begin in the solve
    entry_source: np.ndarray  # (chunks, entries) matrix values that enter its fronts; nnz stands for 1
    entry_target: np.ndarray  # (chunks, entries) where, within the chunk's (batch, size, size)
    border_slot: np.ndarray  # (chunks, batch, m) slots of the border unknowns
    pair_start: np.ndarray  # (chunks + 1,) pairs of children of each chunk
    child_row: np.ndarray  # (pairs, 2, batch, size) pool index of the child's row of each front row
    child_col: np.ndarray  # (pairs, 2, batch, size) column within the child
    child_update: np.ndarray  # (pairs, 2, batch, size) index of the child's update in the solve


class Tables(NamedTuple):
    """Everything the compiled functions read; a pytree of int32 arrays, passed to them as arguments."""

    levels: np.ndarray  # (levels, classes, 2)
    slot_row: np.ndarray  # (slots,) matrix row of each slot, n where padded
    slot_col: np.ndarray  # (slots,) matrix column of each slot, n where padded
    row_slot: np.ndarray  # (n,)
    col_slot: np.ndarray  # (n,)
    buckets: tuple[BucketTables, ...]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Lengths of the working arrays."""

    factor: int
    slots: int
    pool: int
    updates: int


@dataclasses.dataclass(frozen=True, eq=False)
class _Layout:
    """Where each front lives: its position in its chunk and the offsets of its blocks."""

    lane: np.ndarray
    slot: np.ndarray
    pool: np.ndarray
    update: np.ndarray
    chunk_factor: list[np.ndarray]
    chunk_slot: list[np.ndarray]
    chunk_pool: list[np.ndarray]
    chunk_update: list[np.ndarray]
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
    lane, slot, pool, update = (np.zeros(count, np.int64) for _ in range(4))
    starts = [[np.zeros(len(chunks), np.int64) for chunks in schedule.chunks] for _ in range(4)]
    factor_top = slot_top = update_top = 0
    allocator = _Pool()
    parent_level = np.where(fronts.parent >= 0, fronts.height[fronts.parent], -1)
    expiry: list[list[tuple[int, int]]] = [[] for _ in range(schedule.levels.shape[0] + 1)]
    current = 0
    for level, c, q, members in schedule.in_order():
        if level != current:
            for start, length in expiry[current]:
                allocator.give(start, length)
            current = level
        bucket = schedule.buckets[c]
        j = np.arange(members.size)
        length = bucket.batch * bucket.m * bucket.m
        pool_top = allocator.take(length) if length else 0
        if length:
            expiry[max(level + 1, int(parent_level[members].max(initial=0)))].append((pool_top, length))
        lane[members] = j
        slot[members] = slot_top + j * bucket.k
        pool[members] = pool_top + j * bucket.m * bucket.m
        update[members] = update_top + j * bucket.m
        for table, top in zip(starts, (factor_top, slot_top, pool_top, update_top), strict=True):
            table[c][q] = top
        factor_top += bucket.entries
        slot_top += bucket.batch * bucket.k
        update_top += bucket.batch * bucket.m
    sizes = Sizes(factor_top, slot_top, allocator.top, update_top)
    return _Layout(lane, slot, pool, update, *starts, sizes)


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
        targets = np.full((len(chunks), width), bucket.batch * bucket.size**2, np.int32)
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
    pair_start, child_row, child_col, child_update = _child_tables(c, fronts, schedule, layout, locate)
    return BucketTables(
        _int32(layout.chunk_factor[c]),
        _int32(layout.chunk_slot[c]),
        _int32(layout.chunk_pool[c]),
        _int32(layout.chunk_update[c]),
        *entries,
        border_slot,
        pair_start,
        child_row,
        child_col,
        child_update,
    )


def _spread(fronts: Fronts, members: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(position among members, position in its border, place)` of every border row of the fronts given."""
    rows = [fronts.border[s] for s in members]
    sizes = np.array([r.size for r in rows], np.int64)
    lane = np.repeat(np.arange(members.size), sizes)
    column = np.arange(lane.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return lane, column, np.concatenate([*rows, np.zeros(0, np.int64)])


def _child_tables(
    c: int, fronts: Fronts, schedule: Schedule, layout: _Layout, locate: _Locator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    bucket, chunks = schedule.buckets[c], schedule.chunks[c]
    if bucket.leaf:
        empty = np.zeros((0, 2, bucket.batch, bucket.size), np.int32)
        return np.zeros(len(chunks) + 1, np.int32), empty, empty, empty
    children = _children_of(fronts)
    pair_start, parts = [0], []
    for members in chunks:
        lists = [children[s] for s in members]
        pairs = max(1, (max(len(x) for x in lists) + 1) // 2)
        parts.extend((q // 2, q, members, lists) for q in range(2 * pairs))
        pair_start.append(pair_start[-1] + pairs)
    shape = (pair_start[-1], 2, bucket.batch, bucket.size)
    row, col, update = (np.full(shape, ABSENT, np.int32) for _ in range(3))
    width = np.array([b.m for b in schedule.buckets])
    for flat, (_, which, members, lists) in enumerate(parts):
        lanes = np.array([j for j, x in enumerate(lists) if len(x) > which], np.int64)
        if lanes.size == 0:
            continue
        kids = np.array([lists[j][which] for j in lanes], np.int64)
        position, inner, places = _spread(fronts, kids)
        front = members[lanes][position]
        target = locate(front, places, np.full(front.size, bucket.k))
        pair, side, kid = flat // 2, flat % 2, kids[position]
        row[pair, side, lanes[position], target] = layout.pool[kid] + inner * width[schedule.bucket_of[kid]]
        col[pair, side, lanes[position], target] = inner
        update[pair, side, lanes[position], target] = layout.update[kid] + inner
    return np.array(pair_start, np.int32), row, col, update


def _children_of(fronts: Fronts) -> list[list[int]]:
    children: list[list[int]] = [[] for _ in range(fronts.parent.size)]
    for s, p in enumerate(fronts.parent.tolist()):
        if p >= 0:
            children[p].append(s)
    return children


def _int32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.int32)
