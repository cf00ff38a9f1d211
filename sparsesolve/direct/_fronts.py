"""Relaxed supernodes: which pivots are eliminated together, and on which unknowns that acts. Host-side.

A front is a dense block of `k` pivots and `m` border unknowns. Fundamental supernodes (chains of the elimination
tree whose columns have the same structure) and small subtrees are collapsed first; then children are merged into
their parents as long as a cost model says that the larger dense front is cheaper than two smaller ones.

Reference: C. Ashcraft, R. Grimes, The influence of relaxed supernode partitions on the multifrontal method, ACM
Trans. Math. Softw. 15 (1989) 291-309, doi:10.1145/76909.76910.
Cost: O(n) to find supernodes, O(sum of border sizes * log) for the structures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from sparsesolve.direct import _etree
from sparsesolve.direct._cost import front_time

Cost = Callable[[Any, Any], Any]  # of a front with `k` pivots and `m` border unknowns, numbers or arrays


@dataclasses.dataclass(frozen=True, eq=False)
class Fronts:
    """The assembly tree, children before parents.

    Attributes:
        order: `(n,)`: the unknown eliminated at each place; the pivots of a front are consecutive places.
        pivots: `(fronts,)`: number of pivots `k` of each front.
        first: `(fronts,)`: place of its first pivot.
        border: its border: increasing places, all after its pivots.
        parent: `(fronts,)`: front into which its Schur complement is assembled; -1 for roots.
        height: `(fronts,)`: 0 for leaves, one more than the highest child otherwise.
    """

    order: np.ndarray
    pivots: np.ndarray
    first: np.ndarray
    border: list[np.ndarray]
    parent: np.ndarray
    height: np.ndarray

    @property
    def border_sizes(self) -> np.ndarray:
        return np.array([rows.size for rows in self.border], np.int64)


class FrontStatistics(NamedTuple):
    """What the fronts of a plan amount to.

    Attributes:
        num_fronts: how many fronts there are.
        num_levels: the most of them that wait for each other.
        nnz_factor: entries of all factors.
        flops: floating-point operations of a factorization.
        time: estimated nanoseconds of a factorization and a few solves.
    """

    num_fronts: int
    num_levels: int
    nnz_factor: int
    flops: float
    time: float

    @classmethod
    def of(cls, fronts: Fronts, entries: Cost, flops: Cost, time: Cost) -> FrontStatistics:
        """Sums of three functions of a front's pivots `k` and border unknowns `m`, given as arrays."""
        k, m = fronts.pivots.astype(float), fronts.border_sizes.astype(float)
        sums = (float(np.sum(function(k, m))) for function in (entries, flops, time))
        size, operations, nanoseconds = sums
        return cls(k.size, int(fronts.height.max()) + 1, int(size), operations, nanoseconds)


def lu_entries(k: Any, m: Any) -> Any:
    """Factor entries of a front: pivot block, `L` and `U`."""
    return k * k + 2 * k * m


def analyze(graph: scipy.sparse.csr_matrix, order: np.ndarray, leaf: int = 12, cost: Cost = front_time) -> Fronts:
    """The fronts of a symmetric graph eliminated in the order given.

    Args:
        graph: CSR without loops.
        order: `(n,)`: the unknown at each place of the elimination.
        leaf: subtrees of at most this many unknowns become one front without asking the cost model.
        cost: the cost model: estimated time of a front with `k` pivots and `m` border unknowns.
    """
    permuted = _permute(graph, order)
    parent = _etree.elimination_tree(permuted.indptr, permuted.indices)
    post = _etree.postorder(parent)
    order, permuted = order[post], _permute(permuted, post)
    parent = _relabel(parent, post)
    size = _etree.subtree_sizes(parent)
    counts = _etree.column_counts(permuted.indptr, permuted.indices, parent, size)
    supernode = _supernodes(parent, size, counts, leaf)
    start = np.flatnonzero(np.diff(supernode, prepend=-1))
    last = np.append(start[1:], order.size) - 1
    above = np.where(parent[last] >= 0, supernode[parent[last]], -1)
    group = _amalgamate(last - start + 1, counts[last] - 1, above, cost)
    return _structures(permuted, order, group[supernode], group, above)


