"""Aggregation: the unknowns of a level fall into small connected groups, each an unknown of the next level. Host-side.

The greedy algorithm of P. Vanek, J. Mandel, M. Brezina, Algebraic multigrid by smoothed aggregation for second and
fourth order elliptic problems, Computing 56 (1996) 179-196, doi:10.1007/BF02238511, section 5.1: (1) a node none of
whose neighbours is taken founds an aggregate with all of them; (2) nodes next to such an aggregate join it; (3) what is
left forms aggregates with its free neighbours. It is sequential: compiled where the native kernels are there, in Python
for small graphs, and for large graphs without kernels replaced by a vectorised one, whose founders are a maximal set of
nodes at distance three or more: N. Bell, S. Dalton, L. N. Olson, Exposing fine-grained parallelism in algebraic
multigrid methods, SIAM J. Sci. Comput. 34 (2012) C123-C152, doi:10.1137/110838844. Cost: linear in the entries.
"""

from __future__ import annotations

import numpy as np

from sparsesolve import _native

_INTERPRETED = 20_000  # nodes up to which the loop in Python takes a fraction of a second


def aggregate(indptr: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, int]:
    """Aggregates of a symmetric graph without loops.

    Args:
        indptr, indices: CSR arrays of the strong entries, int32.

    Returns:
        The aggregate of each node, int32 `(n,)`, -1 for nodes without neighbours, and the number of aggregates.
    """
    if _native.available():
        return _native.aggregate_greedily(indptr, indices)
    if indptr.size - 1 <= _INTERPRETED:
        return greedy(indptr, indices)
    return distant_founders(indptr, indices)


def greedy(indptr: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, int]:
    """The sequential algorithm, in Python."""
    n = indptr.size - 1
    start, neighbours = indptr.tolist(), indices.tolist()
    label = [-1] * n
    count = 0
    for i in range(n):
        if label[i] < 0 and start[i] < start[i + 1]:
            around = neighbours[start[i] : start[i + 1]]
            if all(label[j] < 0 for j in around):
                for j in (i, *around):
                    label[j] = count
                count += 1
    founded = label.copy()
    for i in range(n):
        if label[i] < 0:
            label[i] = next((founded[j] for j in neighbours[start[i] : start[i + 1]] if founded[j] >= 0), -1)
    for i in range(n):
        if label[i] < 0 and start[i] < start[i + 1]:
            for j in (i, *neighbours[start[i] : start[i + 1]]):
                if label[j] < 0:
                    label[j] = count
            count += 1
    return np.asarray(label, np.int32), count


def distant_founders(indptr: np.ndarray, indices: np.ndarray, seed: int = 0) -> tuple[np.ndarray, int]:
    """The vectorised algorithm."""
    n = indptr.size - 1
    linked = np.flatnonzero(np.diff(indptr))
    label = np.full(n, -1, np.int32)
    if linked.size == 0:
        return label, 0
    starts = indptr[:-1][linked]

    def around(values: np.ndarray) -> np.ndarray:
        """The largest value at a node and its neighbours."""
        out = values.copy()
        out[linked] = np.maximum(values[linked], np.maximum.reduceat(values[indices], starts))
        return out

    founders = _independent(linked, around, n, seed)
    label[founders] = np.arange(founders.size, dtype=np.int32)
    first = around(label)
    return np.where(first >= 0, first, around(first)).astype(np.int32), founders.size


def _independent(linked: np.ndarray, around, n: int, seed: int) -> np.ndarray:
    """A maximal set of nodes no two of which are within distance two, by random priorities."""
    taken = np.iinfo(np.int32).max
    priority = np.zeros(n, np.int32)
    priority[linked] = 1 + np.random.default_rng(seed).permutation(linked.size)
    while True:
        open_ = (priority > 0) & (priority < taken)
        if not open_.any():
            return np.flatnonzero(priority == taken)
        nearby = around(around(priority))
        priority[open_ & (nearby == taken)] = 0
        priority[open_ & (nearby == priority)] = taken
