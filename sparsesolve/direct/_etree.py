"""Elimination tree, postorder and column counts of a symmetric pattern. Host-side, part of the plan.

The tree by J. W. H. Liu, The role of elimination trees in sparse factorization, SIAM J. Matrix Anal. Appl. 11 (1990)
134-172, doi:10.1137/0611010: the parent of column j is the row of the first entry below the diagonal in column j of L.
Counts by J. R. Gilbert, E. G. Ng, B. W. Peyton, An efficient algorithm to compute row and column counts for sparse
Cholesky factorization, SIAM J. Matrix Anal. Appl. 15 (1994) 1075-1091, doi:10.1137/S0895479892236921, written with
whole-array operations.
Cost: nearly O(nnz) for the tree (path compression), O(nnz log depth) for the counts.
"""

from __future__ import annotations

import numpy as np


def elimination_tree(indptr: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Parents of the elimination tree, -1 for roots; row `i` of the CSR input holds the neighbours `k < i` (others
    are ignored)."""
    n = indptr.size - 1
    parent, ancestor = [-1] * n, [-1] * n
    pointers, neighbours = indptr.tolist(), indices.tolist()
    for i in range(n):
        for k in neighbours[pointers[i] : pointers[i + 1]]:
            while k != -1 and k < i:
                above = ancestor[k]
                ancestor[k] = i
                if above == -1:
                    parent[k] = i
                k = above
    return np.array(parent, np.int64)


def postorder(parent: np.ndarray) -> np.ndarray:
    """`order[p]` is the vertex at place `p` of a postorder of the forest (children before parents, subtrees
    contiguous)."""
    n = parent.size
    parents = parent.tolist()
    size = [1] * n
    for v in range(n):
        if parents[v] >= 0:
            size[parents[v]] += size[v]
    # Parents before children: each vertex hands its children consecutive intervals ending just before its own place.
    last, cursor, roots = [0] * n, [0] * n, 0
    for v in range(n - 1, -1, -1):
        p = parents[v]
        if p < 0:
            last[v] = n - 1 - roots
            roots += size[v]
        else:
            last[v] = cursor[p]
            cursor[p] -= size[v]
        cursor[v] = last[v] - 1
    order = np.empty(n, np.int64)
    order[last] = np.arange(n)
    return order


def subtree_sizes(parent: np.ndarray) -> np.ndarray:
    """Number of vertices of the subtree of each vertex, itself included (parents after children)."""
    size = [1] * parent.size
    for v, p in enumerate(parent.tolist()):
        if p >= 0:
            size[p] += size[v]
    return np.array(size, np.int64)


def column_counts(indptr: np.ndarray, indices: np.ndarray, parent: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Entries in each column of `L`, diagonal included, for a postordered tree and sorted row indices.

    Row `i` of `L` is the union of the tree paths from the neighbours `k < i` up to `i`. Column counts are subtree
    sums of +1 at each leaf of these row subtrees, -1 where two neighbouring leaves' paths meet and -1 above `i`.
    """
    n = parent.size
    rows = np.repeat(np.arange(n), np.diff(indptr))
    below = indices < rows
    rows, cols = rows[below], indices[below].astype(np.int64)
    first = np.arange(n) - size + 1
    previous = np.concatenate([[-1], cols[:-1]])
    head = np.concatenate([[True], rows[1:] != rows[:-1]])[: rows.size]
    leaf = head | (first[cols] > previous)  # no earlier neighbour lies in this one's subtree
    rows, cols = rows[leaf], cols[leaf]
    delta = np.zeros(n + 1, np.int64)
    np.add.at(delta, cols, 1)
    same = np.flatnonzero(rows[1:] == rows[:-1]) if rows.size else np.zeros(0, np.int64)
    meet = _first_ancestor_at_least(parent, cols[same], cols[same + 1])
    np.add.at(delta, meet, -1)
    # The row subtree of i starts at i itself (its diagonal) even without neighbours below.
    empty = np.ones(n, bool)
    empty[rows] = False
    delta[:n] += empty
    np.add.at(delta, np.where(parent >= 0, parent, n), -1)
    sums = np.concatenate([[0], np.cumsum(delta[:n])])
    return sums[np.arange(n) + 1] - sums[first]


def _first_ancestor_at_least(parent: np.ndarray, vertex: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """The lowest ancestor of each vertex that is not below `bound`, by binary lifting. In a postordered tree this
    is the lowest common ancestor of `vertex` and `bound`."""
    n = parent.size
    up = np.where(parent >= 0, parent, n)
    up = np.concatenate([up, [n]])
    tables = [up]
    while (tables[-1][vertex] < bound).any():
        tables.append(tables[-1][tables[-1]])
    for table in reversed(tables):
        higher = table[vertex]
        vertex = np.where(higher < bound, higher, vertex)
    return up[vertex]