def _permute(graph: scipy.sparse.csr_matrix, order: np.ndarray) -> scipy.sparse.csr_matrix:
    out = graph[order][:, order].tocsr()
    out.sort_indices()
    return out


def _relabel(parent: np.ndarray, post: np.ndarray) -> np.ndarray:
    place = np.empty(post.size, np.int64)
    place[post] = np.arange(post.size)
    moved = parent[post]
    return np.where(moved >= 0, place[moved], -1)


def _supernodes(parent: np.ndarray, size: np.ndarray, counts: np.ndarray, leaf: int) -> np.ndarray:
    """Supernode of each place of a postordered tree, numbered in order."""
    n = parent.size
    small = size <= leaf
    above = np.where(parent >= 0, parent, n)
    small_root = small & ~np.append(small, False)[above]
    children = np.bincount(parent[(parent >= 0) & ~small], minlength=n)[:n]
    # A place continues the supernode of the one before it inside a collapsed subtree, or along a chain.
    starts = np.ones(n, bool)
    starts[np.flatnonzero(small)] = False
    roots = np.flatnonzero(small_root)
    starts[roots - size[roots] + 1] = True
    chain = np.flatnonzero((parent[:-1] == np.arange(1, n)) & (counts[:-1] == counts[1:] + 1)) + 1
    chain = chain[~small[chain] & ~small[chain - 1] & (children[chain] == 1)]
    starts[chain] = False
    return np.cumsum(starts) - 1


def _amalgamate(pivots: np.ndarray, border: np.ndarray, parent: np.ndarray, front_cost: Cost) -> np.ndarray:
    """Merges supernodes into their parents where that saves time. Returns the representative of each supernode."""
    k, m = pivots.tolist(), border.tolist()
    count = len(k)
    children: list[list[int]] = [[] for _ in range(count)]
    merged = list(range(count))
    cost = front_cost(pivots.astype(float), border.astype(float)).tolist()
    for s, p in enumerate(parent.tolist()):
        # Children come before parents, so the children of s are final when s is reached.
        pending = sorted(children[s], key=lambda c: k[c] + m[c])
        kept = []
        for c in pending:
            joint = front_cost(k[s] + k[c], m[s])
            if joint <= cost[s] + cost[c]:
                k[s] += k[c]
                cost[s] = joint
                merged[c] = s
                kept.extend(children[c])
            else:
                kept.append(c)
        children[s] = kept
        if p >= 0:
            children[p].append(s)
    for s in range(count - 1, -1, -1):
        merged[s] = merged[merged[s]]
    return np.array(merged, np.int64)


def _structures(
    graph: scipy.sparse.csr_matrix, order: np.ndarray, owner: np.ndarray, group: np.ndarray, above: np.ndarray
) -> Fronts:
    """Renumbers so that the pivots of each front are consecutive, then unites structures from the leaves up."""
    heads = np.flatnonzero(group == np.arange(group.size))
    index = np.empty(group.size, np.int64)
    index[heads] = np.arange(heads.size)
    parent = np.where(above[heads] >= 0, index[group[above[heads]]], -1)
    front_of = index[owner]
    # Postorder again, so that the borders of later fronts stay sorted by place.
    rearranged = np.argsort(front_of, kind="stable")
    permuted = _permute(graph, rearranged)
    pivots = np.bincount(front_of, minlength=heads.size)
    first = np.concatenate([[0], np.cumsum(pivots)[:-1]]).astype(np.int64)
    border: list[np.ndarray] = []
    children: list[list[int]] = [[] for _ in range(heads.size)]
    height = [0] * heads.size
    indptr, indices = permuted.indptr, permuted.indices.astype(np.int64)
    for s, p in enumerate(parent.tolist()):
        start, stop = int(first[s]), int(first[s] + pivots[s])
        parts = [indices[indptr[start] : indptr[stop]], *(border[c] for c in children[s])]
        rows = np.sort(np.concatenate(parts))
        rows = rows[np.searchsorted(rows, stop) :]
        border.append(rows[np.concatenate([[True], rows[1:] != rows[:-1]])] if rows.size else rows)
        if p >= 0:
            children[p].append(s)
            height[p] = max(height[p], height[s] + 1)
    return Fronts(order[rearranged], pivots, first, border, parent, np.array(height, np.int64))
