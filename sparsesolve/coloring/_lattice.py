"""Lattice colouring: on grids the colour of a column is the coset of its grid point in a sublattice of index m.

With several fields on the grid, field f is shifted by a coset t_f:

    colour(f, x) = coset(x + t_f),   valid when   coset(x_b - x_a + t_g - t_f) != 0

for every two columns (f, x_a), (g, x_b) of a row. The differences are read off a sample of rows, all sublattices
of the index are tested against them at once, shifts are found by backtracking, and the result is checked on every
row; rows that clash (boundaries, periodic wraps) are added to the sample and the search goes on. Reaches the lower
bound on the usual stencils, where greedy orders need up to twice as many. Where a grid has a few odd rows (a jittered
mesh), the differences of the many decide and the clashing columns take further colours. Cost: O(nnz) for each check.
"""

from __future__ import annotations

import numpy as np

from sparsesolve.coloring._grid import Grid, sample_rows
from sparsesolve.coloring._hubs import color_hubs
from sparsesolve.coloring._partial import PartialColoring
from sparsesolve.coloring._problem import ColumnProblem
from sparsesolve.coloring._sublattice import coset, count_sublattices, sublattices

# Rows of a stencil are short, and few differences of grid points occur; more mean that there is no grid.
_MAX_ROW = 128
_MAX_SUBLATTICES = 20_000
_MAX_CHECKS = 12
_MAX_SHIFTS_TRIED = 4000
_FREQUENT = 0.05
_MAX_DOUBLED = 1000


