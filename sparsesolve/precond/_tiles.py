"""Which unknowns share a tile of block Jacobi: small groups of strongly coupled unknowns. Host-side.

Connected components, where all are small. Otherwise species at one point first (leaves of equal shape that couple point
by point, or unknowns with the same neighbours), then pairs of neighbouring groups are merged, largest coupling first,
until no pair fits into a tile: three rounds of matching make tiles of 8 that are compact on grids and follow the strong
direction where sample values show one.

Reference for pairwise aggregation: Y. Notay, An aggregation-based algebraic multigrid method, Electron. Trans. Numer.
Anal. 37 (2010) 123-146. Cost: `O(nnz)` for each round.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from sparsesolve.direct._ordering import adjacency, indistinguishable
from sparsesolve.pattern import SparsityPattern

_ROUNDS = 6  # of proposals in one matching


def tile_groups(pattern: SparsityPattern, block_size: int, sample: np.ndarray | None) -> np.ndarray:
    """The tile of each unknown, int64 `(n,)`, in the order of first members; at most `block_size` in each."""
    n = pattern.shape[0]
    if block_size <= 1:
        return np.arange(n)
    components = scipy.sparse.csgraph.connected_components(pattern.to_scipy(), directed=False)[1]
    if np.bincount(components).max(initial=0) <= block_size:
        return _numbered(components)
    group = _species(pattern, block_size)
    weights = np.ones(pattern.nnz) if sample is None else np.abs(np.nan_to_num(np.asarray(sample))).astype(float)
    while True:
        merged = _merge_pairs(pattern, group, weights, block_size)
        if merged.max() == group.max():
            return _numbered(merged)
        group = merged


def _species(pattern: SparsityPattern, block_size: int) -> np.ndarray:
    """Unknowns at one point, as far as the pattern shows them; each unknown alone otherwise."""
    n = pattern.shape[0]
    shapes = pattern.column_shapes or ()
    sizes = [int(np.prod(shape)) for shape in shapes]
    if 2 <= len(sizes) <= block_size and len(set(sizes)) == 1:
        points = sizes[0]
        here = np.arange(points)
        pairs = [(a, b) for a in range(len(sizes)) for b in range(len(sizes)) if a != b]
        stored = [np.mean(pattern.positions(a * points + here, b * points + here) >= 0) for a, b in pairs]
        if np.mean(stored) >= 0.25:
            return np.tile(here, len(sizes))
    group = indistinguishable(adjacency(pattern.rows, pattern.indices, n))
    fits = np.bincount(group).max(initial=0) <= block_size
    return _numbered(group) if fits else np.arange(n)


def _merge_pairs(pattern: SparsityPattern, group: np.ndarray, weights: np.ndarray, limit: int) -> np.ndarray:
    """One matching of the groups: each proposes to the neighbour it is coupled to most, mutual proposals merge."""
    count = int(group.max()) + 1
    size = np.bincount(group, minlength=count)
    row, col = group[pattern.rows], group[pattern.indices]
    off = row != col
    graph = scipy.sparse.csr_matrix((weights[off], (row[off], col[off])), shape=(count, count))
    graph = (graph + graph.T).tocoo()
    a, b, weight = graph.row, graph.col, graph.data
    partner = np.full(count, -1)
    # Among equals: even numbers pair upwards, near ones first. Lines of a grid then pair up in one round.
    tie = 1e-6 * (np.minimum(a, b) % 2) + 1e-7 * np.abs(a - b) / count + 1e-9 * np.minimum(a, b) / count
    weight = weight / max(float(weight.max(initial=0.0)), 1e-300) - tie
    for _ in range(_ROUNDS):
        free = (partner[a] < 0) & (partner[b] < 0) & (size[a] + size[b] <= limit)
        a, b, weight = a[free], b[free], weight[free]
        if a.size == 0:
            break
        order = np.lexsort((-b, weight, a))  # the last of each `a` is its best
        last = np.append(np.flatnonzero(np.diff(a[order])), a.size - 1)
        choice = np.full(count, -1)
        choice[a[order[last]]] = b[order[last]]
        proposer = np.flatnonzero(choice >= 0)
        mutual = proposer[choice[choice[proposer]] == proposer]
        partner[mutual] = choice[mutual]
    leader = np.where(partner >= 0, np.minimum(partner, np.arange(count)), np.arange(count))
    return np.unique(leader, return_inverse=True)[1][group]


def _numbered(group: np.ndarray) -> np.ndarray:
    """The same groups, numbered in the order in which they first appear."""
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    rank = np.empty(first.size, np.int64)
    rank[np.argsort(first)] = np.arange(first.size)
    return rank[inverse]
