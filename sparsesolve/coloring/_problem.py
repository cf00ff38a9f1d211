"""One colouring problem: columns of a bipartite graph that must differ where they meet in a row. Host-side.

Colouring the rows of a pattern is the same problem on its transpose, and the bidirectional colouring solves it on a
part of the rows, so all algorithms work on this form.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import scipy.sparse

from sparsesolve.pattern import SparsityPattern

Shapes = tuple[tuple[int, ...], ...] | None


@dataclasses.dataclass(frozen=True, eq=False)
class ColumnProblem:
    """Colour the columns of a matrix so that no two columns of one colour meet in a row.

    Attributes:
        row_ptr, row_cols: the matrix by rows (CSR), shapes `(m + 1,)` and `(nnz,)`.
        num_columns: n.
        shapes: shapes of the grids the columns enumerate, if known.
    """

    row_ptr: np.ndarray
    row_cols: np.ndarray
    num_columns: int
    shapes: Shapes = None

    @classmethod
    def of_columns(cls, pattern: SparsityPattern) -> ColumnProblem:
        return cls(pattern.indptr, pattern.indices, pattern.shape[1], pattern.column_shapes)

    @classmethod
    def of_rows(cls, pattern: SparsityPattern) -> ColumnProblem:
        return cls.of_columns(pattern.T)

    def restricted(self, rows: np.ndarray) -> ColumnProblem:
        """The same columns, only the chosen rows."""
        part = self.matrix[rows]
        return ColumnProblem(part.indptr, part.indices, self.num_columns, self.shapes)

    @property
    def num_rows(self) -> int:
        return self.row_ptr.size - 1

    @property
    def nnz(self) -> int:
        return int(self.row_cols.size)

    @functools.cached_property
    def matrix(self) -> scipy.sparse.csr_matrix:
        """A SciPy CSR matrix of ones."""
        ones = np.ones(self.nnz, np.int8)
        return scipy.sparse.csr_matrix((ones, self.row_cols, self.row_ptr), shape=(self.num_rows, self.num_columns))

    @functools.cached_property
    def by_columns(self) -> tuple[np.ndarray, np.ndarray]:
        """The matrix by columns (CSC): `(col_ptr, col_rows)`."""
        csc = self.matrix.tocsc()
        return csc.indptr, csc.indices

    @functools.cached_property
    def conflicts(self) -> tuple[np.ndarray, np.ndarray]:
        """The conflict graph in CSR form `(ptr, neighbours)`: columns adjacent when they meet in a row."""
        ones = self.matrix.astype(np.int32)
        graph = (ones.T @ ones).tocsr()
        graph.setdiag(0)
        graph.eliminate_zeros()
        return graph.indptr, graph.indices

    @property
    def pairs(self) -> float:
        """Sum of the squared row lengths: work and memory to build the conflict graph."""
        return float(np.sum(self.row_lengths.astype(np.float64) ** 2))

    @functools.cached_property
    def row_lengths(self) -> np.ndarray:
        return np.diff(self.row_ptr)

    @functools.cached_property
    def column_lengths(self) -> np.ndarray:
        return np.bincount(self.row_cols, minlength=self.num_columns)

    @property
    def lower_bound(self) -> int:
        """The longest row: its columns all differ."""
        return int(self.row_lengths.max(initial=0))

    def clashing_rows(self, colors: np.ndarray) -> np.ndarray:
        """Rows in which two columns have the same colour; empty when the colouring is valid."""
        filled = np.flatnonzero(self.row_lengths)
        if filled.size == 0:
            return filled
        distinct = np.zeros(filled.size, np.int64)
        for low in range(0, int(colors.max()) + 1, 64):
            # One machine word holds the set of up to 64 colours met in a row.
            here = (colors >= low) & (colors < low + 64)
            bits = np.where(here, np.uint64(1) << ((colors - low) & 63).astype(np.uint64), np.uint64(0))
            met = np.bitwise_or.reduceat(bits[self.row_cols], self.row_ptr[filled])
            distinct += np.bitwise_count(met)
        return filled[distinct < self.row_lengths[filled]]

    def is_valid(self, colors: np.ndarray) -> bool:
        return self.clashing_rows(colors).size == 0
