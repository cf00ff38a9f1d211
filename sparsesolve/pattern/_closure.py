"""The reflexive transitive closure of a boolean square matrix, applied to dependence: (I + S + S^2 + ...) D.

What an iteration x <- f(x) of unknown length, or the solution of S x = b, can depend on. The strongly connected
components of S share one row (Tarjan's algorithm in SciPy); between components the closure of the condensed,
acyclic graph is taken by repeated squaring. Cost: linear in S plus the closure of the condensed graph.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from sparsesolve.pattern._dependence import CSR, MAX_PRODUCT, Dependence, boolean_csr, selection, shared_row
from sparsesolve.pattern._operations import apply, group_union, take


def closure(step: CSR, start: Dependence | None) -> Dependence | None:
    """Dependence of every element after any number of steps, 0 included. `start` is one-dimensional."""
    if start is None or step.nnz == 0:
        return start
    count, labels = scipy.sparse.csgraph.connected_components(step, directed=True, connection="strong")
    merged = group_union(start, labels, (count,))
    if count > 1:
        coo = step.tocoo()
        rows, cols = np.arange(count), np.arange(count)
        reach = selection(
            np.concatenate([labels[coo.row], rows]), np.concatenate([labels[coo.col], cols]), (count, count)
        )
        closed = _transitive(reach)
        if closed is None:
            return shared_row([start], start.shape)
        merged = apply(merged, closed, (count,))
    return take(merged, labels)


def _transitive(reach: CSR) -> CSR:
    """Closure of a reflexive boolean matrix by squaring; `None` if it would be too large."""
    while True:
        if int(np.diff(reach.indptr)[reach.indices].sum()) > MAX_PRODUCT:
            return None
        square = reach @ reach
        if square.nnz == reach.nnz:
            return boolean_csr(reach.indices, reach.indptr, reach.shape)
        reach = square
