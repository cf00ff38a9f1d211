"""Products by padded rows (ELL): for rows of nearly equal length, such as meshes and several coupled fields.

The values lie by columns of the padded rows, `a[k, i]` the k-th entry of row i, with column `c[k, i]`, and

    y[i] = sum_k a[k, i] * v[c[k, i]],

unrolled over k, so that XLA fuses everything into one loop over rows without intermediate arrays. Padding entries
have the value 0 and repeat the row's last column. Cost 2 w m operations for the longest row w.
Reference: Bell & Garland, "Implementing sparse matrix-vector multiplication on throughput-oriented processors",
SC'09, doi:10.1145/1654059.1654078.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from sparsesolve.matrix import _native_product
from sparsesolve.matrix._base import AbstractLayout, gather_rows, scale_rows
from sparsesolve.matrix._prepared import Product
from sparsesolve.pattern import SparsityPattern

_MAX_WIDTH = 64
_MAX_FILL = 1.6


@dataclasses.dataclass(frozen=True)
class PaddedRowsLayout(AbstractLayout):
    """Values by columns of the padded rows.

    Tables: starts and stops of the rows in the data `(m,)`, columns `(w, m)`; for a transposed product also the
    order `(nnz,)` that sorts the data by rows of the transpose.
    """

    shape: tuple[int, int]
    width: int
    name = "ELL"

    def arrange(self, tables: Any, data: Inexact[Array, " nnz"]) -> Any:
        starts, stops, _, *order = tables
        return gather_rows(sort_data(data, order), starts, stops, self.width)

    def multiply(self, tables: Any, arranged: Any, v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
        return multiply_padded_rows(tables[2], arranged, v)

    def nested(self, leaves: Sequence[Array]) -> Any:
        return tuple(leaves)

    def has_kernel(self) -> bool:
        return True

    def kernel(
        self, tables: Any, values: Sequence[Array], v: Inexact[Array, "members n k"]
    ) -> Inexact[Array, "members m k"]:
        return _native_product.padded_rows([tables[2]], None, values, v, self.shape[0], (self.width,), _MAX_WIDTH)


def sort_data(data: Inexact[Array, " nnz"], order: list[Any]) -> Inexact[Array, " nnz"]:
    """The data by rows of the transpose where an order is given, else as they are."""
    return data.at[order[0]].get(mode="promise_in_bounds", unique_indices=True) if order else data


def multiply_padded_rows(columns: Any, values: Any, v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
    """`sum_k values[k] * v[columns[k]]`, unrolled over the entries of a row."""
    product = jnp.zeros((columns.shape[1], *v.shape[1:]), jnp.result_type(v, *values))
    for k, entries in enumerate(values):
        product += scale_rows(entries, v.at[columns[k]].get(mode="promise_in_bounds"))
    return product


def padded_columns(indices: np.ndarray, starts: np.ndarray, stops: np.ndarray, width: int) -> np.ndarray:
    """Columns `(width, rows)` of the entries of some rows; padding repeats the last column of its row."""
    positions = np.minimum(starts[None, :] + np.arange(width)[:, None], np.maximum(stops - 1, 0)[None, :])
    return indices[positions] if indices.size else np.zeros_like(positions, dtype=np.int32)


def padded_rows_product(pattern: SparsityPattern, order: np.ndarray | None) -> Product | None:
    """The ELL plan, or `None` when row lengths differ too much.

    `order` sorts the data into the order of `pattern` (the transpose order for a transposed product); `None` when
    they are in this order.
    """
    lengths = np.diff(pattern.indptr)
    width = int(lengths.max(initial=0))
    if width == 0 or width > _MAX_WIDTH or width * lengths.size > _MAX_FILL * pattern.nnz:
        return None
    starts, stops = pattern.indptr[:-1], pattern.indptr[1:]
    columns = padded_columns(pattern.indices, starts, stops, width)
    layout = PaddedRowsLayout(pattern.shape, width)
    return Product(layout, (starts, stops, columns, *([] if order is None else [order])))
