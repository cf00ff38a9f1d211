"""Iterated greedy recolouring: greedy again, class by class. Never needs more colours, often fewer.

When the columns are visited colour class by colour class, in any order of the classes, the greedy colouring uses at
most as many colours as before. Columns of one class meet in no row, so a whole class is coloured at once with NumPy:
the colours a row has seen are bits of machine words, a class takes the smallest colour free in all its rows. Cost
O(nnz) a pass, about 30 ns an entry, instead of 200 ns for a sequential pass.
Reference: Culberson, "Iterated greedy graph coloring and the difficulty landscape" (1992), TR 92-07, U. of Alberta.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sparsesolve.coloring._problem import ColumnProblem

_ENTRIES_BUDGET = 60_000_000
_MAX_PASSES = 60
_MAX_IDLE_PASSES = 12


def iterated_recoloring(problem: ColumnProblem, colors: np.ndarray, bound: int) -> np.ndarray:
    """Passes over the classes in changing orders (reversed, random, largest first) while they help.

    Stops at the bound, at a budget of entries visited, or after some passes without a gain.
    """
    best, idle = colors, 0
    num_colors = int(best.max(initial=-1)) + 1
    words = -(-num_colors // 64)
    passes = min(_MAX_PASSES, _ENTRIES_BUDGET // max(1, problem.nnz * words))
    for class_order in _class_orders(passes):
        if num_colors <= bound or idle >= _MAX_IDLE_PASSES:
            break
        best = recolor_classes(problem, best, class_order(np.bincount(best, minlength=num_colors)))
        before, num_colors = num_colors, int(best.max(initial=-1)) + 1
        idle = idle + 1 if num_colors == before else 0
    return best


def _class_orders(passes: int) -> Iterator:
    rng = np.random.default_rng(0)
    recipes = (
        lambda sizes: np.arange(sizes.size)[::-1],
        lambda sizes: rng.permutation(sizes.size),
        lambda sizes: np.argsort(-sizes, kind="stable"),
        lambda sizes: np.roll(np.arange(sizes.size)[::-1], 1),
    )
    return (recipes[k % len(recipes)] for k in range(passes))


def recolor_classes(problem: ColumnProblem, colors: np.ndarray, class_order: np.ndarray) -> np.ndarray:
    """One greedy pass that visits the classes of a valid colouring in the given order."""
    col_ptr, col_rows = problem.by_columns
    lengths = np.diff(col_ptr)
    rank = np.empty(class_order.size, np.int64)
    rank[class_order] = np.arange(class_order.size)
    filled = np.flatnonzero(lengths)
    columns = filled[np.argsort(rank[colors[filled]], kind="stable")]
    counts = lengths[columns]
    starts = np.concatenate([[0], np.cumsum(counts)])
    entry = np.arange(starts[-1]) + np.repeat(col_ptr[columns] - starts[:-1], counts)
    rows = col_rows[entry]
    stops = np.searchsorted(rank[colors[columns]], np.arange(class_order.size), side="right")
    words = -(-class_order.size // 64)
    seen = np.zeros((problem.num_rows, words), np.uint64)
    out = np.zeros(problem.num_columns, np.int32)
    begin = 0
    for end in stops.tolist():
        if end > begin:
            here = rows[starts[begin] : starts[end]]
            forbidden = np.bitwise_or.reduceat(seen[here], starts[begin:end] - starts[begin], axis=0)
            word, bit = _first_free(forbidden)
            out[columns[begin:end]] = 64 * word + np.bitwise_count(bit - np.uint64(1))
            # Each row meets at most one column of the class, so plain assignment loses nothing.
            seen[here, np.repeat(word, counts[begin:end])] |= np.repeat(bit, counts[begin:end])
        begin = end
    return out


def _first_free(forbidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Word number and bit of the smallest colour not in each set."""
    word = np.argmax(forbidden != np.uint64(0xFFFFFFFFFFFFFFFF), axis=1)
    value = forbidden[np.arange(word.size), word]
    return word, ~value & (value + np.uint64(1))
