"""The kernels as JAX functions. Traced.

Shapes and types are fixed here and checked again by the kernels. Under `vmap` the batch becomes leading dimensions and
index tables stay unbatched (`vmap_method="expand_dims"`): one call serves a batch, and right-hand sides
that share their factors are solved together.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Int, Real

from sparsesolve._native._load import FACTOR, SOLVE, require


class NativeFactors(NamedTuple):
    """`R A C = L U`, front after front, with row exchanges and scales."""

    blocks: Inexact[Array, " factor"]
    pivots: Int[Array, " n"]
    row_scale: Real[Array, " n"]
    col_scale: Real[Array, " n"]


class NativeTables(NamedTuple):
    """The plan as the kernels read it; int32. `src/tree.h`, `factor.cc` and `solve.cc` define them."""

    fronts: np.ndarray  # (fronts, 4) pivots, border, children, entries
    border: np.ndarray  # (borders,) place of each border row
    parent_map: np.ndarray  # (borders,) its place among the rows of the parent front
    entry_source: np.ndarray  # (nnz,) matrix values, grouped by front
    entry_target: np.ndarray  # (nnz,) where in the front's factor block
    indptr: np.ndarray  # (n + 1,)
    columns: np.ndarray  # (nnz,)
    row_order: np.ndarray  # (n,) matrix row at each place
    col_order: np.ndarray  # (n,) matrix column at each place


def factor(tables: NativeTables, nnz_factor: int, data: Inexact[Array, " nnz"]) -> NativeFactors:
    """Numeric factorization of the matrix with CSR values `data`."""
    require()
    n, dtype = tables.row_order.shape[0], data.dtype
    real = jnp.finfo(dtype).dtype
    results = [
        jax.ShapeDtypeStruct((nnz_factor,), dtype),
        jax.ShapeDtypeStruct((n,), np.int32),
        jax.ShapeDtypeStruct((n,), real),
        jax.ShapeDtypeStruct((n,), real),
    ]
    call = jax.ffi.ffi_call(FACTOR, results, vmap_method="expand_dims")
    return NativeFactors(
        *call(
            tables.fronts,
            tables.parent_map,
            tables.entry_source,
            tables.entry_target,
            tables.indptr,
            tables.columns,
            data,
        )
    )


def solve(
    tables: NativeTables, factors: NativeFactors, rhs: Inexact[Array, " n"], transpose: bool
) -> Inexact[Array, " n"]:
    """`A x = rhs` or `A^T x = rhs`; `rhs` of the factors' type."""
    require()
    call = jax.ffi.ffi_call(SOLVE, jax.ShapeDtypeStruct(rhs.shape, rhs.dtype), vmap_method="expand_dims")
    return call(
        tables.fronts,
        tables.border,
        tables.parent_map,
        tables.row_order,
        tables.col_order,
        *factors,
        rhs,
        transpose=np.bool_(transpose),
    )
