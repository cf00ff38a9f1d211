"""Banded matrices: block Thomas by scans, dense pivoted LU inside the blocks.

In an order of half bandwidth at most `w` the matrix is block tridiagonal with blocks `D_i`, `L_i` (below), `U_i`:

    E_i = (D_i - L_i W_{i-1})^-1,   W_i = E_i U_i

    A x = b:     z_i = E_i (b_i - L_i z_{i-1}),                 x_i = z_i - W_i x_{i+1}
    A^T x = b:   y_i = b_i - W_{i-1}^T y_{i-1},                 x_i = E_i^T (y_i - L_{i+1}^T x_{i+1})

Reference: G. H. Golub, C. F. Van Loan, Matrix Computations, 4th ed. 2013, section 4.5.1.
Cost: `6 n w^2` to factorize, `6 n w` a solve; `n / w` sequential steps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Inexact, Real

from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._blockinverse import block_inverse
from sparsesolve.direct._scaling import LineTables, equilibrate, line_tables, on_device, pivot_threshold
from sparsesolve.pattern import SparsityPattern


class BandedFactors(NamedTuple):
    """Blocks of the factorization and the scales of rows and columns."""

    inverse: Inexact[Array, "blocks w w"]  # E
    upper: Inexact[Array, "blocks w w"]  # W, the last one zero
    lower: Inexact[Array, "blocks w w"]  # L, the first one zero
    row_scale: Real[Array, " n"]
    col_scale: Real[Array, " n"]


class _Tables(NamedTuple):
    lines: LineTables
    blocks: Any  # (blocks, 3, w, w): source of L, D, U; nnz is zero, nnz + 1 is one
    row_order: np.ndarray  # (n,)
    col_order: np.ndarray  # (n,)
    row_place: np.ndarray  # (n,)
    col_place: np.ndarray  # (n,)


class BandedPlan(AbstractDirectPlan):
    """Solves a matrix that has small bandwidth when its rows and columns are taken in the orders given."""

    kind = "banded"

    def __init__(self, pattern: SparsityPattern, row_order: np.ndarray, col_order: np.ndarray, block: int):
        self.pattern = pattern
        self.row_order, self.col_order, self.block = row_order, col_order, block
        self.choices = (block, row_order.tobytes(), col_order.tobytes())
        num = -(-pattern.shape[0] // block)
        self.nnz_factor = 3 * num * block**2
        self.flops = 6.0 * num * block**3

    @functools.cached_property
    def _tables(self) -> Any:
        return on_device(_tables(self.pattern, self.row_order, self.col_order, self.block))

    def factor(self, data: Inexact[Array, " nnz"]) -> BandedFactors:
        return _factor(self._tables, data)

    def solve(
        self, factors: BandedFactors, rhs: Inexact[Array, " n"], *, transpose: bool = False
    ) -> Inexact[Array, " n"]:
        return _solve(self._tables, factors, rhs, transpose)


def _tables(pattern: SparsityPattern, row_order: np.ndarray, col_order: np.ndarray, w: int) -> _Tables:
    n, nnz = pattern.shape[0], pattern.nnz
    num = -(-n // w)
    row_place, col_place = np.empty(n, np.int64), np.empty(n, np.int64)
    row_place[row_order], col_place[col_order] = np.arange(n), np.arange(n)
    row, col = row_place[pattern.rows], col_place[pattern.indices]
    blocks = np.full((num, 3, w, w), nnz)
    blocks[row // w, col // w - row // w + 1, row % w, col % w] = np.arange(nnz)
    pad = np.arange(n - (num - 1) * w, w)
    blocks[-1, 1, pad, pad] = nnz + 1
    orders = (x.astype(np.int32) for x in (row_order, col_order, row_place, col_place))
    return _Tables(line_tables(pattern), blocks.astype(np.int32), *orders)


@jax.jit
def _factor(tables: _Tables, data: Array) -> BandedFactors:
    scaled, row_scale, col_scale = equilibrate(tables.lines, tables.row_order.shape[0], data)
    tiny = pivot_threshold(scaled)
    values = jnp.concatenate([scaled, jnp.asarray([0, 1], data.dtype)])

    def step(above: Array, source: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        lower, main, upper = values[source]
        inverse = block_inverse((main - _dot(lower, above))[None], tiny)[0]
        w = _dot(inverse, upper)
        return w, (inverse, w, lower)

    start = jnp.zeros(tables.blocks.shape[2:], data.dtype)
    _, (inverse, upper, lower) = lax.scan(step, start, tables.blocks)
    return BandedFactors(inverse, upper, lower, row_scale, col_scale)


@functools.partial(jax.jit, static_argnums=3)
def _solve(tables: _Tables, factors: BandedFactors, rhs: Array, transpose: bool) -> Array:
    inverse, upper, lower, before, after = factors
    order, place = tables.row_order, tables.col_place
    if transpose:
        before, after, order, place = after, before, tables.col_order, tables.row_place
    num, w = inverse.shape[:2]
    b = jnp.pad((rhs * before)[order], (0, num * w - rhs.shape[0])).reshape(num, w)
    start = jnp.zeros(w, jnp.result_type(inverse, rhs))
    if transpose:
        y = _sweep(lambda p, off, r: r - _dot(p, off), start, (_shift(upper, 1), b))
        x = _sweep(lambda p, e, off, r: _dot(r - _dot(p, off), e), start, (inverse, _shift(lower, -1), y), reverse=True)
    else:
        z = _sweep(lambda p, e, off, r: _dot(e, r - _dot(off, p)), start, (inverse, lower, b))
        x = _sweep(lambda p, off, r: r - _dot(off, p), start, (upper, z), reverse=True)
    return x.reshape(-1)[place] * after


def _shift(blocks: Array, by: int) -> Array:
    """The blocks moved one place down or up, zero where none is left."""
    zero = jnp.zeros_like(blocks[:1])
    return jnp.concatenate([zero, blocks[:-1]] if by > 0 else [blocks[1:], zero])


def _sweep(advance: Callable[..., Array], start: Array, blocks: tuple[Array, ...], *, reverse: bool = False) -> Array:
    """All values of the recurrence `x <- advance(x, *blocks[i])`."""

    def step(x: Array, row: tuple[Array, ...]) -> tuple[Array, Array]:
        x = advance(x, *row)
        return x, x

    return lax.scan(step, start, blocks, reverse=reverse)[1]


def _dot(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
