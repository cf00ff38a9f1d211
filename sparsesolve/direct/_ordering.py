"""Fill-reducing orderings on the symmetrised graph of a pattern. Host-side, part of the plan.

Nested dissection (METIS) for the multifrontal factorization, on the compressed graph: unknowns with the same
closed neighbourhood (several species at one node) become one vertex. Rows far denser than the rest are set aside
and ordered last, as in approximate minimum degree. Reverse Cuthill-McKee for banded solves.

References: G. Karypis, V. Kumar, A fast and high quality multilevel scheme for partitioning irregular graphs, SIAM
J. Sci. Comput. 20 (1998) 359-392, doi:10.1137/S1064827595287997. C. Ashcraft, Compressed graphs and the minimum
degree algorithm, SIAM J. Sci. Comput. 16 (1995) 1404-1411, doi:10.1137/0916081.
Cost: O(nnz log n), in METIS.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pymetis
import scipy.sparse
import scipy.sparse.csgraph

from sparsesolve.pattern import SparsityPattern

Graph = Any  # a scipy.sparse.csr_matrix of ones without loops; SciPy's own annotations do not know its attributes


def adjacency(rows: np.ndarray, cols: np.ndarray, n: int) -> Graph:
    """The graph of `A + A^T` without loops: CSR of ones (int8), indices sorted."""
    off = rows != cols
    rows, cols = rows[off], cols[off]
    graph = scipy.sparse.csr_matrix(
        (np.ones(2 * rows.size, np.int8), (np.concatenate([rows, cols]), np.concatenate([cols, rows]))), shape=(n, n)
    )
    graph.sort_indices()
    graph.data[:] = 1
    return graph


def matched_rows(pattern: SparsityPattern, matching: np.ndarray) -> np.ndarray:
    """The row of each entry after row `matching[i]` of the matrix has moved to place `i`, int64 `(nnz,)`."""
    position = np.empty(matching.size, np.int64)
    position[matching] = np.arange(matching.size)
    return position[pattern.rows]


def matched_adjacency(pattern: SparsityPattern, matching: np.ndarray) -> Graph:
    """The graph of the matrix whose rows a matching has permuted."""
    return adjacency(matched_rows(pattern, matching), pattern.indices, pattern.shape[0])


def nested_dissection(graph: Graph) -> np.ndarray:
    """An elimination order: `order[p]` is the unknown eliminated at place `p`, int64."""
    degree = np.diff(graph.indptr)
    n = degree.size
    dense = degree > max(100.0, 10.0 * np.sqrt(n))
    if not dense.any():
        return _compressed_dissection(graph)
    sparse = np.flatnonzero(~dense)
    hubs = np.flatnonzero(dense)
    inner = _compressed_dissection(graph[sparse][:, sparse].tocsr())
    return np.concatenate([sparse[inner], hubs[np.argsort(degree[hubs], kind="stable")]])


def reverse_cuthill_mckee(graph: Graph) -> np.ndarray:
    """An order with small bandwidth, int64 `(n,)`."""
    return np.asarray(scipy.sparse.csgraph.reverse_cuthill_mckee(graph, symmetric_mode=True), np.int64)


def bandwidths(rows: np.ndarray, cols: np.ndarray) -> tuple[int, int]:
    """How far entries reach below and above the diagonal."""
    if rows.size == 0:
        return 0, 0
    offset = cols.astype(np.int64) - rows
    return max(0, int(-offset.min())), max(0, int(offset.max()))


def indistinguishable(graph: Graph) -> np.ndarray:
    """A group number for each vertex: vertices share one when they have the same closed neighbourhood.

    Neighbourhoods are compared by the sum of 64-bit random labels. A collision would cost a little fill, never
    correctness, because any order is a valid order.
    """
    n = graph.shape[0]
    labels = np.random.default_rng(0).integers(1, 2**63, n, dtype=np.uint64)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(labels[graph.indices], dtype=np.uint64)])
    hashes = sums[graph.indptr[1:]] - sums[graph.indptr[:-1]] + labels
    return np.unique(hashes, return_inverse=True)[1]


def _compressed_dissection(graph: Graph) -> np.ndarray:
    group = indistinguishable(graph)
    num_groups = int(group.max(initial=-1)) + 1
    if num_groups > 0.8 * graph.shape[0]:
        return _metis(graph)
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    quotient = adjacency(group[rows], group[graph.indices], num_groups)
    place = np.empty(num_groups, np.int64)
    place[_metis(quotient)] = np.arange(num_groups)
    return np.argsort(place[group], kind="stable")


def _metis(graph: Graph) -> np.ndarray:
    if graph.nnz == 0:  # METIS refuses graphs without edges
        return np.arange(graph.shape[0])
    adjacent = pymetis.CSRAdjacency(graph.indptr.astype(np.int32), graph.indices.astype(np.int32))
    order, _ = pymetis.nested_dissection(adjacent)
    return np.asarray(order, np.int64)
