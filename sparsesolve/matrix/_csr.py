"""Products for irregular rows: rows of similar length share a bucket, each bucket is a padded block (sliced ELL).

Row lengths are rounded up to 1, 2, 3, 4, 6, 8, 12, 16, ..., so padding stays below one half and the number of
buckets grows with the logarithm of the longest row. Short buckets multiply like ELL; rows longer than 32 entries are
one two-dimensional gather and a sum along the row. No scatter, no atomic additions, no prefix sum (which loses
digits by cancellation). Reference: Monakov et al., "Automatically tuning sparse matrix-vector multiplication for GPU
architectures", HiPEAC 2010, doi:10.1007/978-3-642-11515-8_10.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from sparsesolve.matrix._base import AbstractLayout, Product, gather, pad_positions
from sparsesolve.matrix._ell import multiply_padded_rows, pad_rows, through

_UNROLLED_WIDTH = 32


@dataclasses.dataclass(frozen=True)
class BucketedRowsLayout(AbstractLayout):
    """Padded blocks of rows. Tables: positions of each bucket, then columns of each, then the order of the rows."""

    num_rows: int
    widths: tuple[int, ...]
    name = "CSR"

    def arrange(self, tables: Any, data: Inexact[Array, " nnz"]) -> Any:
        return tuple(gather(data, table) for table in tables[: len(self.widths)])

    def multiply(self, tables: Any, arranged: Any, v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
        num = len(self.widths)
        blocks = [
            _multiply_bucket(columns, values, v)
            for columns, values in zip(tables[num : 2 * num], arranged, strict=True)
        ]
        dtype = jnp.result_type(v, *arranged)
        empty = jnp.zeros((1, *v.shape[1:]), dtype)  # read by rows without entries
        return jnp.concatenate([*blocks, empty]).at[tables[-1]].get(mode="promise_in_bounds")


def _multiply_bucket(columns: Any, values: Any, v: Array) -> Array:
    if columns.shape[0] <= _UNROLLED_WIDTH:
        return multiply_padded_rows(columns, values, v)
    gathered = v.at[columns].get(mode="promise_in_bounds")
    return jnp.sum(values.reshape(values.shape + (1,) * (v.ndim - 1)) * gathered, axis=0)


def _rounded_lengths(lengths: np.ndarray) -> np.ndarray:
    """Each length rounded up to the next of 1, 2, 3, 4, 6, 8, 12, 16, ...; 0 stays."""
    longest = int(lengths.max(initial=1))
    steps = sorted({0, *(s << p for p in range(longest.bit_length() + 1) for s in (1, 3) if s << p <= 2 * longest)})
    return np.asarray(steps)[np.searchsorted(steps, lengths)]


def bucketed_rows_product(indptr: np.ndarray, indices: np.ndarray, entries: np.ndarray | None) -> Product:
    """The plan for any pattern. `entries` as in `padded_rows_product`."""
    lengths = np.diff(indptr)
    rounded = _rounded_lengths(lengths)
    positions: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    order = np.full(lengths.size, np.count_nonzero(lengths), np.int32)
    done = 0
    widths = [int(w) for w in np.unique(rounded) if w > 0]
    for width in widths:
        rows = np.flatnonzero(rounded == width)
        block, block_columns = pad_rows(indptr, indices, rows, width)
        positions.append(pad_positions(through(entries, block), indices.size))
        columns.append(block_columns)
        order[rows] = done + np.arange(rows.size, dtype=np.int32)
        done += rows.size
    return Product(BucketedRowsLayout(lengths.size, tuple(widths)), (*positions, *columns, order))
