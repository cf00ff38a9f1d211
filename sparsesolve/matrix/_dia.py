"""Products by diagonals (DIA): for stencils on grids and for banded matrices. No index tables in the product itself.

The values lie as `a[d, i] = A[i, i + offset_d]`, zero where the entry is not stored, and

    y = sum_d a[d] * shift(v, offset_d),     shift(v, o)[i] = v[i + o] or 0 outside.

Every shift is one `lax.pad` with positive and negative widths, which XLA fuses into a single pass over memory: at
the speed of reading `a`. Cost 2 D m operations for D diagonals; chosen while D m is at most twice the number of
entries. Reference: Saad, "Iterative Methods for Sparse Linear Systems" (2003), section 3.4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from sparsesolve.matrix import _native_product
from sparsesolve.matrix._base import AbstractLayout, gather, past_the_end, scale_rows
from sparsesolve.matrix._prepared import Product
from sparsesolve.pattern import SparsityPattern

# Each diagonal is unrolled into the graph; more of them compile slowly and rows are long enough for other layouts.
_MAX_DIAGONALS = 128
_MAX_FILL = 2.0


@dataclasses.dataclass(frozen=True)
class DiagonalLayout(AbstractLayout):
    """Values by diagonals, each a vector with one number a row, also for the transposed product.

    Tables: start of each row in the data `(m,)`; kind of each row `(m,)`, rows with the same set of diagonals being
    of one kind; and the rank of each diagonal within each kind of row `(kinds, D)`, -1 where it is not stored. No
    tables when every row stores every diagonal.
    """

    shape: tuple[int, int]
    offsets: tuple[int, ...]
    transpose: bool = False
    name = "DIA"

    def arrange(self, tables: Any, data: Inexact[Array, " nnz"]) -> Any:
        if not tables:  # CSR order is already row by row
            block = data.reshape(self.shape[self.transpose], len(self.offsets))
            return tuple(block[:, d] for d in range(len(self.offsets)))
        starts, kinds, ranks = tables
        missing = past_the_end(data.shape[0], starts.shape)
        rank_of_rows = [ranks[:, d].at[kinds].get(mode="promise_in_bounds") for d in range(len(self.offsets))]
        return tuple(gather(data, jnp.where(rank < 0, missing, starts + rank)) for rank in rank_of_rows)

    def multiply(self, tables: Any, arranged: Any, v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
        m, n = self.shape
        product = jnp.zeros((m, *v.shape[1:]), jnp.result_type(v, *arranged))
        for values, offset in zip(arranged, self.offsets, strict=True):
            if self.transpose:
                product += pad_block(scale_rows(values, v), offset, m - offset - n)
            else:
                product += scale_rows(values, pad_block(v, -offset, m + offset - n))
        return product

    def nested(self, leaves: Sequence[Array]) -> Any:
        return tuple(leaves)

    def transposed(self) -> DiagonalLayout:
        return dataclasses.replace(self, shape=self.shape[::-1], transpose=not self.transpose)

    def has_kernel(self) -> bool:
        return True

    def kernel(
        self, tables: Any, values: Sequence[Array], v: Inexact[Array, "members n k"]
    ) -> Inexact[Array, "members m k"]:
        return _native_product.diagonals(values, v, self.shape[0], self.offsets, self.transpose)


def pad_block(block: Array, low: int, high: int) -> Array:
    """Zero rows before and after, or fewer rows where a width is negative."""
    widths = [(low, high, 0)] + [(0, 0, 0)] * (block.ndim - 1)
    return jax.lax.pad(block, jnp.zeros((), block.dtype), widths)


def diagonal_product(pattern: SparsityPattern) -> Product | None:
    """The DIA plan of a pattern, or `None` when padding would cost more than it saves."""
    m, n = pattern.shape
    offset = pattern.indices - pattern.rows
    stored = np.flatnonzero(np.bincount(offset + m, minlength=m + n)) - m
    if pattern.nnz == 0 or stored.size > _MAX_DIAGONALS or stored.size * m > _MAX_FILL * pattern.nnz:
        return None
    layout = DiagonalLayout(pattern.shape, tuple(int(o) for o in stored))
    if stored.size * m == pattern.nnz:
        return Product(layout, ())
    which = np.zeros(m + n, np.int32)
    which[stored + m] = np.arange(stored.size, dtype=np.int32)
    kinds, ranks = _kinds_of_rows(pattern, which[offset + m], stored.size)
    return Product(layout, (pattern.indptr[:-1], kinds, ranks))


def _kinds_of_rows(pattern: SparsityPattern, diagonal: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Groups rows by the set of diagonals they store: the kind of each row, and each diagonal's rank in each kind."""
    filled = np.flatnonzero(np.diff(pattern.indptr))
    kinds = np.zeros(pattern.shape[0], np.int64)
    for word in range(-(-count // 64)):
        sets = np.zeros(kinds.size, np.uint64)
        bits = np.where(diagonal // 64 == word, np.uint64(1) << (diagonal % 64).astype(np.uint64), np.uint64(0))
        sets[filled] = np.bitwise_or.reduceat(bits, pattern.indptr[filled])
        distinct, part = np.unique(sets, return_inverse=True)
        kinds = np.unique(kinds * distinct.size + part, return_inverse=True)[1]
    ranks = np.full((int(kinds.max()) + 1, count), -1, np.int32)
    entry = np.arange(pattern.nnz, dtype=np.int32) - pattern.indptr[pattern.rows]
    ranks[kinds[pattern.rows], diagonal] = entry
    return kinds.astype(np.uint8 if len(ranks) <= 256 else np.int32), ranks
