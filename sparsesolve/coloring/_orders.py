"""Orders in which a greedy colouring visits the columns. Host-side.

With the conflict graph G (columns adjacent when they meet in a row):

* natural: as they come;
* largest first: by decreasing degree in G (Welsh & Powell 1967);
* smallest last: repeatedly take a column of smallest degree among those left and put it last (Matula & Beck 1983);
  uses at most one colour more than the degeneracy of G;
* incidence degree: repeatedly take a column with most neighbours already ordered (Coleman & More 1983).

Cost: natural O(n), largest first O(nnz), the others O(edges of G) with bucket queues.
Reference: Gebremedhin, Manne, Pothen, SIAM Review 47 (2005), section 7, doi:10.1137/S0036144504444711.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from sparsesolve.coloring._problem import ColumnProblem


def natural(problem: ColumnProblem) -> np.ndarray:
    """0, 1, 2, ..."""
    return np.arange(problem.num_columns)


def largest_first(problem: ColumnProblem) -> np.ndarray:
    """By decreasing number of conflicts, counted with multiplicity (once for each shared row)."""
    return np.argsort(-conflict_counts(problem), kind="stable")


def conflict_counts(problem: ColumnProblem) -> np.ndarray:
    """Conflicts of each column, once for each shared row: an upper bound of its degree, without building G."""
    lengths = np.repeat(problem.row_lengths - 1, problem.row_lengths)
    return np.bincount(problem.row_cols, weights=lengths, minlength=problem.num_columns).astype(np.int64)


def smallest_last(problem: ColumnProblem) -> np.ndarray:
    """Smallest degree last."""
    return np.asarray(_dynamic_order(problem, ascending=True)[::-1])


def incidence_degree(problem: ColumnProblem) -> np.ndarray:
    """Most neighbours already ordered first."""
    return np.asarray(_dynamic_order(problem, ascending=False))


def _dynamic_order(problem: ColumnProblem, *, ascending: bool) -> list[int]:
    """Takes columns one by one from a bucket queue whose keys change when a neighbour is taken.

    Ascending: key = degree among the columns left, smallest taken, keys fall. Otherwise: key = number of neighbours
    taken, largest taken, keys rise. Stale queue entries are skipped when met.
    """
    ptr, adjacent = (array.tolist() for array in problem.conflicts)
    n = problem.num_columns
    key = [b - a for a, b in itertools.pairwise(ptr)] if ascending else [0] * n
    step = -1 if ascending else 1
    buckets: list[list[int]] = [[] for _ in range(max(key, default=0) + 1)]
    for column in range(n - 1, -1, -1):
        buckets[key[column]].append(column)
    taken = [False] * n
    order: list[int] = []
    level = 0
    while len(order) < n:
        while not buckets[level]:
            level -= step
        column = buckets[level].pop()
        if taken[column] or key[column] != level:
            continue
        taken[column] = True
        order.append(column)
        for other in adjacent[ptr[column] : ptr[column + 1]]:
            if not taken[other]:
                key[other] = new = key[other] + step
                if new == len(buckets):
                    buckets.append([])
                buckets[new].append(other)
        level = max(0, level - 1) if ascending else min(level + 1, len(buckets) - 1)
    return order


ORDERS: dict[str, Callable[[ColumnProblem], np.ndarray]] = {
    "natural": natural,
    "largest first": largest_first,
    "smallest last": smallest_last,
    "incidence degree": incidence_degree,
}
