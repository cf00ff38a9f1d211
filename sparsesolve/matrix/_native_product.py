"""The product kernels compiled for the CPU, as JAX functions. Traced; `_primitive` decides when they are called.

Vectors are `(members, n, columns)`, values have a leading axis of length 1 or `members`. The kernels check all of it
(`_native/src/products.cc`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from sparsesolve import _native

DTYPES = frozenset(map(np.dtype, ("float32", "float64", "complex64", "complex128")))


def usable() -> bool:
    """Whether products may go to the kernels. With several devices XLA splits products better than foreign calls."""
    return _native.available() and jax.device_count() == 1


def diagonals(values: Sequence[Array], v: Array, rows: int, offsets: Sequence[int], transpose: bool) -> Array:
    """`y[i] = sum_d values[d][i] v[i + offsets[d]]`, or its transpose."""
    return _call(_native.DIAGONALS, v, values, rows)(
        v, *values, offsets=np.asarray(offsets, np.int64), transpose=np.bool_(transpose)
    )


def stencil(tables: Sequence[Any], data: Array, v: Array, rows: int, offsets: Sequence[int], transpose: bool) -> Array:
    """The same from CSR values; tables `(starts, kinds, ranks)`, or none where rows store all diagonals."""
    if not tables:
        tables = (np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros((0, len(offsets)), np.int32))
    return _call(_native.STENCIL, v, [data], rows)(
        *tables, data, v, offsets=np.asarray(offsets, np.int64), transpose=np.bool_(transpose)
    )


def padded_rows(
    columns: Sequence[Any], places: Any, values: Sequence[Array], v: Array, rows: int, widths: Sequence[int], limit: int
) -> Array:
    """Buckets of padded rows: columns and values `(width, rows)` up to width `limit`, `(rows, width)` beyond."""
    call = _call(_native.PADDED_ROWS, v, values, rows)
    return call(
        v, _places(places), *columns, *values, widths=np.asarray(widths, np.int64), longest_by_columns=np.int64(limit)
    )


def csr_rows(tables: Sequence[Any], data: Array, v: Array, rows: int, transpose: bool) -> Array:
    """CSR values of rows of no particular form; tables `(indptr, indices, order)`."""
    return _call(_native.CSR_ROWS, v, [data], rows)(*tables, data, v, transpose=np.bool_(transpose))


def _places(places: Any) -> Any:
    return np.zeros(0, np.int32) if places is None else places


def _call(target: str, v: Array, values: Sequence[Array], rows: int) -> Any:
    _native.require()
    members = max([v.shape[0], *(x.shape[0] for x in values)])
    return jax.ffi.ffi_call(target, jax.ShapeDtypeStruct((members, rows, v.shape[2]), v.dtype))
