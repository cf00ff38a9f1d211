"""Size classes of fronts, and their schedule as chunks of equal shape. Host-side, part of the plan.

Fronts of one class are padded to a common `k x m` and processed in chunks of `batch` fronts, so that compiled code
depends on the few classes and not on the thousands of fronts. Padding every front to a common ladder of sizes costs
3-4 times the work; here classes come from agglomeration: start with one class per distinct size, and merge the two
classes whose union adds the least estimated time until another class is worth its compilation.
Cost: O(c^2) a merge for c distinct sizes (at most a few hundred).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from sparsesolve.direct._cost import front_time
from sparsesolve.direct._fronts import Fronts

_CHUNK_ENTRIES = 24_000  # doubles of a chunk's fronts: they stay in a core's second-level cache
_CHUNK_TIME = 15_000.0  # nanoseconds to start one chunk
_CLASS_TIME = 2e6  # what another class must save a factorization to be worth its compilation, a fifth of a second
_MAX_BATCH = 256
_MAX_SIZES = 160


@dataclasses.dataclass(frozen=True)
class Bucket:
    """A class of fronts of padded shape: `k` pivots, `m` border unknowns, `batch` fronts a chunk; `sides` off-diagonal
    blocks are stored, two of an LU and one of a symmetric factorization."""

    k: int
    m: int
    batch: int
    leaf: bool
    sides: int = 2

    @property
    def size(self) -> int:
        return self.k + self.m

    @property
    def entries(self) -> int:
        """Factor entries of one chunk."""
        return self.batch * self.k * (self.k + self.sides * self.m)


@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
    """Which fronts each chunk holds.

    Attributes:
        buckets: the classes.
        chunks: for each class its chunks in order of execution, each an array of front numbers.
        levels: `(number of levels, classes, 2)`: the chunks `lo:hi` of each class run at each level.
        bucket_of: class of each front.
    """

    buckets: tuple[Bucket, ...]
    chunks: tuple[tuple[np.ndarray, ...], ...]
    levels: np.ndarray
    bucket_of: np.ndarray

    def in_order(self) -> Iterator[tuple[int, int, int, np.ndarray]]:
        """`(level, class, chunk of the class, fronts)` in order of execution."""
        for level in range(self.levels.shape[0]):
            for c in range(len(self.buckets)):
                for q in range(*self.levels[level, c]):
                    yield level, c, q, self.chunks[c][q]


def schedule(fronts: Fronts, max_classes: int = 10, sides: int = 2) -> Schedule:
    """Sorts fronts into classes and classes into chunks, level by level from the leaves."""
    k, m = fronts.pivots, fronts.border_sizes
    is_leaf = fronts.height == 0
    bucket_of = np.zeros(k.size, np.int64)
    shapes: list[tuple[int, int, bool]] = []
    for leaf in (True, False):
        members = np.flatnonzero(is_leaf == leaf)
        if members.size == 0:
            continue
        limit = max(2, max_classes // 4) if leaf else max_classes - max(2, max_classes // 4)
        label, sizes = _size_classes(k[members], m[members], leaf, limit, _CLASS_TIME)
        bucket_of[members] = label + len(shapes)
        shapes.extend((int(kk), int(mm), leaf) for kk, mm in sizes)
    return _chunk(fronts, shapes, bucket_of, sides)


def _chunk(fronts: Fronts, shapes: list[tuple[int, int, bool]], bucket_of: np.ndarray, sides: int) -> Schedule:
    num_levels = int(fronts.height.max()) + 1
    children = np.bincount(fronts.parent[fronts.parent >= 0], minlength=fronts.parent.size)
    buckets, chunks = [], []
    levels = np.zeros((num_levels, len(shapes), 2), np.int64)
    for c, (k, m, leaf) in enumerate(shapes):
        members = np.flatnonzero(bucket_of == c)
        # Fronts with many children together: a chunk works as long as its busiest front.
        members = members[np.lexsort((-children[members], fronts.height[members]))]
        per_level = np.bincount(fronts.height[members], minlength=num_levels)
        batch = _batch(per_level[per_level > 0], k, m, leaf)
        stops, mine = np.cumsum(per_level), []
        for level, (count, stop) in enumerate(zip(per_level.tolist(), stops.tolist(), strict=True)):
            levels[level, c, 0] = len(mine)
            mine.extend(members[start : min(start + batch, stop)] for start in range(stop - count, stop, batch))
            levels[level, c, 1] = len(mine)
        buckets.append(Bucket(k, m, batch, leaf, sides))
        chunks.append(tuple(mine))
    return Schedule(tuple(buckets), tuple(chunks), levels, bucket_of)


def _batch(counts: np.ndarray, k: int, m: int, leaf: bool) -> int:
    """The batch size with the least estimated time: large batches leave chunks half empty near the root."""
    largest = int(max(1, min(_MAX_BATCH, _CHUNK_ENTRIES // max(1, (k + m) ** 2), counts.max())))
    sizes = np.arange(1, largest + 1)
    chunks = -(-counts[:, None] // sizes[None, :])
    total = (chunks * (sizes * front_time(k, m, leaf) + _CHUNK_TIME)).sum(0)
    return int(sizes[np.argmin(total)])


def _size_classes(k: np.ndarray, m: np.ndarray, leaf: bool, limit: int, worth: float) -> tuple[np.ndarray, np.ndarray]:
    """Agglomerates front sizes. Returns the class of each front and the padded `(k, m)` of each class."""
    quantum = 1
    while True:
        sizes = np.stack([-(-k // quantum) * quantum, -(-m // quantum) * quantum], 1)
        distinct, label, weight = np.unique(sizes, axis=0, return_inverse=True, return_counts=True)
        if distinct.shape[0] <= _MAX_SIZES:
            break
        quantum += 1
    label = label.ravel()
    shape, weight = distinct.astype(float), weight.astype(float)
    owner = np.arange(shape.shape[0])
    alive = np.ones(shape.shape[0], bool)
    joint = np.maximum(shape[:, None, :], shape[None, :, :])
    own = weight * front_time(shape[:, 0], shape[:, 1], leaf)
    gain = (
        (weight[:, None] + weight[None, :]) * front_time(joint[..., 0], joint[..., 1], leaf)
        - own[:, None]
        - own[None, :]
    )
    np.fill_diagonal(gain, np.inf)
    while alive.sum() > 1:
        a, b = np.unravel_index(np.argmin(gain), gain.shape)
        if gain[a, b] > worth and alive.sum() <= limit:
            break
        shape[a] = np.maximum(shape[a], shape[b])
        weight[a] += weight[b]
        owner[owner == b] = a
        alive[b] = False
        gain[b, :] = gain[:, b] = np.inf
        own[a] = weight[a] * front_time(shape[a, 0], shape[a, 1], leaf)
        joint_k, joint_m = np.maximum(shape[a, 0], shape[:, 0]), np.maximum(shape[a, 1], shape[:, 1])
        row = (weight[a] + weight) * front_time(joint_k, joint_m, leaf) - own[a] - own
        row[~alive] = np.inf
        row[a] = np.inf
        gain[a, :] = gain[:, a] = row
    kept = np.flatnonzero(alive)
    kept = kept[np.lexsort((shape[kept, 0], shape[kept].sum(1)))]
    number = np.empty(shape.shape[0], np.int64)
    number[kept] = np.arange(kept.size)
    classes = number[owner][label]
    tight = np.zeros((kept.size, 2), np.int64)
    np.maximum.at(tight, classes, np.stack([k, m], 1))
    return classes, tight
