"""Bidirectional colouring for arrow shapes: a few dense rows are read by VJPs, all other rows by JVPs.

One dense row forces a column colouring to n colours, since all columns meet in it. Reading it by one VJP leaves a
matrix of short rows. Rows longer than a threshold t go to the VJPs; a threshold costs at least

    t + w * (most entries of the dense rows in one column),      w = cost of a VJP in JVPs,

so only thresholds whose bound can win are coloured. The mirror image (dense columns by JVPs, the rest by VJPs) is the
same on the transpose. Cost O(nnz) a threshold, at most 24 of them.
Reference: Coleman & Verma, "The efficient computation of sparse Jacobian matrices using automatic differentiation",
SIAM J. Sci. Comput. 19 (1998), doi:10.1137/S1064827595295349.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from sparsesolve.coloring._base import Coloring
from sparsesolve.coloring._columns import Colored, color_columns
from sparsesolve.coloring._problem import ColumnProblem
from sparsesolve.pattern import SparsityPattern

_MAX_THRESHOLDS = 24
_MAX_COLORED = 4


@dataclasses.dataclass(frozen=True)
class Split:
    """Lines longer than `threshold` are read across; `bound` is the least it can cost, in JVPs."""

    bound: float
    threshold: int
    transposed: bool  # the lines are columns, read by JVPs

    @property
    def key(self) -> tuple[float, bool, int]:
        return (self.bound, self.transposed, -self.threshold)


def candidate_splits(pattern: SparsityPattern, weight: float) -> list[Split]:
    """Thresholds with their bounds, the most promising first."""
    splits = _splits_of_lines(pattern.indptr, pattern.indices, pattern.shape[1], 1.0, weight, False)
    mirrored = pattern.T
    splits += _splits_of_lines(mirrored.indptr, mirrored.indices, mirrored.shape[1], weight, 1.0, True)
    return sorted(splits, key=lambda split: split.key)


def _splits_of_lines(
    ptr: np.ndarray, cross: np.ndarray, num_cross: int, along_cost: float, across_cost: float, transposed: bool
) -> list[Split]:
    """Splits of lines (rows, or columns of the transpose), a colour of the short ones costing `along_cost`."""
    lengths = np.diff(ptr)
    values = np.unique(lengths)[::-1]
    if values.size > _MAX_THRESHOLDS:
        picked = np.unique(np.geomspace(1, values.size, _MAX_THRESHOLDS).astype(int)) - 1
        values = values[picked]
    longest = int(lengths.max(initial=0))
    splits = [Split(along_cost * longest, longest, transposed)]
    best = splits[0].bound
    line_of = np.repeat(lengths, lengths)
    for threshold in values.tolist():
        if threshold == longest or along_cost * threshold + across_cost >= best:
            continue
        across = int(np.bincount(cross[line_of > threshold], minlength=max(1, num_cross)).max())
        splits.append(Split(along_cost * threshold + across_cost * across, int(threshold), transposed))
        best = min(best, splits[-1].bound)
    return splits


def bidirectional_coloring(pattern: SparsityPattern, weight: float) -> Coloring:
    """The cheapest split found."""
    best: Coloring | None = None
    cost = math.inf
    # A JVP reads at most one entry of each row, a VJP one of each column.
    bound = -(-pattern.nnz // max(1, *pattern.shape))
    splits = candidate_splits(pattern, weight)
    for split in splits[:_MAX_COLORED]:
        if split.bound >= cost:
            break
        columns, rows = _color_split(pattern, split)
        if columns.num_colors + weight * rows.num_colors < cost:
            cost = columns.num_colors + weight * rows.num_colors
            method = f"columns {columns.method}, rows {rows.method}"
            best = Coloring("bidirectional", columns.colors, rows.colors, bound, method)
    assert best is not None
    return best


def _color_split(pattern: SparsityPattern, split: Split) -> tuple[Colored, Colored]:
    """Column colours and row colours of one split; lines that no product needs have colour -1."""
    lines = pattern.T if split.transposed else pattern
    lengths = np.diff(lines.indptr)
    short, dense = np.flatnonzero(lengths <= split.threshold), np.flatnonzero(lengths > split.threshold)
    along = color_columns(ColumnProblem.of_columns(lines).restricted(short)) if dense.size < lengths.size else None
    shared = ColumnProblem.of_columns(lines).restricted(dense)
    across = _color_lines(shared, dense, lengths.size)
    if along is None:
        along = Colored(np.full(lines.shape[1], -1, np.int32), "none")
    return (across, along) if split.transposed else (along, across)


def _color_lines(shared: ColumnProblem, dense: np.ndarray, num_lines: int) -> Colored:
    """Colours of the dense lines: two may share one when they meet nowhere."""
    colors = np.full(num_lines, -1, np.int32)
    if dense.size == 0:
        return Colored(colors, "none")
    mirrored = shared.matrix.T.tocsr()
    found = color_columns(ColumnProblem(mirrored.indptr, mirrored.indices, dense.size))
    colors[dense] = found.colors
    return Colored(colors, found.method)
