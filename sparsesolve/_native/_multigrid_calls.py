"""The multigrid kernels as JAX functions (traced; batches as in `_calls.py`), and greedy aggregation (host-side)."""

from __future__ import annotations

import ctypes
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Real

from sparsesolve._native._call import call
from sparsesolve._native._load import CHEBYSHEV_SWEEP, CSR_PRODUCT, GALERKIN, library, require
from sparsesolve._native._shared import shared


def csr_product(
    indptr: Any, indices: Any, values: Inexact[Array, " nnz"], v: Inexact[Array, " n"], size: int, *, transpose: bool
) -> Inexact[Array, " size"]:
    """`A v` or `A^T v`; both of one type."""
    tables, flags = shared((indptr, indices)), {"transpose": np.bool_(transpose)}
    (product,) = call(CSR_PRODUCT, [((size,), values.dtype)], *tables, values, v, **flags)
    return product


def chebyshev_sweep(
    indptr: Any,
    indices: Any,
    values: Inexact[Array, " nnz"],
    inverse_diagonal: Inexact[Array, " n"],
    interval: tuple[Real[Array, ""], Real[Array, ""]],
    b: Inexact[Array, " n"],
    x: Inexact[Array, " n"] | None,
    *,
    degree: int,
    residual: bool,
) -> tuple[Inexact[Array, " n"], Inexact[Array, " rest"]]:
    """One sweep for `A x = b`, from zero without `x`; and `b - A x` afterwards, or nothing of length 0."""
    n = inverse_diagonal.shape[0]
    results = [((size,), values.dtype) for size in (n, n if residual else 0)]
    start = jnp.zeros((0,), values.dtype) if x is None else x
    flags = {"degree": np.int64(degree), "from_zero": np.bool_(x is None), "residual": np.bool_(residual)}
    operands = (*shared((indptr, indices)), values, inverse_diagonal, *interval, b, start)
    swept, rest = call(CHEBYSHEV_SWEEP, results, *operands, **flags)
    return swept, rest


def galerkin_product(
    tables: tuple[Any, ...],
    a: Inexact[Array, " nnz"],
    p: Inexact[Array, " entries"],
    rt: Inexact[Array, " entries"],
    size: int,
) -> Inexact[Array, " size"]:
    """Values of `R A P`; `tables` are row starts and columns of `A`, of `P` (and `R^T`), and of the product."""
    (product,) = call(GALERKIN, [((size,), a.dtype)], *shared(tables), a, p, rt)
    return product


def aggregate_greedily(indptr: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, int]:
    """Aggregates of a symmetric graph without loops; the labels, -1 for nodes without neighbours, and their number."""
    require()
    function = ctypes.CDLL(str(library().path)).sparsesolve_aggregate
    function.restype = ctypes.c_int32
    indptr, indices = np.ascontiguousarray(indptr, np.int32), np.ascontiguousarray(indices, np.int32)
    if indptr[0] != 0 or indptr[-1] != indices.size:
        raise ValueError("aggregate_greedily got row starts that do not fit the columns.")
    label = np.empty(indptr.size - 1, np.int32)
    pointers = (ctypes.c_void_p(array.ctypes.data) for array in (indptr, indices, label))
    count = function(ctypes.c_int32(label.size), *pointers)
    if count < 0:
        raise ValueError("aggregate_greedily got a node outside the graph." if count == -1 else "no memory.")
    return label, int(count)
