"""Elimination order of the simplicial LU: block triangular form, then little fill inside the blocks. Host-side.

A matrix whose graph is not strongly connected is block triangular in a suitable order of its strong components; only
the diagonal blocks are factorized. Inside blocks: multiple minimum degree (SuperLU's) or nested dissection (METIS),
whichever fills less. References: A. Pothen, C.-J. Fan, Computing the block triangular form of a sparse matrix, ACM
TOMS 16 (1990) 303-324, doi:10.1145/98267.98287. J. W. H. Liu, Modification of the minimum-degree algorithm by multiple
elimination, ACM TOMS 11 (1985) 141-153, doi:10.1145/214392.214398.
Cost: O(nnz log n), and one trial factorization by SuperLU on made-up values where minimum degree is tried.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
import scipy.sparse.linalg

from sparsesolve.direct import _etree, _ordering
from sparsesolve.pattern import SparsityPattern


class BlockOrder(NamedTuple):
    """An elimination order in which the matrix is block upper triangular."""

    order: np.ndarray  # (n,) unknown at each place, int64
    block: np.ndarray  # (n,) diagonal block of each place, not decreasing


def block_order(pattern: SparsityPattern, matching: np.ndarray) -> BlockOrder:
    """Order of the matrix whose row `matching[i]` has moved to place `i`."""
    n = pattern.shape[0]
    rows, cols = _ordering.matched_rows(pattern, matching), pattern.indices.astype(np.int64)
    block = strong_components(rows, cols, n)
    inside = block[rows] == block[cols]
    graph = _ordering.adjacency(rows[inside], cols[inside], n)
    order = least_fill(graph)
    order = order[np.argsort(block[order], kind="stable")]
    return BlockOrder(order, block[order])


def strong_components(rows: np.ndarray, cols: np.ndarray, n: int) -> np.ndarray:
    """A block number for each unknown: entries `(i, j)` have `block[i] <= block[j]`, and blocks cannot be split."""
    graph = scipy.sparse.csr_matrix((np.ones(rows.size, np.int8), (rows, cols)), shape=(n, n))
    count, label = scipy.sparse.csgraph.connected_components(graph, directed=True, connection="strong")
    label = label.astype(np.int64)
    for candidate in (label, count - 1 - label):  # numbered along the edges, one way or the other
        if (candidate[rows] <= candidate[cols]).all():
            return candidate
    return np.zeros(n, np.int64)


def least_fill(graph: _ordering.Graph) -> np.ndarray:
    """The better of minimum degree and nested dissection by the size of the factors."""
    candidates = [_ordering.nested_dissection(graph)]
    if (other := minimum_degree(graph)) is not None:
        candidates.append(other)
    return min(candidates, key=lambda order: fill(graph, order))


def fill(graph: _ordering.Graph, order: np.ndarray) -> int:
    """Entries of the Cholesky factor of a symmetric graph in an order, diagonal included."""
    return int(column_counts(graph, order).sum())


def column_counts(graph: _ordering.Graph, order: np.ndarray) -> np.ndarray:
    """Entries of the columns of the Cholesky factor, diagonal included, by places of a postorder of `order`."""
    permuted = _permuted(graph, order)
    post = _etree.postorder(_etree.elimination_tree(permuted.indptr, permuted.indices))
    permuted = _permuted(permuted, post)
    parent = _etree.elimination_tree(permuted.indptr, permuted.indices)
    return _etree.column_counts(permuted.indptr, permuted.indices, parent, _etree.subtree_sizes(parent))


def minimum_degree(graph: _ordering.Graph) -> np.ndarray | None:
    """Multiple minimum degree; `None` where SuperLU does not give it. Values are made up: the order ignores them."""
    n = graph.shape[0]
    matrix = graph.astype(np.float64) + scipy.sparse.diags(np.diff(graph.indptr) + 1.0)
    options = {"Equil": False, "SymmetricMode": True}
    try:
        lu = scipy.sparse.linalg.splu(
            matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options
        )
    except (RuntimeError, MemoryError):
        return None
    order = np.empty(n, np.int64)
    order[lu.perm_c] = np.arange(n)
    return order


def _permuted(graph: _ordering.Graph, order: np.ndarray) -> _ordering.Graph:
    permuted = graph[order][:, order].tocsr()
    permuted.sort_indices()
    return permuted
