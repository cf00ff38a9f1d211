"""Minimum cut of an equation graph: which linear equations leave the core. Plan side.

A node is an equation; an infinite arc from consumer to producer says "if the consumer is in the core, so is what it
reads". Each variable is a node with capacity `c(v)`, split into an arc `v -> v'`, from its producer to its consumers:
the arc is cut exactly when `v` is computed in the core and read in the tail. Equations that are not linear hang on the
source, residuals on the sink. By max-flow / min-cut (Ford and Fulkerson 1956) the cut of least capacity is the cheapest
interface; of several, the one nearest to the source gives the smallest core.
Cost: one `scipy.sparse.csgraph.maximum_flow` on a graph with as many nodes as equations and variables.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

_INFINITE = 2**30


def smallest_core(
    reads: Sequence[Sequence[int]],
    writes: Sequence[Sequence[int]],
    linear: Sequence[bool],
    capacities: Sequence[float],
    outputs: Sequence[int],
) -> np.ndarray:
    """Splits equations into core and tail by a minimum cut.

    Args:
        reads: for each equation, the variables it reads.
        writes: for each equation, the variables it writes.
        linear: whether each equation may be in the tail.
        capacities: price of each variable that the core hands to the tail.
        outputs: variables that are results of the function.

    Returns:
        bool, one flag an equation: whether it is in the core.
    """
    num_equations, num_variables = len(reads), len(capacities)
    source, sink = 0, 1
    equation = 2 + np.arange(num_equations)
    inside = 2 + num_equations + np.arange(num_variables)
    outside = inside + num_variables
    arcs: dict[tuple[int, int], int] = {}
    scaled = _integer_capacities(np.asarray(capacities, np.float64))
    for v in range(num_variables):
        arcs[inside[v], outside[v]] = scaled[v]
    producer = {v: e for e, written in enumerate(writes) for v in written}
    for e in range(num_equations):
        if not linear[e]:
            arcs[source, equation[e]] = _INFINITE
        for v in writes[e]:
            arcs[equation[e], inside[v]] = _INFINITE
        for v in reads[e]:
            arcs[outside[v], equation[e]] = _INFINITE
            arcs[equation[e], equation[producer[v]]] = _INFINITE
    for v in outputs:
        arcs[outside[v], sink] = _INFINITE
    return _source_side(arcs, 2 + num_equations + 2 * num_variables)[equation]


def _integer_capacities(capacities: np.ndarray) -> np.ndarray:
    """int32 capacities whose sum stays below infinity; relative rounding at most 1e-4 of the largest for 1e4 nodes."""
    largest = float(capacities.max(initial=0.0)) or 1.0
    unit = (_INFINITE // 2) / max(1, capacities.size)
    return np.maximum(1, np.round(capacities / largest * min(unit, 1e6))).astype(np.int32)


def _source_side(arcs: dict[tuple[int, int], int], num_nodes: int) -> np.ndarray:
    """Nodes that the source still reaches in the residual graph of a maximum flow."""
    ends = np.array(list(arcs), np.int32).reshape(-1, 2)
    capacity = np.fromiter(arcs.values(), np.int32, len(arcs))
    graph = scipy.sparse.csr_matrix((capacity, (ends[:, 0], ends[:, 1])), shape=(num_nodes, num_nodes), dtype=np.int32)
    flow = maximum_flow(graph, 0, 1).flow
    residual = (graph - flow).tocsr()
    residual.data = (residual.data > 0).astype(np.int32)
    residual.eliminate_zeros()
    reached = np.zeros(num_nodes, np.bool_)
    reached[breadth_first_order(residual, 0, return_predecessors=False)] = True
    return reached
