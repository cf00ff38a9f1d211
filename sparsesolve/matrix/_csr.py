"""Products for irregular rows: rows of similar length share a bucket, each bucket is a padded block (sliced ELL).

Row lengths are rounded up to 1, 2, 3, 4, 6, 8, 12, 16, ..., so padding stays below one half and the number of
buckets grows with the logarithm of the longest row. Short buckets multiply like ELL; rows longer than 12 entries are
one two-dimensional gather and a sum along the row. No scatter, no atomic additions, no prefix sum (which loses
digits by cancellation). Reference: Monakov et al., "Automatically tuning sparse matrix-vector multiplication for GPU
architectures", HiPEAC 2010, doi:10.1007/978-3-642-11515-8_10.
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
from sparsesolve.matrix._base import AbstractLayout, gather, gather_rows, past_the_end
from sparsesolve.matrix._ell import multiply_padded_rows, padded_columns, sort_data
from sparsesolve.matrix._prepared import Product
from sparsesolve.pattern import SparsityPattern

_UNROLLED_WIDTH = 12


@dataclasses.dataclass(frozen=True)
class BucketedRowsLayout(AbstractLayout):
    """Padded blocks of rows.

    Tables: starts of the rows of each bucket, stops, columns `(w, rows)`,
    or `(rows, w)` for long rows; then where each row's result is, and the other way round which row each result
    belongs to; then, for a transposed product, the order that sorts the data by rows of the transpose.
    """

    shape: tuple[int, int]
    widths: tuple[int, ...]
    name = "CSR"

    def arrange(self, tables: Any, data: Inexact[Array, " nnz"]) -> Any:
        count = len(self.widths)
        data = sort_data(data, list(tables[3 * count + 2 :]))
        return tuple(
            (gather_rows if width <= _UNROLLED_WIDTH else _gather_block)(data, starts, stops, width)
            for starts, stops, width in zip(tables[:count], tables[count : 2 * count], self.widths, strict=True)
        )

    def multiply(self, tables: Any, arranged: Any, v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
        count = len(self.widths)
        blocks = [
            _multiply_bucket(columns, values, v)
            for columns, values in zip(tables[2 * count : 3 * count], arranged, strict=True)
        ]
        empty = jnp.zeros(
            (1, *v.shape[1:]), jnp.result_type(v, *jax.tree.leaves(arranged))
        )  # read by rows without entries
        return jnp.concatenate([*blocks, empty]).at[tables[3 * count]].get(mode="promise_in_bounds")

    def nested(self, leaves: Sequence[Array]) -> Any:
        remaining = iter(leaves)
        return tuple(
            tuple(next(remaining) for _ in range(width)) if width <= _UNROLLED_WIDTH else next(remaining)
            for width in self.widths
        )

    def has_kernel(self) -> bool:
        return len(self.widths) > 0

    def kernel(
        self, tables: Any, values: Sequence[Array], v: Inexact[Array, "members n k"]
    ) -> Inexact[Array, "members m k"]:
        count = len(self.widths)
        columns, places = tables[2 * count : 3 * count], tables[3 * count + 1]
        return _native_product.padded_rows(columns, places, values, v, self.shape[0], self.widths, _UNROLLED_WIDTH)


def _gather_block(data: Array, starts: Any, stops: Any, width: int) -> Array:
    """The entries of long rows, `(rows, width)`."""
    positions = starts[:, None] + jnp.arange(width, dtype=jnp.int32)[None, :]
    missing = past_the_end(data.shape[0], positions.shape)
    return gather(data, jnp.where(positions < stops[:, None], positions, missing))


def _multiply_bucket(columns: Any, values: Any, v: Array) -> Array:
    if isinstance(values, tuple):
        return multiply_padded_rows(columns, values, v)
    gathered = v.at[columns].get(mode="promise_in_bounds")
    return jnp.sum(values.reshape(values.shape + (1,) * (v.ndim - 1)) * gathered, axis=1)


def _rounded_lengths(lengths: np.ndarray) -> np.ndarray:
    """Each length rounded up to the next of 1, 2, 3, 4, 6, 8, 12, 16, ...; 0 stays."""
    longest = int(lengths.max(initial=1))
    steps = sorted({0, *(s << p for p in range(longest.bit_length() + 1) for s in (1, 3) if s << p <= 2 * longest)})
    return np.asarray(steps)[np.searchsorted(steps, lengths)]


def bucketed_rows_product(pattern: SparsityPattern, order: np.ndarray | None) -> Product:
    """The plan for any pattern. `order` as in `padded_rows_product`."""
    lengths = np.diff(pattern.indptr)
    rounded = _rounded_lengths(lengths)
    widths = [int(w) for w in np.unique(rounded) if w > 0]
    members = [np.flatnonzero(rounded == width) for width in widths]
    result = np.full(lengths.size, np.count_nonzero(lengths), np.int32)
    grouped = np.concatenate([np.zeros(0, np.int64), *members]).astype(np.int32)
    if members:
        result[grouped] = np.arange(grouped.size, dtype=np.int32)
    starts = [pattern.indptr[rows] for rows in members]
    stops = [pattern.indptr[rows + 1] for rows in members]
    blocks = [padded_columns(pattern.indices, *block) for block in zip(starts, stops, widths, strict=True)]
    columns = [block if width <= _UNROLLED_WIDTH else block.T for block, width in zip(blocks, widths, strict=True)]
    tables = (*starts, *stops, *columns, result, grouped, *([] if order is None else [order]))
    return Product(BucketedRowsLayout(pattern.shape, tuple(widths)), tables)
