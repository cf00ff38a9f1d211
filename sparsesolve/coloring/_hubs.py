"""Hubs: columns that nearly all rows hold, such as a global parameter. Each takes a colour of its own.

A hub conflicts with almost everything, which hides the regular structure of all other columns from the lattice
search. So hubs are set aside, the rest is coloured, and the hubs take the first colour free in their rows.
"""

from __future__ import annotations

import numpy as np

from sparsesolve.coloring._problem import ColumnProblem

_MAX_HUBS = 32


def find_hubs(problem: ColumnProblem) -> np.ndarray:
    """Columns many times longer than the average; none if they are many."""
    used = max(1, int(np.count_nonzero(problem.column_lengths)))
    longest_usual = max(32.0, 8.0 * problem.nnz / used)
    hubs = np.flatnonzero(problem.column_lengths > longest_usual)
    return hubs if 0 < hubs.size <= _MAX_HUBS else np.zeros(0, np.int64)


def without_columns(problem: ColumnProblem, columns: np.ndarray) -> ColumnProblem:
    """The problem with the entries of some columns dropped."""
    keep = np.ones(problem.num_columns, bool)
    keep[columns] = False
    kept = keep[problem.row_cols]
    before = np.concatenate([[0], np.cumsum(kept)])
    return ColumnProblem(before[problem.row_ptr], problem.row_cols[kept], problem.num_columns, problem.shapes)


def color_hubs(problem: ColumnProblem, colors: np.ndarray, hubs: np.ndarray) -> np.ndarray:
    """Gives each hub the first colour that its rows do not hold; `colors` of all other columns stay."""
    out = colors.astype(np.int32)
    pending = np.zeros(problem.num_columns, bool)
    pending[hubs] = True
    col_ptr, col_rows = problem.by_columns
    for hub in hubs.tolist():
        rows = col_rows[col_ptr[hub] : col_ptr[hub + 1]]
        met = problem.matrix[rows].indices
        taken = np.unique(out[met[~pending[met]]])
        gap = np.flatnonzero(taken != np.arange(taken.size))
        out[hub] = gap[0] if gap.size else taken.size
        pending[hub] = False
    return out
