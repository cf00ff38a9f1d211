"""`check_coloring`: is every entry of the matrix readable from the coloured products? With a witness if not."""

from __future__ import annotations

import numpy as np

from sparsesolve.coloring._base import Coloring
from sparsesolve.pattern import SparsityPattern


def check_coloring(pattern: SparsityPattern, coloring: Coloring) -> None:
    """Checks that a colouring determines every entry of a pattern directly, by one number of one product.

    Column colouring: no two columns of one colour meet in a row. Row colouring: the same for rows and columns.
    Symmetric: every entry `(i, j)` is the only one of its colour in row i, or its mirror image is in row j.
    Bidirectional: every entry is read by a product of its column's colour or of its row's colour.

    Args:
        pattern: the entries.
        coloring: the colouring to check.

    Raises:
        ValueError: with a witness, e.g. "in colour 3, columns 5 and 9 both have a nonzero in row 17".

    Example:
        >>> import numpy as np
        >>> from sparsesolve.coloring import check_coloring, color
        >>> from sparsesolve.pattern import SparsityPattern
        >>> pattern = SparsityPattern.from_dense(np.eye(3))
        >>> check_coloring(pattern, color(pattern))
    """
    m, n = pattern.shape
    columns = _checked_colors(coloring.column_colors, n, "column")
    rows = _checked_colors(coloring.row_colors, m, "row")
    if columns is None and rows is None:
        raise ValueError(f"A colouring of a pattern of shape {pattern.shape} needs column or row colours; it has none.")
    readable = np.zeros(pattern.nnz, bool)
    if columns is not None:
        readable |= _alone(pattern.rows, columns[pattern.indices])
        if coloring.partition == "symmetric":
            readable |= _alone(pattern.indices, columns[pattern.rows])
    if rows is not None:
        readable |= _alone(pattern.indices, rows[pattern.rows])
    missed = np.flatnonzero(~readable)
    if missed.size:
        raise ValueError(_witness(pattern, columns, rows, int(missed[0]), missed.size))


def _checked_colors(colors: np.ndarray | None, size: int, side: str) -> np.ndarray | None:
    if colors is not None and colors.shape != (size,):
        raise ValueError(
            f"The colouring has {side} colours of shape {colors.shape} for a pattern with {size} {side}s; it belongs "
            "to another pattern."
        )
    return colors


def _alone(line: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """For each entry: is it the only one of its colour in its line (row or column), and coloured at all?"""
    count = int(colors.max(initial=-1)) + 1
    keys = line.astype(np.int64) * (count + 1) + colors + 1
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    same = ranked[1:] == ranked[:-1]
    clash = np.zeros(keys.size, bool)
    clash[order[1:][same]] = True
    clash[order[:-1][same]] = True
    return ~clash & (colors >= 0)


def _witness(
    pattern: SparsityPattern, columns: np.ndarray | None, rows: np.ndarray | None, entry: int, missed: int
) -> str:
    """One sentence on why entry number `entry` cannot be read."""
    i, j = int(pattern.rows[entry]), int(pattern.indices[entry])
    reasons = []
    if columns is not None:
        meeting = pattern.indices[pattern.indptr[i] : pattern.indptr[i + 1]]
        reasons.append(_reason("column", j, columns, meeting, "row", i))
    if rows is not None:
        meeting = pattern.T.indices[pattern.T.indptr[j] : pattern.T.indptr[j + 1]]
        reasons.append(_reason("row", i, rows, meeting, "column", j))
    more = f"; {missed - 1} more entries cannot be read either" if missed > 1 else ""
    return f"Entry ({i}, {j}) cannot be read: {' and '.join(reasons)}{more}."


def _reason(side: str, own: int, colors: np.ndarray, meeting: np.ndarray, line: str, where: int) -> str:
    color = int(colors[own])
    if color < 0:
        return f"{side} {own} has no colour"
    other = int(meeting[(colors[meeting] == color) & (meeting != own)][0])
    first, second = sorted((own, other))
    return f"in colour {color}, {side}s {first} and {second} both have a nonzero in {line} {where}"
