"""Checked solves by the kernels as JAX functions: refinement, rescue and verdict in one call. Traced; batches as in
`_calls.py`."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Int, Real

from sparsesolve._native._call import call
from sparsesolve._native._calls import NativeFactors, NativeTables, SymmetricFactors
from sparsesolve._native._load import CHECKED, CHOLESKY_CHECKED, SIMPLICIAL_CHECKED, SIMPLICIAL_ONCE
from sparsesolve._native._shared import shared
from sparsesolve._native._simplicial_calls import SimplicialFactors, SimplicialTables


class Limits(NamedTuple):
    """How many refinements and how many steps of GMRES a solve may take."""

    refinements: int
    steps: int


class CheckedSolution(NamedTuple):
    """A solution and how it was found."""

    x: Inexact[Array, " n"]
    backward_error: Real[Array, ""]
    counts: Int[Array, 3]  # refinements, steps of GMRES, status: 0 successful, 1 singular, 2 inaccurate, 3 not finite


def solve_checked(
    tables: NativeTables,
    factors: NativeFactors,
    data: Inexact[Array, " nnz"],
    rhs: Inexact[Array, " n"],
    transpose: bool,
    limits: Limits,
) -> CheckedSolution:
    """`A x = rhs` or `A^T x = rhs` with multifrontal factors of `A` or of a matrix near it; all of one type."""
    t = shared(tables)
    structure = (t.fronts, t.border, t.parent_map, t.row_order, t.col_order, t.indptr, t.columns)
    return _call(CHECKED, (*structure, *factors, data, rhs), limits, transpose=np.bool_(transpose))


def solve_symmetric_checked(
    tables: NativeTables,
    factors: SymmetricFactors,
    data: Inexact[Array, " nnz"],
    rhs: Inexact[Array, " n"],
    hermitian: bool,
    transpose: bool,
    limits: Limits,
) -> CheckedSolution:
    """`A x = rhs`, or `A^T x = rhs` by the residual, with symmetric factors; all of one type."""
    t = shared(tables)
    structure = (t.fronts, t.border, t.parent_map, t.col_order, t.indptr, t.columns)
    operands = (*structure, *factors[:-1], data, rhs)
    flags = {"hermitian": np.bool_(hermitian), "transpose": np.bool_(transpose)}
    return _call(CHOLESKY_CHECKED, operands, limits, **flags)


def simplicial_solve_checked(
    tables: SimplicialTables,
    columns: Int[Array, " nnz"],
    factors: SimplicialFactors | None,
    data: Inexact[Array, " nnz"],
    rhs: Inexact[Array, " n"],
    transpose: bool,
    limits: Limits,
) -> CheckedSolution:
    """`A x = rhs` or `A^T x = rhs` with simplicial factors; `None`: they are made on the way and not kept.

    `columns` are the column indices of the pattern.
    """
    t = shared(tables)
    once = factors is None
    entries = (t.in_source, t.in_row, t.off_source) if once else ()
    pattern = (t.indptr, shared(columns), t.row_order, t.col_order)
    operands = (t.columns, t.l_row, t.u_row, *entries, t.off_row, t.l_runs, t.blocks, *pattern)
    name = SIMPLICIAL_ONCE if once else SIMPLICIAL_CHECKED
    return _call(name, (*operands, *(factors or ()), data, rhs), limits, transpose=np.bool_(transpose))


def _call(name: str, operands: Any, limits: Limits, **flags: Any) -> CheckedSolution:
    rhs = operands[-1]
    results = [(rhs.shape, rhs.dtype), ((), jnp.finfo(rhs.dtype).dtype), ((3,), np.int32)]
    numbers = {"refinements": np.int64(limits.refinements), "steps": np.int64(limits.steps)}
    return CheckedSolution(*call(name, results, *operands, **flags, **numbers))
