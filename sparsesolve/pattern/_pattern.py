"""`SparsityPattern`: which entries of a matrix can be nonzero. Host-side, immutable, hashed by content."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import numpy as np
import scipy.sparse

from sparsesolve.pattern._braille import braille


class SparsityPattern:
    """The positions of the entries of an `m x n` matrix that can be nonzero, in CSR order.

    Part of the plan: never traced, safe as a static field or a jit-static argument. Equality and hash go by
    content (shape and entries); `column_shapes` and `row_shapes` are notes for the colouring and do not count.

    Attributes:
        shape: `(m, n)`.
        indptr: int32, shape `(m + 1,)`; row `i` holds entries `indptr[i]:indptr[i + 1]`.
        indices: int32, shape `(nnz,)`; column of each entry, increasing within a row, no duplicates.
        column_shapes: shapes of the pytree leaves that the columns enumerate (one field of a grid a leaf), or
            `None` when unknown. Their sizes sum to `n`.
        row_shapes: the same for the rows.

    Example:
        >>> from sparsesolve.pattern import SparsityPattern
        >>> pattern = SparsityPattern.from_coo([0, 0, 2], [0, 3, 1], (3, 4))
        >>> pattern.nnz, pattern.indices.tolist()
        (3, [0, 3, 1])
    """

    def __init__(
        self,
        indptr: np.ndarray,
        indices: np.ndarray,
        shape: tuple[int, int],
        *,
        column_shapes: tuple[tuple[int, ...], ...] | None = None,
        row_shapes: tuple[tuple[int, ...], ...] | None = None,
    ):
        self.shape = (int(shape[0]), int(shape[1]))
        self.indptr = _frozen(indptr)
        self.indices = _frozen(indices)
        self.column_shapes = column_shapes
        self.row_shapes = row_shapes
        if self.indptr.shape != (self.shape[0] + 1,) or self.indices.shape != (int(self.indptr[-1]),):
            raise ValueError(
                f"SparsityPattern of shape {self.shape} needs indptr of shape ({self.shape[0] + 1},) whose last "
                f"entry is the number of indices; got indptr {self.indptr.shape} ending in {int(self.indptr[-1])} and "
                f"indices {self.indices.shape}. Write SparsityPattern.from_coo(rows, cols, shape) to build one."
            )

    @classmethod
    def from_coo(
        cls,
        rows: Any,
        cols: Any,
        shape: tuple[int, int],
        *,
        column_shapes: tuple[tuple[int, ...], ...] | None = None,
        row_shapes: tuple[tuple[int, ...], ...] | None = None,
    ) -> SparsityPattern:
        """From row and column numbers of the entries, in any order, duplicates allowed."""
        rows, cols = np.asarray(rows).ravel(), np.asarray(cols).ravel()
        m, n = int(shape[0]), int(shape[1])
        if rows.shape != cols.shape:
            raise ValueError(
                f"from_coo got {rows.size} rows and {cols.size} columns; give one of each for every entry."
            )
        if rows.size and (rows.min() < 0 or cols.min() < 0 or rows.max() >= m or cols.max() >= n):
            raise ValueError(
                f"from_coo got an entry outside a matrix of shape {(m, n)}: rows reach {rows.min()}..{rows.max()}, "
                f"columns {cols.min()}..{cols.max()}. Indices count from 0; check `shape`."
            )
        matrix = scipy.sparse.csr_matrix((np.ones(rows.size, np.bool_), (rows, cols)), shape=(m, n))
        matrix.sum_duplicates()
        return cls(matrix.indptr, matrix.indices, (m, n), column_shapes=column_shapes, row_shapes=row_shapes)

    @classmethod
    def from_scipy(cls, matrix: Any) -> SparsityPattern:
        """From any SciPy sparse matrix or array. Stored zeros count as entries."""
        csr: Any = scipy.sparse.csr_matrix(matrix, copy=True)
        csr.sum_duplicates()
        csr.sort_indices()
        return cls(csr.indptr, csr.indices, csr.shape)

    @classmethod
    def from_dense(cls, matrix: Any) -> SparsityPattern:
        """From a dense array: its nonzero entries (NaN counts as nonzero)."""
        array = np.asarray(matrix)
        if array.ndim != 2:
            raise ValueError(f"from_dense needs a two-dimensional array, got shape {array.shape}.")
        rows, cols = np.nonzero(array != 0)
        return cls.from_coo(rows, cols, (array.shape[0], array.shape[1]))

    @property
    def nnz(self) -> int:
        """Number of entries that can be nonzero."""
        return int(self.indices.size)

    @property
    def density(self) -> float:
        """`nnz / (m n)`; 0 for an empty matrix."""
        return self.nnz / max(1, self.shape[0] * self.shape[1])

    @functools.cached_property
    def rows(self) -> np.ndarray:
        """Row of each entry, int32, shape `(nnz,)`."""
        return _frozen(np.repeat(np.arange(self.shape[0], dtype=np.int32), np.diff(self.indptr)))

    @functools.cached_property
    def digest(self) -> bytes:
        """Sixteen bytes that identify shape and entries."""
        digest = hashlib.blake2b(repr(self.shape).encode(), digest_size=16)
        digest.update(self.indptr.data)
        digest.update(self.indices.data)
        return digest.digest()

    @functools.cached_property
    def _transposed(self) -> tuple[SparsityPattern, np.ndarray]:
        order = scipy.sparse.csr_matrix((np.arange(self.nnz), self.indices, self.indptr), shape=self.shape).tocsc()
        m, n = self.shape
        pattern = SparsityPattern(
            order.indptr, order.indices, (n, m), column_shapes=self.row_shapes, row_shapes=self.column_shapes
        )
        return pattern, _frozen(order.data)

    @property
    def T(self) -> SparsityPattern:
        """The pattern of the transpose."""
        return self._transposed[0]

    @property
    def transpose_order(self) -> np.ndarray:
        """int32 `(nnz,)`: `data[transpose_order]` are the values of the transpose in its own CSR order."""
        return self._transposed[1]

    @functools.cached_property
    def diagonal_positions(self) -> np.ndarray:
        """int32 `(min(m, n),)`: where in `data` each diagonal entry is, -1 where it is not stored."""
        out = np.full(min(self.shape), -1, np.int32)
        here = np.flatnonzero(self.rows == self.indices)
        out[self.rows[here]] = here
        return _frozen(out)

    def positions(self, rows: Any, cols: Any) -> np.ndarray:
        """Where in `data` the entries `(rows, cols)` are, int64; -1 for entries that are not stored."""
        n = max(1, self.shape[1])
        keys = self.rows.astype(np.int64) * n + self.indices
        wanted = np.asarray(rows, np.int64) * n + np.asarray(cols, np.int64)
        if keys.size == 0:
            return np.full(wanted.shape, -1, np.int64)
        at = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
        return np.where(keys[at] == wanted, at, -1)

    def union(self, other: SparsityPattern) -> SparsityPattern:
        """The entries of either pattern."""
        if self.shape != other.shape:
            raise ValueError(f"Cannot unite patterns of shapes {self.shape} and {other.shape}.")
        if self == other:
            return self
        return SparsityPattern.from_coo(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.indices, other.indices]),
            self.shape,
            column_shapes=self.column_shapes,
            row_shapes=self.row_shapes,
        )

    def with_diagonal(self) -> SparsityPattern:
        """This pattern with every diagonal entry stored, so that `J + shift * I` needs no new plan."""
        missing = np.flatnonzero(self.diagonal_positions < 0)
        if missing.size == 0:
            return self
        return SparsityPattern.from_coo(
            np.concatenate([self.rows, missing]),
            np.concatenate([self.indices, missing]),
            self.shape,
            column_shapes=self.column_shapes,
            row_shapes=self.row_shapes,
        )

    def to_scipy(self) -> scipy.sparse.csr_matrix:
        """A SciPy CSR matrix of ones (int8)."""
        return scipy.sparse.csr_matrix((np.ones(self.nnz, np.int8), self.indices, self.indptr), shape=self.shape)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, SparsityPattern):
            return NotImplemented
        return self.shape == other.shape and self.nnz == other.nnz and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        m, n = self.shape
        head = f"SparsityPattern({m} x {n}, nnz={self.nnz}, density={self.density:.2g})"
        return f"{head}\n{braille(self.rows, self.indices, self.shape)}".rstrip()


def _frozen(array: np.ndarray) -> np.ndarray:
    """An int32 copy-if-needed that refuses writes."""
    out = np.ascontiguousarray(array, dtype=np.int32)
    if out is array:
        out = out.view()
    out.flags.writeable = False
    return out
