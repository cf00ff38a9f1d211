"""`color` and `best_coloring`: which columns (or rows) one product can read at once. Host-side, part of the plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np

from sparsesolve.coloring._base import Coloring, Partition
from sparsesolve.coloring._bidirectional import bidirectional_coloring, candidate_splits
from sparsesolve.coloring._columns import color_columns
from sparsesolve.coloring._problem import ColumnProblem
from sparsesolve.coloring._star import symmetric_coloring
from sparsesolve.pattern import SparsityPattern

# A VJP costs one and a half to two times a JVP (Griewank & Walther, "Evaluating Derivatives" (2008), chapters 3, 4).
VJP_WEIGHT = 1.5
_WORTH_TRYING = 0.8


def color(
    pattern: SparsityPattern,
    partition: Partition = "column",
    *,
    order: str | Sequence[int] | np.ndarray | None = None,
) -> Coloring:
    """Colours a pattern so that all its entries can be read from few products.

    | partition | condition on one colour | reads | use |
    |---|---|---|---|
    | `"column"` | no two columns meet in a row | `J S` by JVPs | most Jacobians |
    | `"row"` | no two rows meet in a column | `S^T J` by VJPs | few outputs, or a dense column |
    | `"symmetric"` | star colouring: every path on four vertices has three colours | `H S` | Hessians |
    | `"bidirectional"` | dense rows by VJPs, the others by JVPs | both | arrow shapes |

    Args:
        pattern: the entries.
        partition: what to colour, see the table.
        order: a greedy order by name ("natural", "largest first", "smallest last", "incidence degree") or as a
            permutation of the columns (of the rows for `"row"`). By default the best of a lattice search and
            several orders.

    Returns:
        A `Coloring`; valid in the sense of `check_coloring`.

    Raises:
        ValueError: for an unknown partition or order, or an unsymmetric pattern with `"symmetric"`.

    Example:
        >>> import numpy as np
        >>> from sparsesolve.coloring import color
        >>> from sparsesolve.pattern import SparsityPattern
        >>> tridiagonal = SparsityPattern.from_dense(np.tri(9, k=1) * np.tri(9, k=1).T)
        >>> color(tridiagonal)
        Coloring(column, 3 colors, lower bound 3, lattice)
    """
    if partition == "column":
        problem = ColumnProblem.of_columns(pattern)
        found = color_columns(problem, order)
        return Coloring("column", found.colors, None, problem.lower_bound, found.method)
    if partition == "row":
        problem = ColumnProblem.of_rows(pattern)
        found = color_columns(problem, order)
        return Coloring("row", None, found.colors, problem.lower_bound, found.method)
    if partition == "symmetric":
        return symmetric_coloring(pattern, order)
    if partition == "bidirectional":
        if order is not None:
            raise ValueError("A bidirectional colouring chooses its own orders; leave out `order`.")
        return bidirectional_coloring(pattern, VJP_WEIGHT)
    raise ValueError(f"There is no partition {partition!r}; choose one of {', '.join(get_args(Partition))}.")


def coloring_cost(coloring: Coloring) -> float:
    """What one evaluation costs, in JVPs: a VJP counts for 1.5."""
    return coloring.num_column_colors + VJP_WEIGHT * coloring.num_row_colors


def best_coloring(pattern: SparsityPattern) -> Coloring:
    """The cheapest of column, row and bidirectional colouring for a Jacobian, a VJP counted as 1.5 JVPs.

    The three are tried in the order of their lower bounds, and only while a bound promises a gain of a fifth over
    the best so far: the colouring is paid too.
    """
    lines = [np.diff(pattern.indptr), np.bincount(pattern.indices, minlength=1)]
    longest_row, longest_column = (int(lengths.max(initial=0)) for lengths in lines)
    splits = candidate_splits(pattern, VJP_WEIGHT)
    bounds: dict[Partition, float] = {"column": longest_row, "row": VJP_WEIGHT * longest_column}
    if splits:
        bounds["bidirectional"] = splits[0].bound
    best: Coloring | None = None
    for partition, bound in sorted(bounds.items(), key=lambda item: item[1]):
        if best is None or bound < _WORTH_TRYING * coloring_cost(best):
            found = color(pattern, partition)
            best = found if best is None or coloring_cost(found) < coloring_cost(best) else best
    assert best is not None
    return best
