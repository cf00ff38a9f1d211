"""The multifrontal sparse LU on compiled CPU kernels: plan and index tables. Host-side; the kernels are in `_native`.

Ordering and fronts are those of the portable plan; only the tables differ. Factors of a front are `k^2 + 2 k m`
entries: the pivot block, `L` and `U` transposed, each column-major (`_native/src/front.h`).
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Inexact

from sparsesolve import _native
from sparsesolve.direct import _ordering
from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._fronts import Fronts, FrontStatistics, analyze, lu_entries
from sparsesolve.direct._linear_solve import solve_linear
from sparsesolve.direct._memory import check_entries, stack_entries
from sparsesolve.direct._scaling import on_device
from sparsesolve.pattern import SparsityPattern


class NativeMultifrontalPlan(AbstractDirectPlan):
    """Symbolic multifrontal LU with restricted pivoting, factorized and solved by compiled code on the CPU.

    Args:
        pattern: square, structurally nonsingular.
        matching: `(n,)` row of the matrix to put at each diagonal position.
        order: `(n,)` elimination order of the matched matrix; nested dissection if not given.

    Raises:
        ValueError: the factors would not fit in memory.
    """

    kind = "multifrontal"
    backend = "native"

    def __init__(self, pattern: SparsityPattern, matching: np.ndarray, order: np.ndarray | None = None):
        self.pattern = pattern
        self.choices = (matching.tobytes(), None if order is None else order.tobytes())
        graph = _ordering.matched_adjacency(pattern, matching)
        order = _ordering.nested_dissection(graph) if order is None else order
        fronts = analyze(graph, order, leaf=4, cost=native_front_time)
        self.num_fronts, self.num_levels, self.nnz_factor, self.flops, self.time = FrontStatistics.of(
            fronts, lu_entries, native_front_flops, native_front_time
        )
        self.workspace = stack_entries(fronts.pivots, fronts.border_sizes, fronts.parent)
        check_entries(self.nnz_factor + self.workspace, "factors and working space", pattern)
        check_front_indices(pattern, int(lu_entries(fronts.pivots, fronts.border_sizes).max()))
        self.matching, self.order = matching, fronts.order
        self._host_tables = build_native_tables(fronts, pattern, matching)

    @functools.cached_property
    def tables(self) -> Any:
        """The index tables as device arrays."""
        return on_device(self._host_tables)

    def factor(self, data: Inexact[Array, " nnz"]) -> _native.NativeFactors:
        return _factor(self.nnz_factor, self.tables, data)

    def solve(
        self, factors: _native.NativeFactors, rhs: Inexact[Array, " n *k"], *, transpose: bool = False
    ) -> Inexact[Array, " n *k"]:
        """As in the base class; `rhs` may also be `(n, k)`, solved together."""
        if rhs.ndim == 2:
            return jax.vmap(lambda column: self.solve(factors, column, transpose=transpose), 1, 1)(rhs)
        return _solve(self.tables, factors, rhs, transpose)

    def solve_checked(
        self, factors: _native.NativeFactors | None, data: Array, rhs: Array, *, transpose: bool, limits: _native.Limits
    ) -> _native.CheckedSolution | None:
        factors = self.factor(data) if factors is None else factors
        if not factors.blocks.dtype == data.dtype == rhs.dtype:
            return None
        return _solve_checked(self.tables, factors, data, rhs, transpose, limits)


def native_front_flops(k: Any, m: Any) -> Any:
    """Floating-point operations of a front: LU of the pivot block, two triangular solves, one product."""
    return 2.0 / 3.0 * k * k * k + 2.0 * k * k * m + 2.0 * k * m * m


def native_front_time(k: Any, m: Any) -> Any:
    """Estimated nanoseconds of a front, fitted on 2-D and 3-D grids and chains: fixed part, entries cleared, added and
    copied, operations at 20 GF/s, and factors read again by a few solves."""
    return 100.0 + 0.5 * (k * k + 2 * k * m + 2 * m * m) + 0.05 * native_front_flops(k, m) + 2.0 * (k * k + 2 * k * m)


@functools.partial(jax.jit, static_argnums=0)
def _factor(nnz_factor: int, tables: Any, data: Array) -> _native.NativeFactors:
    return _native.factor(tables, nnz_factor, data)


@functools.partial(jax.jit, static_argnums=3)
def _solve(tables: Any, factors: _native.NativeFactors, rhs: Array, transpose: bool) -> Array:
    """Solves in the factors' type."""
    return solve_linear(lambda b, t: _native.solve(tables, factors, b, t), factors.blocks.dtype, rhs, transpose)


