"""Row permutations that put good pivots on the diagonal. Host-side, part of the plan.

* Maximum-cardinality matching of the pattern: tells whether any values make the matrix nonsingular.
* Maximum-product matching of sample values: maximises the product of the diagonal's absolute values after scaling.

References: I. S. Duff, J. Koster, On algorithms for permuting large entries to the diagonal of a sparse matrix, SIAM J.
Matrix Anal. Appl. 22 (2001) 973-996, doi:10.1137/S0895479899358443. A. L. Dulmage, N. S. Mendelsohn, Coverings of
bipartite graphs, Canad. J. Math. 10 (1958) 517-534.
Cost: O(nnz sqrt(n)) for the pattern; O(n nnz log n) at worst, usually far less, for values.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import maximum_bipartite_matching, min_weight_full_bipartite_matching

from sparsesolve.direct._scaling import ruiz
from sparsesolve.pattern import SparsityPattern

_SHOWN = 8


def structural_matching(pattern: SparsityPattern) -> np.ndarray:
    """`rows[j]`: a row to put at position `j` so that the diagonal is structurally full.

    Raises:
        ValueError: no values can make a matrix of this pattern nonsingular; names rows and columns.
    """
    n = pattern.shape[0]
    if not (pattern.diagonal_positions < 0).any():
        return np.arange(n)
    graph = scipy.sparse.csr_matrix((np.ones(pattern.nnz), pattern.indices, pattern.indptr), shape=pattern.shape)
    rows = np.asarray(maximum_bipartite_matching(graph, perm_type="row"), np.int64)
    if (rows < 0).any():
        raise ValueError(_singular_message(pattern, rows))
    off = pattern.indices != pattern.rows
    try:  # among full matchings, one that keeps as much of the diagonal as possible: less fill
        weights = scipy.sparse.csr_matrix((1.0 + off, pattern.indices, pattern.indptr), shape=pattern.shape)
        matched_rows, matched_cols = (
            min_weight_full_bipartite_matching(weights) if n <= 20_000 else (rows, np.arange(n))
        )
    except ValueError:
        return rows
    rows = np.empty(n, np.int64)
    rows[matched_cols] = matched_rows
    return rows


def product_matching(pattern: SparsityPattern, values: np.ndarray) -> np.ndarray | None:
    """`rows[j]`: the row to put at position `j`, by maximum product of scaled sample values; `None` if the nonzero
    values admit no full matching."""
    row_scale, col_scale = ruiz(pattern, values)
    size = np.abs(values) * row_scale[pattern.rows] * col_scale[pattern.indices]
    kept = np.isfinite(size) & (size > 1e-14)
    # Weights must be nonzero; the shift adds the same to every full matching.
    weight = 1.0 - np.log(np.minimum(size[kept], 1.0))
    graph = scipy.sparse.csr_matrix((weight, (pattern.rows[kept], pattern.indices[kept])), shape=pattern.shape)
    try:
        matched_rows, matched_cols = min_weight_full_bipartite_matching(graph)
    except ValueError:
        return None
    rows = np.empty(pattern.shape[0], np.int64)
    rows[matched_cols] = matched_rows
    return rows


def _singular_message(pattern: SparsityPattern, rows: np.ndarray) -> str:
    """Names the equations that compete for too few unknowns."""
    n = pattern.shape[0]
    free_cols = np.flatnonzero(rows < 0)
    free_rows = np.setdiff1d(np.arange(n), rows[rows >= 0])
    empty_rows = np.flatnonzero(np.diff(pattern.indptr) == 0)
    empty_cols = np.flatnonzero(np.bincount(pattern.indices, minlength=n) == 0)
    parts = []
    if empty_rows.size:
        parts.append(f"row {_names(empty_rows)} without entries (an equation that depends on no unknown)")
    if empty_cols.size:
        parts.append(f"column {_names(empty_cols)} without entries (an unknown that no equation contains)")
    if not parts:
        parts.append(f"no unknown left for row {_names(free_rows)} and no equation left for column {_names(free_cols)}")
    return (
        f"The {n} x {n} matrix is structurally singular: {'; '.join(parts)}. At most {n - free_cols.size} of its rows "
        "can be independent whatever the values are. Add the missing equations or boundary conditions, or fix these "
        "unknowns."
    )


def _names(numbers: np.ndarray) -> str:
    shown = ", ".join(str(int(i)) for i in numbers[:_SHOWN])
    return shown + (f" and {numbers.size - _SHOWN} more" if numbers.size > _SHOWN else "")
