"""Single products from CSR values, for the kernels compiled for the CPU: nothing is arranged first.

By diagonals where a pattern has few, from the tables of `_dia`; by rows otherwise, visited in an order in which rows of
equal length are neighbours. The plain JAX forms stand for derivatives, sparsity detection and other devices; where
there are no kernels, products go through the layouts for many products instead. Cost: the time of reading the values,
and for general rows also a column index an entry.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from sparsesolve.matrix import _native_product
from sparsesolve.matrix._base import AbstractLayout, scale_rows
from sparsesolve.matrix._dia import DiagonalLayout
from sparsesolve.matrix._prepared import Product
from sparsesolve.pattern import SparsityPattern

_WINDOW = 512  # rows that are sorted by length among themselves: their values stay in the cache


@dataclasses.dataclass(frozen=True)
class StencilLayout(AbstractLayout):
    """CSR values of a matrix with few diagonals; tables as in `DiagonalLayout`."""

    diagonals: DiagonalLayout
    name = "stencil"

    @property
    def shape(self) -> tuple[int, int]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.diagonals.shape

    def arrange(self, tables: Any, data: Inexact[Array, " nnz"]) -> Any:
        return data

    def multiply(self, tables: Any, arranged: Any, v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
        by_diagonals = self.diagonals
        if by_diagonals.transpose:
            by_diagonals = by_diagonals.transposed()
        return self.diagonals.multiply(tables, by_diagonals.arrange(tables, arranged), v)

    def nested(self, leaves: Sequence[Array]) -> Any:
        return leaves[0]

    def transposed(self) -> StencilLayout:
        return StencilLayout(self.diagonals.transposed())

    def has_kernel(self) -> bool:
        return True

    def kernel(
        self, tables: Any, values: Sequence[Array], v: Inexact[Array, "members n k"]
    ) -> Inexact[Array, "members m k"]:
        form = self.diagonals
        return _native_product.stencil(tables, values[0], v, self.shape[0], form.offsets, form.transpose)


@dataclasses.dataclass(frozen=True)
class StoredRowsLayout(AbstractLayout):
    """CSR values; tables: row pointers `(m + 1,)`, columns `(nnz,)`, an order of the rows `(m,)`."""

    shape: tuple[int, int]
    transpose: bool = False
    name = "stored rows"

    def arrange(self, tables: Any, data: Inexact[Array, " nnz"]) -> Any:
        return data

    def multiply(self, tables: Any, arranged: Any, v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
        indptr, columns, _ = tables
        lengths = indptr[1:] - indptr[:-1]
        rows = jnp.repeat(jnp.arange(lengths.shape[0]), lengths, total_repeat_length=columns.shape[0])
        source, target = (rows, columns) if self.transpose else (columns, rows)
        terms = scale_rows(arranged, v.at[source].get(mode="promise_in_bounds"))
        out = jnp.zeros((self.shape[0], *v.shape[1:]), terms.dtype)
        return out.at[target].add(terms, mode="promise_in_bounds", indices_are_sorted=not self.transpose)

    def nested(self, leaves: Sequence[Array]) -> Any:
        return leaves[0]

    def transposed(self) -> StoredRowsLayout:
        return StoredRowsLayout((self.shape[1], self.shape[0]), not self.transpose)

    def has_kernel(self) -> bool:
        return True

    def kernel(
        self, tables: Any, values: Sequence[Array], v: Inexact[Array, "members n k"]
    ) -> Inexact[Array, "members m k"]:
        return _native_product.csr_rows(tables, values[0], v, self.shape[0], self.transpose)


def stored_product(pattern: SparsityPattern, many: Product) -> Product:
    """The plan of single products; `many` is that of many products."""
    m = pattern.shape[0]
    if isinstance(many.layout, DiagonalLayout) and _has_few_kinds(many, m):
        return Product(StencilLayout(many.layout), many.tables)
    order = np.lexsort((np.diff(pattern.indptr), np.arange(m) // _WINDOW)).astype(np.int32)
    return Product(StoredRowsLayout(pattern.shape), (pattern.indptr, pattern.indices, order))


def _has_few_kinds(many: Product, m: int) -> bool:
    """The kernel reads all kinds of rows at every call."""
    if not many.tables:
        return True
    _, kinds, ranks = many.tables
    return kinds.dtype == np.uint8 and ranks.size <= m
