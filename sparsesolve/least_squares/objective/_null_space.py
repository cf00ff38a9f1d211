"""A sparse basis of the null space of a sparse matrix, by elimination. Host-side.

Gauss-Jordan elimination brings `A` (p x n, of full rank) to `A_B^-1 A = [I W]` with the columns `B` first, and

    Z = [-W; I]

has `A Z = 0`. Pivots are chosen as Markowitz did: the row with fewest entries, in it the column with fewest among the
entries that are a tenth of the largest or more. Afterwards basic and other columns are exchanged until no entry of `W`
exceeds ten in size, after which `Z` is conditioned well whatever the elimination met on its way.

References: H. M. Markowitz, Manag. Sci. 3 (1957) 255-269, doi:10.1287/mnsc.3.3.255. A. Bjorck, Numerical Methods for
Least Squares Problems, SIAM 1996, section 5.1 (direct elimination). D. E. Knuth, Semi-optimal bases for linear
dependencies, Linear Multilinear Algebra 17 (1985) 1-4, doi:10.1080/03081088508817636 (exchanges).
Cost: what the sparse elimination fills in; a matrix of local constraints costs a few operations an entry.
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

CSR = Any  # a scipy.sparse.csr_matrix

_THRESHOLD = 0.1  # of the largest entry of a row, for pivots
_LARGEST = 10.0  # entries of W
_ZERO = 1e-12  # of a row that was scaled to 1: rounding errors
_MOST = 5_000_000  # entries of W


class FilledError(Exception):
    """The basis has too many entries."""


class NullSpace(NamedTuple):
    """`Z` by its parts: unknown `basic[i]` moves by `weights[i] @ u`, unknown `free[j]` by `u[j]`."""

    basic: np.ndarray
    free: np.ndarray
    weights: CSR

    def basis(self) -> CSR:
        """`Z`, shape `(n, n - p)`."""
        p, k = self.weights.shape
        order = np.argsort(np.concatenate([self.basic, self.free]))
        whole = scipy.sparse.vstack([self.weights, scipy.sparse.identity(k, format="csr")]) if p else None
        return scipy.sparse.identity(k, format="csr") if whole is None else whole.tocsr()[order]


def null_space(matrix: CSR) -> tuple[NullSpace | None, int]:
    """The null space of `matrix`, and its rank; `None` where that is less than the number of its rows.

    Raises:
        FilledError: the basis would have too many entries.
    """
    p, n = matrix.shape
    tableau = _Tableau(matrix)
    rank = tableau.eliminate()
    if rank < p:
        return None, rank
    tableau.exchange()
    basic = np.array(tableau.pivots, dtype=np.int64)
    free = np.setdiff1d(np.arange(n), basic)
    place = np.zeros(n, np.int64)
    place[free] = np.arange(free.size)
    entries = [(i, c, -v) for i, row in enumerate(tableau.rows) for c, v in row.items() if c != tableau.pivots[i]]
    i, c, v = (np.array(part) for part in zip(*entries, strict=True)) if entries else (np.zeros(0, int),) * 3
    weights = scipy.sparse.csr_matrix((v.astype(float), (i, place[c.astype(int)])), (p, n - p))
    return NullSpace(basic, free, weights), rank


def independent_rows(matrix: CSR) -> np.ndarray:
    """Rows of which none follows from the others."""
    tableau = _Tableau(matrix)
    tableau.eliminate()
    return np.flatnonzero(np.array(tableau.pivots, dtype=int) >= 0)


class _Tableau:
    """Rows of `A_B^-1 A` as dictionaries, and which rows have an entry in a column."""

    def __init__(self, matrix: CSR):
        self.rows: list[dict[int, float]] = []
        self.columns: dict[int, set[int]] = {}
        self.entries = 0
        for i in range(matrix.shape[0]):
            part = slice(matrix.indptr[i], matrix.indptr[i + 1])
            values = matrix.data[part]
            largest = np.abs(values).max(initial=0.0)
            row = {int(c): float(v / largest) for c, v in zip(matrix.indices[part], values, strict=True) if v != 0}
            self.rows.append(row)
            self.entries += len(row)
            for c in row:
                self.columns.setdefault(c, set()).add(i)
        self.pivots = [-1] * len(self.rows)

    def eliminate(self) -> int:
        """Makes a pivot of each row, short ones first; the rank."""
        waiting = [(len(row), i) for i, row in enumerate(self.rows)]
        heapq.heapify(waiting)
        rank = 0
        while waiting:
            length, i = heapq.heappop(waiting)
            row = self.rows[i]
            if length != len(row):
                heapq.heappush(waiting, (len(row), i))
                continue
            largest = max(map(abs, row.values()), default=0.0)
            if largest <= _ZERO:
                continue
            usable = [c for c, v in row.items() if abs(v) >= _THRESHOLD * largest]
            self.pivot(i, min(usable, key=lambda c: (len(self.columns[c]), -abs(row[c]), c)))
            rank += 1
        return rank

    def exchange(self) -> None:
        """Exchanges basic columns for others with larger entries. The determinant of `A_B` grows tenfold each time."""
        waiting = list(range(len(self.rows)))
        while waiting:
            i = waiting.pop()
            c = max(self.rows[i], key=lambda c: abs(self.rows[i][c]))
            if abs(self.rows[i][c]) > _LARGEST:
                waiting.extend(self.pivot(i, c))
                waiting.append(i)

    def pivot(self, i: int, column: int) -> list[int]:
        """Divides row `i` by its entry in `column`, clears the column in all others, and says which these were."""
        value = self.rows[i][column]
        row = self.rows[i] = {c: v / value for c, v in self.rows[i].items()}
        self.pivots[i] = column
        others = [k for k in self.columns[column] if k != i]
        for k in others:
            self._subtract(k, row, self.rows[k][column])
            self._drop(k, column)
        if self.entries > _MOST:
            raise FilledError
        return others

    def _subtract(self, k: int, row: dict[int, float], factor: float) -> None:
        target = self.rows[k]
        before = len(target)
        for c, v in row.items():
            old = target.get(c, 0.0)
            new = old - factor * v
            if abs(new) <= _ZERO * (abs(old) + abs(factor * v)):
                self._drop(k, c)
            else:
                target[c] = new
                if old == 0.0:
                    self.columns.setdefault(c, set()).add(k)
        self.entries += len(target) - before

    def _drop(self, k: int, column: int) -> None:
        if self.rows[k].pop(column, None) is not None:
            self.columns[column].discard(k)
