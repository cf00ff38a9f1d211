"""The simplicial kernels as JAX functions. Traced; batches as in `_calls.py`."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Real

from sparsesolve._native._call import call
from sparsesolve._native._load import SIMPLICIAL_FACTOR, SIMPLICIAL_SOLVE
from sparsesolve._native._shared import shared


class SimplicialFactors(NamedTuple):
    """`R A = L U` inside diagonal blocks: `L`, `U`, the entries above the blocks, inverse pivots; and row scales."""

    values: Inexact[Array, " factor"]
    row_scale: Real[Array, " n"]


class SimplicialTables(NamedTuple):
    """The plan as the kernels read it; int32. `src/simplicial.h` defines them."""

    columns: np.ndarray  # (n + 1, 8) starts in five tables, chain, columns computed together, rows of their own
    l_row: np.ndarray
    u_row: np.ndarray
    in_source: np.ndarray
    in_row: np.ndarray
    off_source: np.ndarray
    off_row: np.ndarray
    l_runs: np.ndarray  # (runs, 2)
    blocks: np.ndarray  # (blocks + 1,)
    indptr: np.ndarray  # (n + 1,)
    row_order: np.ndarray  # (n,)
    col_order: np.ndarray  # (n,)


def simplicial_factor(tables: SimplicialTables, data: Inexact[Array, " nnz"]) -> SimplicialFactors:
    """Numeric factorization of the matrix with CSR values `data`."""
    t, n = shared(tables), tables.row_order.shape[0]
    size = t.l_row.shape[0] + t.u_row.shape[0] + t.off_row.shape[0] + n
    results = [((size,), data.dtype), ((n,), jnp.finfo(data.dtype).dtype)]
    entries = (t.in_source, t.in_row, t.off_source, t.off_row)
    structure = (t.columns, t.l_row, t.u_row, *entries, t.l_runs, t.indptr, t.row_order)
    return SimplicialFactors(*call(SIMPLICIAL_FACTOR, results, *structure, data))


def simplicial_solve(
    tables: SimplicialTables, factors: SimplicialFactors, rhs: Inexact[Array, " n"], transpose: bool
) -> Inexact[Array, " n"]:
    """`A x = rhs` or `A^T x = rhs`; `rhs` of the factors' type."""
    t = shared(tables)
    structure = (t.columns, t.l_row, t.u_row, t.off_row, t.l_runs, t.blocks, t.row_order, t.col_order)
    flags = {"transpose": np.bool_(transpose)}
    (x,) = call(SIMPLICIAL_SOLVE, [(rhs.shape, rhs.dtype)], *structure, *factors, rhs, **flags)
    return x
