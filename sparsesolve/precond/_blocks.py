"""Blocks of a sparse matrix by fields, and the approximate Schur complement. Index tables host-side, values traced.

A field is a set of unknowns. Block `(i, j)` holds rows of field `i` and columns of field `j`; its values are a gather
of the matrix's values. `S ~ D - C diag(A)^-1 B` is computed by static lists of products: entry `t` of `S` sums
`C_ik B_kj / a_kk` over the pairs that fall on it. Cost: `O(nnz)` for a block; for `S` the number of pairs.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """One block: its pattern, and where its values are among those of the matrix, int32 `(nnz of the block,)`."""

    pattern: SparsityPattern
    source: np.ndarray

    def of(self, data: Inexact[Array, " nnz"]) -> SparseMatrix:
        """The block of the matrix with these values."""
        return SparseMatrix(data[jax.lax.optimization_barrier(self.source)], self.pattern)


class Fields:
    """The partition of the unknowns of one pattern into fields. Host-side.

    Args:
        pattern: square.
        members: the unknowns of each field; every unknown in exactly one.
        shapes: leaf shapes of each field where they are leaves, else `None`.
    """

    def __init__(self, pattern: SparsityPattern, members: tuple[np.ndarray, ...], shapes: tuple[Any, ...] | None):
        n = pattern.shape[0]
        self.pattern = pattern
        self.members = tuple(np.asarray(m, np.int32).ravel() for m in members)
        self.shapes = shapes
        together = np.concatenate(self.members) if self.members else np.zeros(0, np.int32)
        if together.size != n or not np.array_equal(np.sort(together), np.arange(n)):
            raise ValueError(
                f"FieldSplit got fields with {together.size} unknowns ({np.unique(together).size} different ones) for "
                f"a matrix with {n}; every unknown from 0 to {n - 1} must be in exactly one field."
            )
        self.owner = np.empty(n, np.int32)
        self.local = np.empty(n, np.int32)
        for i, mine in enumerate(self.members):
            self.owner[mine], self.local[mine] = i, np.arange(mine.size)
        self.place = np.argsort(together).astype(np.int32)  # of each unknown in the concatenated fields

    @functools.cache  # noqa: B019  (plans live as long as the cache of plans)
    def block(self, i: int, j: int) -> Block:
        """Rows of field `i`, columns of field `j`."""
        pattern = self.pattern
        inside = np.flatnonzero((self.owner[pattern.rows] == i) & (self.owner[pattern.indices] == j))
        row, col = self.local[pattern.rows[inside]], self.local[pattern.indices[inside]]
        order = np.lexsort((col, row))
        shape = (self.members[i].size, self.members[j].size)
        leaves = None if self.shapes is None else (self.shapes[i], self.shapes[j])
        block = SparsityPattern.from_coo(
            row,
            col,
            shape,
            row_shapes=None if leaves is None else (leaves[0],),
            column_shapes=None if leaves is None else (leaves[1],),
        )
        return Block(block, inside[order].astype(np.int32))


class SchurProduct:
    """`D - C diag(A)^-1 B` on its own pattern. Host-side index lists, traced values."""

    def __init__(self, a: SparsityPattern, b: SparsityPattern, c: SparsityPattern, d: SparsityPattern):
        # Pairs (entry of C in column k, entry of B in row k), grouped by the entry of C.
        per_row = np.diff(b.indptr)
        repeats = per_row[c.indices]
        left = np.repeat(np.arange(c.nnz), repeats)
        offset = np.arange(left.size) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        right = b.indptr[c.indices][left] + offset
        rows, cols = c.rows[left], b.indices[right]
        self.pattern = SparsityPattern.from_coo(
            np.concatenate([rows, d.rows]), np.concatenate([cols, d.indices]), d.shape, column_shapes=d.column_shapes
        ).with_diagonal()
        target = self.pattern.positions(rows, cols)
        order = np.argsort(target, kind="stable")
        own = self.pattern.positions(d.rows, d.indices)
        tables = (left[order], right[order], c.indices[left[order]], target[order], own)
        self._tables = tuple(np.asarray(table, np.int32) for table in tables)

    def __call__(self, a: SparseMatrix, b: SparseMatrix, c: SparseMatrix, d: SparseMatrix) -> SparseMatrix:
        """The values of the four blocks together. Where `a_kk` is zero or not finite, 1 stands in."""
        left, right, middle, target, own = jax.lax.optimization_barrier(self._tables)
        diagonal = a.diagonal()
        usable = (diagonal != 0) & jnp.isfinite(diagonal)
        inverse = jnp.where(usable, 1 / jnp.where(usable, diagonal, 1), 1)
        products = c.data[left] * inverse[middle] * b.data[right]
        size = self.pattern.nnz
        sums = jax.ops.segment_sum(products, target, num_segments=size, indices_are_sorted=True)
        return SparseMatrix((-sums).at[own].add(d.data, unique_indices=True), self.pattern)
