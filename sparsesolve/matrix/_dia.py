"""Products by diagonals (DIA): for stencils on grids and for banded matrices. No index tables in the product itself.

The values lie as `a[d, i] = A[i, i + offset_d]`, zero where the entry is not stored, and

    y = sum_d a[d] * shift(v, offset_d),     shift(v, o)[i] = v[i + o] or 0 outside.

Every shift is one `lax.pad` with positive and negative widths, which XLA fuses into a single pass over memory: at
the speed of reading `a`. Cost 2 D m operations for D diagonals; chosen while D m is at most twice the number of
entries. Reference: Saad, "Iterative Methods for Sparse Linear Systems" (2003), section 3.4.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from sparsesolve.matrix._base import AbstractLayout, Product, gather, pad_positions, scale_rows
from sparsesolve.pattern import SparsityPattern

# Each diagonal is unrolled into the graph; more of them compile slowly and rows are long enough for other layouts.
_MAX_DIAGONALS = 128
_MAX_FILL = 2.0


@dataclasses.dataclass(frozen=True)
class DiagonalLayout(AbstractLayout):
    """Values by diagonals, padded to the number of rows. Also multiplies with the transpose from the same values."""

    shape: tuple[int, int]
    offsets: tuple[int, ...]
    transpose: bool = False
    name = "DIA"

    def arrange(self, tables: Any, data: Inexact[Array, " nnz"]) -> Any:
        if not tables:  # every row holds every diagonal: CSR order is already row by row
            return data.reshape(self.shape[0], len(self.offsets)).T
        return gather(data, tables[0])

    def multiply(self, tables: Any, arranged: Any, v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
        m, n = self.shape
        size = n if self.transpose else m
        terms = [self._term(arranged[d], offset, v) for d, offset in enumerate(self.offsets)]
        zero = jnp.zeros((size, *v.shape[1:]), jnp.result_type(arranged, v))
        return sum(terms, start=zero)

    def _term(self, values: Array, offset: int, v: Array) -> Array:
        m, n = self.shape
        if self.transpose:  # column j of row i = j - offset
            return _pad_rows(scale_rows(values, v), offset, n - offset - m)
        return scale_rows(values, _pad_rows(v, -offset, m + offset - n))


def _pad_rows(block: Array, low: int, high: int) -> Array:
    """Zero rows before and after, or fewer rows where a width is negative."""
    widths = [(low, high, 0)] + [(0, 0, 0)] * (block.ndim - 1)
    return jax.lax.pad(block, jnp.zeros((), block.dtype), widths)


def diagonal_product(pattern: SparsityPattern, *, transpose: bool = False) -> Product | None:
    """The DIA plan of a pattern, or `None` when padding would cost more than it saves."""
    m, n = pattern.shape
    offset = pattern.indices - pattern.rows
    stored = np.flatnonzero(np.bincount(offset + m, minlength=m + n)) - m
    if pattern.nnz == 0 or stored.size > _MAX_DIAGONALS or stored.size * m > _MAX_FILL * pattern.nnz:
        return None
    layout = DiagonalLayout(pattern.shape, tuple(int(o) for o in stored), transpose)
    if stored.size * m == pattern.nnz:
        return Product(layout, ())
    which = np.zeros(m + n, np.int32)
    which[stored + m] = np.arange(stored.size, dtype=np.int32)
    positions = np.full((stored.size, m), -1, np.int32)
    positions[which[offset + m], pattern.rows] = np.arange(pattern.nnz, dtype=np.int32)
    return Product(layout, (pad_positions(positions, pattern.nnz),))