class LatticeSearch:
    """The search on one grid: the differences of grid points that are known to meet in a row.

    `table` holds `(field_a, field_b, *offset)`, one of each pair. `possible` turns false when the rows are too long or
    too irregular for a stencil on this grid.
    """

    def __init__(self, problem: ColumnProblem, grid: Grid):
        self._problem = problem
        self._grid = grid
        self.table = np.zeros((0, grid.dimension + 2), np.int64)
        self.possible = problem.lower_bound <= _MAX_ROW
        rows = sample_rows(problem, 256)
        counts = self._add_rows(rows)
        self._frequent = self.table[counts >= _FREQUENT * rows.size]

    def _add_rows(self, rows: np.ndarray) -> np.ndarray:
        """Takes the differences of more rows into the table; returns how often each was met in them."""
        tables = [self.table]
        for row in rows.tolist() if self.possible else []:
            columns = self._problem.row_cols[self._problem.row_ptr[row] : self._problem.row_ptr[row + 1]]
            field, point = self._grid.locate(columns)
            first, second = np.triu_indices(columns.size, 1)
            tables.append(np.column_stack([field[first], field[second], point[second] - point[first]]))
        self.table, counts = np.unique(np.concatenate(tables), axis=0, return_counts=True)
        # A stencil of w points has w (w - 1) / 2 differences; fields may have different ones, wraps and boundaries add.
        most = 64 + 2 * len(self._grid.shapes) * self._problem.lower_bound**2
        self.possible = self.possible and len(self.table) <= most
        return counts

    def find(self, index: int) -> np.ndarray | None:
        """A lattice colouring with `index` colours, int32 `(n,)`, valid on every row; `None` if none was found."""
        if count_sublattices(self._grid.dimension, index) > _MAX_SUBLATTICES:
            return None
        for _ in range(_MAX_CHECKS):
            found = _search(self.table, self._grid, index) if self.possible else None
            if found is None:
                return None
            colors = _paint(self._grid, *found)
            clashes = self._problem.clashing_rows(colors)
            if clashes.size == 0:
                return colors
            self._add_rows(clashes[:: max(1, clashes.size // 64)])
        return None

    def find_nearly(self, num_colors: range) -> np.ndarray | None:
        """A valid colouring that is a lattice colouring but for a few columns; `None` if there is none nearby."""
        for index in num_colors:
            if len(self._frequent) == 0 or count_sublattices(self._grid.dimension, index) > _MAX_SUBLATTICES:
                return None
            found = _search(self._frequent, self._grid, index)
            if found is not None:
                colors = _paint(self._grid, *found)
                doubled = _doubled_columns(self._problem, colors)
                if doubled.size <= _MAX_DOUBLED:
                    return _with_one_more(self._problem, colors, doubled, index + 1)
        return None


def _with_one_more(problem: ColumnProblem, colors: np.ndarray, doubled: np.ndarray, num_colors: int) -> np.ndarray:
    """Gives the doubled columns one colour more between them, by a short tabu search; or the first free colours."""
    partial = colors.copy()
    partial[doubled] = -1
    search = PartialColoring(problem, partial, num_colors)
    if search.complete(20 * doubled.size + 200):
        return np.asarray(search.colors, np.int32)
    return color_hubs(problem, colors, doubled)


def _doubled_columns(problem: ColumnProblem, colors: np.ndarray) -> np.ndarray:
    """Columns without which the colouring is valid: in each clashing row, all but one of each colour."""
    doubled: set[int] = set()
    for row in problem.clashing_rows(colors)[: _MAX_DOUBLED + 1].tolist():
        columns = problem.row_cols[problem.row_ptr[row] : problem.row_ptr[row + 1]]
        first = np.unique(colors[columns], return_index=True)[1]
        doubled.update(np.delete(columns, first).tolist())
    return np.asarray(sorted(doubled), np.int64)


def _search(table: np.ndarray, grid: Grid, index: int) -> tuple[np.ndarray, list[np.ndarray]] | None:
    """A form and the shift of each field (as coordinates) that separate all differences in the table."""
    forms = sublattices(grid.dimension, index)
    own = np.unique(table[table[:, 0] == table[:, 1], 2:], axis=0)
    if len(own):
        cosets = coset(forms, [own[None, :, k] for k in range(grid.dimension)])
        forms = forms[np.all(cosets != 0, axis=1)]
    cross = table[table[:, 0] != table[:, 1]]
    tried = [_MAX_SHIFTS_TRIED]
    for form in forms:
        shifts = _field_shifts(form, cross, len(grid.shapes), index, tried)
        if shifts is not None:
            points = _coset_points(form)
            return form, [points[s] for s in shifts]
        if tried[0] <= 0:
            return None
    return None


def _coset_points(form: np.ndarray) -> np.ndarray:
    """A grid point in each coset, in the order of coset numbers, `(m, d)`."""
    sizes = np.diagonal(form)
    return np.stack(np.unravel_index(np.arange(int(np.prod(sizes))), tuple(int(s) for s in sizes)), axis=1)


def _field_shifts(
    form: np.ndarray, cross: np.ndarray, num_fields: int, index: int, tried: list[int]
) -> list[int] | None:
    """A coset for each field by backtracking, the first field at 0; `tried` is a budget shared by all forms."""
    if num_fields == 1:
        return [0]
    points = _coset_points(form)
    # allowed[f][g][s, t]: may field f have shift s while field g has shift t?
    allowed: dict[tuple[int, int], np.ndarray] = {}
    between = (points[None, :, :] - points[:, None, :]).reshape(-1, points.shape[1])
    for f, g in np.unique(cross[:, :2], axis=0).tolist():
        offsets = cross[(cross[:, 0] == f) & (cross[:, 1] == g), 2:]
        moved = [between[:, None, k] + offsets[None, :, k] for k in range(points.shape[1])]
        free = np.all(coset(form, moved) != 0, axis=1).reshape(index, index)
        allowed[f, g] = allowed.get((f, g), True) & free
        allowed[g, f] = allowed.get((g, f), True) & free.T
    shifts = [0]

    def extend() -> bool:
        if len(shifts) == num_fields:
            return True
        candidates = np.ones(index, bool)
        for f, shift in enumerate(shifts):
            table = allowed.get((f, len(shifts)))
            if table is not None:
                candidates &= table[shift]
        for shift in np.flatnonzero(candidates).tolist():
            tried[0] -= 1
            shifts.append(shift)
            if tried[0] > 0 and extend():
                return True
            shifts.pop()
        return False

    return shifts if extend() else None


def _paint(grid: Grid, form: np.ndarray, shifts: list[np.ndarray]) -> np.ndarray:
    """The colour of every column."""
    pieces = []
    for shape, shift in zip(grid.shapes, shifts, strict=True):
        axes = [np.arange(size, dtype=np.int64) + start for size, start in zip(shape, shift, strict=True)]
        points = [axis.reshape((-1,) + (1,) * (len(shape) - k - 1)) for k, axis in enumerate(axes)]
        pieces.append(np.broadcast_to(coset(form, points), shape).ravel())
    return np.concatenate(pieces).astype(np.int32)
