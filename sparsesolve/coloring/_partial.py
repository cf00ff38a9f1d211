"""Tabu search on partial colourings: tries to do with one colour fewer, until that fails or the bound is reached.

The columns of the rarest colour lose it. An uncoloured column takes the colour that evicts fewest others; the evicted
may not return to that colour for a while. When nothing is uncoloured, the colouring has one colour less. A table
`owner[row, colour]` holds the column that has this colour in this row, so a move looks at one small block of it.
Reaches the bound, or one above, on meshes where greedy orders stop two or three above. Cost: about 15 us a move,
memory `m * colours * 4` bytes.
Reference: Bloechliger & Zufferey, "A graph coloring heuristic using partial solutions and a reactive tabu scheme",
Computers & Operations Research 35 (2008), doi:10.1016/j.cor.2006.05.014.
"""

from __future__ import annotations

import numpy as np

from sparsesolve.coloring._problem import ColumnProblem

_MAX_TABLE = 20_000_000
_MAX_COLORS = 64


def fewer_colors(problem: ColumnProblem, colors: np.ndarray, bound: int, max_moves: int = 30_000) -> np.ndarray:
    """A valid colouring with at most as many colours; the same one if nothing better was found."""
    best = colors
    num_colors = int(best.max(initial=-1)) + 1
    while bound < num_colors <= _MAX_COLORS and num_colors * problem.num_rows <= _MAX_TABLE:
        search = PartialColoring(problem, _drop_rarest(problem, best, num_colors), num_colors - 1)
        if not search.complete(max_moves):
            break
        best = np.asarray(search.colors, np.int32)
        num_colors -= 1
    return best


def _drop_rarest(problem: ColumnProblem, colors: np.ndarray, num_colors: int) -> np.ndarray:
    """The colouring with the smallest class uncoloured (-1) and the last class in its place."""
    used = problem.column_lengths > 0
    rarest = int(np.argmin(np.bincount(colors[used], minlength=num_colors)))
    out = np.where(used, colors, 0)
    out[used & (colors == rarest)] = -1
    out[used & (colors == num_colors - 1) & (colors != rarest)] = rarest
    return out


class PartialColoring:
    """A valid colouring of some of the columns, and the moves that complete it."""

    def __init__(self, problem: ColumnProblem, colors: np.ndarray, num_colors: int):
        self._ptr, self._col_rows = problem.by_columns
        self.colors = colors.tolist()
        self.owner = np.full((problem.num_rows, num_colors), -1, np.int32)
        entry_rows = np.repeat(np.arange(problem.num_rows), problem.row_lengths)
        entry_colors = colors[problem.row_cols]
        held = entry_colors >= 0
        self.owner[entry_rows[held], entry_colors[held]] = problem.row_cols[held]
        self.uncolored = np.flatnonzero(colors < 0).tolist()
        self.tabu: dict[tuple[int, int], int] = {}
        self._rng = np.random.default_rng(0)

    def _rows(self, column: int) -> np.ndarray:
        return self._col_rows[self._ptr[column] : self._ptr[column + 1]]

    def complete(self, max_moves: int) -> bool:
        """Moves until every column has a colour; false when the moves are used up."""
        noise = self._rng.random((max_moves, self.owner.shape[1])) * 0.5
        picks = self._rng.random(max_moves)
        for move in range(max_moves):
            if not self.uncolored:
                return True
            self._move(move, int(picks[move] * len(self.uncolored)), noise[move])
        return not self.uncolored

    def _move(self, now: int, pick: int, noise: np.ndarray) -> None:
        """Colours one uncoloured column where it evicts fewest, ties broken by noise."""
        self.uncolored[pick], self.uncolored[-1] = self.uncolored[-1], self.uncolored[pick]
        column = self.uncolored.pop()
        rows = self._rows(column)
        block = self.owner[rows]
        evictions = (block >= 0).sum(axis=0)
        preference = np.argsort(evictions + noise)
        color = next((c for c in preference.tolist() if self.tabu.get((column, c), -1) < now), int(preference[0]))
        for other in set(block[:, color].tolist()) - {-1}:
            self.owner[self._rows(other), color] = -1
            self.colors[other] = -1
            self.uncolored.append(other)
            # Tenure of the paper's FOO scheme: longer while much is uncoloured.
            self.tabu[other, color] = now + 5 + int(0.6 * len(self.uncolored))
        self.owner[rows, color] = column
        self.colors[column] = color