@functools.partial(jax.jit, static_argnums=(4, 5))
def _solve_checked(
    tables: Any, factors: _native.NativeFactors, data: Array, rhs: Array, transpose: bool, limits: _native.Limits
) -> _native.CheckedSolution:
    return _native.solve_checked(tables, factors, data, rhs, transpose, limits)


def check_front_indices(pattern: SparsityPattern, largest: int) -> None:
    """Refuses a front whose entries cannot be numbered with 32 bits."""
    n = pattern.shape[0]
    if largest >= 2**31:
        raise ValueError(
            f"The largest front of this {n} x {n} matrix has {largest} entries, more than 32-bit indices reach. "
            "Use an iterative solver with a preconditioner."
        )


def build_native_tables(
    fronts: Fronts, pattern: SparsityPattern, matching: np.ndarray, lower: bool = False
) -> _native.NativeTables:
    """Index tables of a matrix whose rows are permuted by `matching` and which is eliminated by `fronts`; with `lower`
    only entries on and below the diagonal in elimination order are read."""
    n = pattern.shape[0]
    row_order, col_order = matching[fronts.order], fronts.order
    row_place, col_place = np.empty(n, np.int64), np.empty(n, np.int64)
    row_place[row_order], col_place[col_order] = np.arange(n), np.arange(n)
    locate = _Locator(fronts)
    border = np.concatenate(fronts.border) if fronts.border else np.zeros(0, np.int64)
    owner = np.repeat(np.arange(fronts.pivots.size), fronts.border_sizes)
    parent_map = locate(fronts.parent[owner], border)
    row, col = row_place[pattern.rows], col_place[pattern.indices]
    read = np.flatnonzero(row >= col) if lower else np.arange(row.size)
    row, col = row[read], col[read]
    front = locate.front_of[np.minimum(row, col)]
    target = _factor_positions(fronts, front, locate(front, row), locate(front, col))
    grouped = np.lexsort((target, front))
    children = np.bincount(fronts.parent[fronts.parent >= 0], minlength=fronts.pivots.size)
    entries = np.bincount(front, minlength=fronts.pivots.size)
    return _native.NativeTables(
        *map(
            _int32,
            (
                np.stack([fronts.pivots, fronts.border_sizes, children, entries], axis=1),
                border,
                parent_map,
                read[grouped],
                target[grouped],
                pattern.indptr,
                pattern.indices,
                row_order,
                col_order,
            ),
        )
    )


class _Locator:
    """Where a place is among the rows of a front: pivots first, then the border."""

    def __init__(self, fronts: Fronts):
        n = fronts.order.size
        self.fronts, self.stride = fronts, n
        self.front_of = np.repeat(np.arange(fronts.pivots.size), fronts.pivots)
        sizes = fronts.border_sizes
        self.start = np.concatenate([[0], np.cumsum(sizes)])
        owner = np.repeat(np.arange(sizes.size), sizes)
        border = np.concatenate(fronts.border) if fronts.border else np.zeros(0, np.int64)
        self.keys = owner * n + border  # increasing: fronts in order, borders sorted

    def __call__(self, front: np.ndarray, place: np.ndarray) -> np.ndarray:
        offset = place - self.fronts.first[front]
        pivots = self.fronts.pivots[front]
        beyond = np.flatnonzero(offset >= pivots)
        out = offset.copy()
        found = np.searchsorted(self.keys, front[beyond] * self.stride + place[beyond]) - self.start[front[beyond]]
        out[beyond] = pivots[beyond] + found
        return out


def _factor_positions(fronts: Fronts, front: np.ndarray, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Position in a front's factor block (pivot block, `L`, `U` transposed) of its entry `(row, col)`."""
    k, m = fronts.pivots[front], fronts.border_sizes[front]
    pivot_block = col * k + row
    lower = k * k + col * m + (row - k)
    upper = k * k + k * m + row * m + (col - k)
    return np.where(row >= k, lower, np.where(col >= k, upper, pivot_block))


def _int32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.int32)
