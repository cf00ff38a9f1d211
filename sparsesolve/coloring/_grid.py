"""Where the columns lie on a grid: from the shapes of the unknowns' leaves, or guessed from the pattern's diagonals."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from sparsesolve.coloring._problem import ColumnProblem


@dataclasses.dataclass(frozen=True)
class Grid:
    """Columns as points of a few grids ("fields") of the same dimension, enumerated in C order one after another."""

    shapes: tuple[tuple[int, ...], ...]

    @property
    def dimension(self) -> int:
        return len(self.shapes[0])

    @property
    def starts(self) -> np.ndarray:
        """First column of each field, and the end."""
        return np.cumsum([0] + [math.prod(shape) for shape in self.shapes])

    def locate(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Field `(k,)` and coordinates `(k, d)` of columns."""
        starts = self.starts
        field = np.searchsorted(starts, columns, side="right") - 1
        local = columns - starts[field]
        shapes = np.asarray(self.shapes, np.int64)[field]
        points = np.empty((columns.size, self.dimension), np.int64)
        for axis in range(self.dimension - 1, -1, -1):
            local, points[:, axis] = np.divmod(local, np.maximum(shapes[:, axis], 1))
        return field, points


def candidate_grids(problem: ColumnProblem) -> list[Grid]:
    """Grids worth trying, the likeliest first: the leaves' own shapes, then strides read off the diagonals."""
    grids: list[Grid] = []
    if problem.shapes:
        dimension = max(1, *(len(shape) for shape in problem.shapes))
        shapes = tuple((1,) * (dimension - len(shape)) + tuple(shape) for shape in problem.shapes)
        grids.append(Grid(tuple(shape for shape in shapes if math.prod(shape))))
    grids.extend(_grids_from_diagonals(problem))
    unique = dict.fromkeys(grid for grid in grids if grid.shapes and grid.dimension <= 5)
    return list(unique)


def _grids_from_diagonals(problem: ColumnProblem, most: int = 5) -> list[Grid]:
    """Guesses strides: on a grid with lines of length s, many pairs of columns of a row differ by s, and s divides n.

    Gaps between columns of a row are used, so that it does not matter how the rows are numbered. The true strides
    are the most frequent gaps; twice a stride, which divides n too, is met in fewer pairs.
    """
    n = problem.num_columns
    if n == 0 or problem.nnz == 0:
        return []
    rows = sample_rows(problem, 256)
    gaps: dict[int, int] = {}
    for row in rows.tolist():
        columns = problem.row_cols[problem.row_ptr[row] : problem.row_ptr[row + 1]].astype(np.int64)
        if columns.size > 64:
            continue
        first, second = np.triu_indices(columns.size, 1)
        for gap, count in zip(*np.unique(columns[second] - columns[first], return_counts=True), strict=True):
            gaps[int(gap)] = gaps.get(int(gap), 0) + int(count)
    strides = {gap: count for gap, count in gaps.items() if gap > 1 and n % gap == 0 and count * 4 >= rows.size}
    chains = _divisor_chains(sorted(strides))
    chains.sort(key=lambda chain: (-sum(strides[s] for s in chain) / len(chain), -len(chain)))
    return [*(Grid((_shape_of_strides(chain, n),)) for chain in chains[:most]), Grid(((n,),))]


def _divisor_chains(strides: list[int]) -> list[tuple[int, ...]]:
    """Chains of at most three strides in which every one divides the next."""
    chains: list[tuple[int, ...]] = []
    for stride in strides[:16]:
        chains += [(*chain, stride) for chain in chains if stride % chain[-1] == 0 and len(chain) < 3]
        chains.append((stride,))
    return chains


def _shape_of_strides(chain: tuple[int, ...], n: int) -> tuple[int, ...]:
    steps = (1, *chain, n)
    return tuple(large // small for small, large in zip(steps[-2::-1], steps[:0:-1], strict=True))


def sample_rows(problem: ColumnProblem, count: int) -> np.ndarray:
    """Rows spread evenly, the first and last ones among them; the same ones every time."""
    m = problem.num_rows
    if m <= count:
        return np.arange(m)
    edge = count // 8
    middle = np.random.default_rng(0).choice(m, count - 2 * edge, replace=False)
    return np.unique(np.concatenate([np.arange(edge), middle, np.arange(m - edge, m)]))
