"""The kernels as JAX functions. Traced.

Shapes and types are fixed here and checked again by the kernels. Under `vmap` the batch becomes leading dimensions and
index tables stay unbatched (`vmap_method="expand_dims"`): one call serves a batch, and right-hand sides
that share their factors are solved together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Int, Real

from sparsesolve._native._call import call
from sparsesolve._native._load import CHOLESKY_FACTOR, CHOLESKY_INVERSE, CHOLESKY_SOLVE, FACTOR, SOLVE
from sparsesolve._native._shared import shared


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


class SymmetricFactors(NamedTuple):
    """`S A S = L L^H`, or `L B L^T` with pivots of one and two, front after front."""

    blocks: Inexact[Array, " factor"]
    pivots: Int[Array, " n"]  # exchanges inside fronts; of length 0 for L L^H, as is `below`
    below: Inexact[Array, " n"]  # the entries of B^-1 below its diagonal
    scale: Real[Array, " n"]
    found: Int[Array, 2]  # negative pivots, perturbed pivots


def factor(tables: NativeTables, nnz_factor: int, data: Inexact[Array, " nnz"]) -> NativeFactors:
    """Numeric factorization of the matrix with CSR values `data`."""
    n, real = tables.row_order.shape[0], jnp.finfo(data.dtype).dtype
    results = [((nnz_factor,), data.dtype), ((n,), np.int32), ((n,), real), ((n,), real)]
    return NativeFactors(*_call_factor(FACTOR, tables, data, results))


def factor_symmetric(
    tables: NativeTables, nnz_factor: int, data: Inexact[Array, " nnz"], *, pivoting: bool, hermitian: bool
) -> SymmetricFactors:
    """Cholesky factorization, or `L B L^T` with `pivoting`, of the matrix with CSR values `data`."""
    n, dtype = tables.row_order.shape[0], data.dtype
    pivots = (n if pivoting else 0,)
    results = [((nnz_factor,), dtype), (pivots, np.int32), (pivots, dtype), ((n,), jnp.finfo(dtype).dtype)]
    flags = {"pivoting": np.bool_(pivoting), "hermitian": np.bool_(hermitian)}
    return SymmetricFactors(*_call_factor(CHOLESKY_FACTOR, tables, data, [*results, ((2,), np.int32)], **flags))


def _call_factor(name: str, tables: NativeTables, data: Array, results: list[Any], **flags: Any) -> Any:
    tables = shared(tables)
    lookup = (tables.fronts, tables.parent_map, tables.entry_source, tables.entry_target, tables.indptr, tables.columns)
    return call(name, results, *lookup, data, **flags)


def solve(
    tables: NativeTables, factors: NativeFactors, rhs: Inexact[Array, " n"], transpose: bool
) -> Inexact[Array, " n"]:
    """`A x = rhs` or `A^T x = rhs`; `rhs` of the factors' type."""
    tables = shared(tables)
    (x,) = call(
        SOLVE,
        [(rhs.shape, rhs.dtype)],
        tables.fronts,
        tables.border,
        tables.parent_map,
        tables.row_order,
        tables.col_order,
        *factors,
        rhs,
        transpose=np.bool_(transpose),
    )
    return x


def solve_symmetric(
    tables: NativeTables, factors: SymmetricFactors, rhs: Inexact[Array, " n"], *, hermitian: bool
) -> Inexact[Array, " n"]:
    """`A x = rhs` from symmetric factors; `rhs` of their type."""
    tables = shared(tables)
    (x,) = call(
        CHOLESKY_SOLVE,
        [(rhs.shape, rhs.dtype)],
        tables.fronts,
        tables.border,
        tables.parent_map,
        tables.col_order,
        *factors[:-1],
        rhs,
        hermitian=np.bool_(hermitian),
    )
    return x


def invert_symmetric(tables: NativeTables, size: int, factors: SymmetricFactors) -> Inexact[Array, " size"]:
    """Entries of the inverse of the scaled matrix on the pattern of its Cholesky factor, front after front."""
    tables = shared(tables)
    results = [((size,), factors.blocks.dtype)]
    (inverse,) = call(CHOLESKY_INVERSE, results, tables.fronts, tables.parent_map, factors.blocks)
    return inverse
