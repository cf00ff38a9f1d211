"""Equilibration: rows and columns scaled so that the largest entry of each is about one.

On the host, Ruiz' iteration on sample values (D. Ruiz, A scaling algorithm to equilibrate both rows and columns norms
in matrices, RAL-TR-2001-034): `d_r <- d_r / sqrt(max_j |a_ij|)` and the same for columns, which converges to unit
maxima. In traced code, one sweep: rows by their maximum, then columns. Pivots can only be compared with one threshold
after scaling. Scales are powers of two, so that scaling does not round.
Cost: O(nnz) a sweep.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Int, Real

from sparsesolve.pattern import SparsityPattern


class LineTables(NamedTuple):
    """Where the entries of each row and of each column lie in the CSR values; int32."""

    rows: np.ndarray  # (nnz,)
    cols: np.ndarray  # (nnz,)
    transpose_order: np.ndarray  # (nnz,)
    sorted_cols: np.ndarray  # (nnz,) columns in the order of transpose_order


def line_tables(pattern: SparsityPattern) -> LineTables:
    """Tables for `equilibrate`."""
    order = pattern.transpose_order
    return LineTables(pattern.rows, pattern.indices, order, pattern.indices[order])


def ruiz(pattern: SparsityPattern, values: np.ndarray, sweeps: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Row and column scales `(n,)` of sample values, on the host. Empty and zero lines keep scale one."""
    rows, cols = pattern.rows, pattern.indices
    row_scale, col_scale = np.ones(pattern.shape[0]), np.ones(pattern.shape[1])
    size = np.where(np.isfinite(values), np.abs(values), 0.0)
    for _ in range(sweeps):
        scaled = size * row_scale[rows] * col_scale[cols]
        row_max, col_max = np.zeros(pattern.shape[0]), np.zeros(pattern.shape[1])
        np.maximum.at(row_max, rows, scaled)
        np.maximum.at(col_max, cols, scaled)
        row_scale /= np.sqrt(np.where(row_max > 0, row_max, 1.0))
        col_scale /= np.sqrt(np.where(col_max > 0, col_max, 1.0))
    return row_scale, col_scale


def equilibrate(
    tables: LineTables, n: int, data: Inexact[Array, " nnz"]
) -> tuple[Inexact[Array, " nnz"], Real[Array, " n"], Real[Array, " n"]]:
    """Scaled values with row and column scales, traced. NaN and infinite entries do not spread into the scales."""
    size = jnp.abs(data)
    size = jnp.where(jnp.isfinite(size), size, jnp.zeros_like(size))
    row_scale = _scale_of(size, jnp.asarray(tables.rows), n)
    size = size * row_scale[tables.rows]
    col_scale = _scale_of(size[tables.transpose_order], jnp.asarray(tables.sorted_cols), n)
    return data * (row_scale[tables.rows] * col_scale[tables.cols]), row_scale, col_scale


def equilibrate_symmetric(
    rows: Int[Array, " nnz"],
    cols: Int[Array, " nnz"],
    diagonal: Int[Array, " n"],
    data: Inexact[Array, " nnz"],
    definite: bool,
) -> Real[Array, " n"]:
    """Scales `S` of `S A S`, traced: by the diagonal, which bounds the rest of a definite matrix, or in three sweeps by
    the largest entry of each row. `diagonal` says where its entries are, `nnz` where there is none."""
    size = jnp.abs(data)
    size = jnp.where(jnp.isfinite(size), size, jnp.zeros_like(size))
    scale = jnp.ones(diagonal.shape, size.dtype)
    for _ in range(1 if definite else 3):
        if definite:
            largest = jnp.append(size, 0)[diagonal]
        else:
            largest = jnp.zeros_like(scale).at[rows].max(size * scale[cols], indices_are_sorted=True) * scale
        _, exponent = jnp.frexp(jnp.where(largest > 0, largest, jnp.ones_like(largest)))
        scale = scale * jnp.ldexp(jnp.ones_like(largest), -(exponent >> 1))
    return scale


def _scale_of(size: Real[Array, " nnz"], line: Int[Array, " nnz"], n: int) -> Real[Array, " n"]:
    largest = jnp.zeros(n, size.dtype).at[line].max(size, indices_are_sorted=True, mode="promise_in_bounds")
    _, exponent = jnp.frexp(jnp.where(largest > 0, largest, jnp.ones_like(largest)))
    limit = -jnp.finfo(size.dtype).minexp // 2  # the scale of a product of two lines stays finite
    return jnp.ldexp(jnp.ones_like(largest), jnp.clip(-exponent, -limit, limit))


def pivot_threshold(data: Inexact[Array, " nnz"]) -> Real[Array, ""]:
    """Pivots below this are perturbed: the square root of machine epsilon times the largest entry."""
    size = jnp.abs(data)
    largest = jnp.max(jnp.where(jnp.isfinite(size), size, jnp.zeros_like(size)), initial=0)
    return jnp.where(largest > 0, largest, jnp.ones_like(largest)) * jnp.sqrt(jnp.finfo(size.dtype).eps)


def on_device(tables: object) -> object:
    """A pytree of NumPy tables as concrete device arrays, also while tracing."""
    with jax.ensure_compile_time_eval():
        return jax.device_put(tables)
