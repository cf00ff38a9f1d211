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
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from sparsesolve.matrix._base import AbstractLayout, Product, gather, pad_positions, scale_rows

_MAX_WIDTH = 64
_MAX_FILL = 1.6


@dataclasses.dataclass(frozen=True)
class PaddedRowsLayout(AbstractLayout):
    """Values by columns of the padded rows. Tables: positions `(w, m)` in the data, columns `(w, m)`."""

    num_rows: int
    width: int
    name = "ELL"

    def arrange(self, tables: Any, data: Inexact[Array, " nnz"]) -> Any:
        return gather(data, tables[0])

    def multiply(self, tables: Any, arranged: Any, v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
        return multiply_padded_rows(tables[1], arranged, v)


def multiply_padded_rows(columns: Any, values: Any, v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
    """`sum_k values[k] * v[columns[k]]`, unrolled over the entries of a row."""
    zero = jnp.zeros((values.shape[1], *v.shape[1:]), jnp.result_type(values, v))
    terms = [scale_rows(values[k], v.at[columns[k]].get(mode="promise_in_bounds")) for k in range(values.shape[0])]
    return sum(terms, start=zero)


def pad_rows(indptr: np.ndarray, indices: np.ndarray, rows: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (-1 for padding) and columns of the chosen rows, each `(width, rows)`."""
    start, stop = indptr[rows], indptr[rows + 1]
    positions = start[None, :] + np.arange(width, dtype=np.int32)[:, None]
    inside = positions < stop[None, :]
    last = np.maximum(stop - 1, 0)[None, :]
    columns = indices[np.where(inside, positions, last)] if indices.size else np.zeros_like(positions)
    return np.where(inside, positions, -1), columns.astype(np.int32)


def padded_rows_product(indptr: np.ndarray, indices: np.ndarray, entries: np.ndarray | None) -> Product | None:
    """The ELL plan, or `None` when row lengths differ too much.

    `entries` says where in the data entry k of this CSR structure lies (the transpose order for a transposed
    product); `None` for the identity.
    """
    lengths = np.diff(indptr)
    width = int(lengths.max(initial=0))
    if width == 0 or width > _MAX_WIDTH or width * lengths.size > _MAX_FILL * indices.size:
        return None
    positions, columns = pad_rows(indptr, indices, np.arange(lengths.size), width)
    tables = (pad_positions(through(entries, positions), indices.size), columns)
    return Product(PaddedRowsLayout(lengths.size, width), tables)


def through(entries: np.ndarray | None, positions: np.ndarray) -> np.ndarray:
    """Positions composed with the order of the data; padding (-1) stays."""
    return positions if entries is None else np.where(positions < 0, -1, entries[positions])
