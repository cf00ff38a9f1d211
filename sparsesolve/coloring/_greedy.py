"""Sequential greedy colouring: each column gets the first colour that no row of it has seen.

The set of colours a row has seen is one Python integer used as a bit set, so a column costs one `or` per entry and
the whole pass O(nnz) such operations, independent of how many columns meet in a row. About 1 us a column.
Reference: Gebremedhin, Manne, Pothen, "What color is your Jacobian?", SIAM Review 47 (2005), algorithm 3.2,
doi:10.1137/S0036144504444711.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sparsesolve.coloring._problem import ColumnProblem


def greedy_coloring(problem: ColumnProblem, order: Iterable[int] | np.ndarray, colors: np.ndarray | None = None):
    """Colours the columns in the given order, each with the smallest colour possible.

    Args:
        problem: the columns and rows.
        order: the columns to colour.
        colors: colours already given (-1 for none), which stay.

    Returns:
        int32 `(n,)`; -1 for columns neither in `order` nor coloured before.
    """
    col_ptr, col_rows = (array.tolist() for array in problem.by_columns)
    out = [-1] * problem.num_columns if colors is None else colors.tolist()
    seen = [0] * problem.num_rows
    if colors is not None:
        for column in np.flatnonzero(colors >= 0).tolist():
            for row in col_rows[col_ptr[column] : col_ptr[column + 1]]:
                seen[row] |= 1 << out[column]
    for column in order.tolist() if isinstance(order, np.ndarray) else order:
        rows = col_rows[col_ptr[column] : col_ptr[column + 1]]
        forbidden = 0
        for row in rows:
            forbidden |= seen[row]
        bit = ~forbidden & (forbidden + 1)
        out[column] = bit.bit_length() - 1
        for row in rows:
            seen[row] |= bit
    return np.asarray(out, np.int32)
