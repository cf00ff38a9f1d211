"""The simplicial sparse LU on compiled CPU kernels: plan and index tables. Host-side; the kernels are in `_native`.

For factors with little fill (chains, circuits, chemistry) and for batches: every entry has its place in a fixed
structure, nothing is searched for and no dense front is assembled. Under `vmap` the members of a batch are
eliminated side by side, an operation on all of them at once (`_native/src/simplicial_factor.cc`).
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Inexact

from sparsesolve import _native
from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._cost import simplicial_time
from sparsesolve.direct._linear_solve import solve_linear
from sparsesolve.direct._memory import check_entries
from sparsesolve.direct._scaling import on_device
from sparsesolve.direct._simplicial_order import BlockOrder, block_order
from sparsesolve.pattern import SparsityPattern

_LONG_RUN = 3.0  # mean length from which rows of L are better visited as runs


class SimplicialPlan(AbstractDirectPlan):
    """Symbolic LU of the diagonal blocks of the block triangular form, factorized and solved by compiled code.

    Args:
        pattern: square, structurally nonsingular.
        matching: `(n,)` row of the matrix to put at each diagonal position.
        order: a block triangular order of the matched matrix; found here if not given.

    Raises:
        ValueError: the factors would not fit in memory.
    """

    kind = "simplicial"
    backend = "native"

    def __init__(self, pattern: SparsityPattern, matching: np.ndarray, order: BlockOrder | None = None):
        self.pattern, self.matching = pattern, matching
        self.choices = (matching.tobytes(), None if order is None else order.order.tobytes())
        found = block_order(pattern, matching) if order is None else order
        self.order = found.order
        self._host_tables, structure = build_simplicial_tables(pattern, matching, found)
        l, u = np.diff(structure.l_start), np.diff(structure.u_start)
        self.num_blocks = int(found.block.max(initial=-1)) + 1
        updates = float(l[structure.u_row].sum())
        self.nnz_factor = int(l.sum() + u.sum()) + self._host_tables.off_row.size + pattern.shape[0]
        self.flops = 2.0 * updates + float(l.sum())
        self.time = simplicial_time(pattern.shape[0], pattern.nnz, self.nnz_factor, updates)
        check_entries(self.nnz_factor, "factors", pattern)

    @functools.cached_property
    def tables(self) -> Any:
        """The index tables as device arrays."""
        return on_device(self._host_tables)

    def factor(self, data: Inexact[Array, " nnz"]) -> _native.SimplicialFactors:
        return _factor(self.tables, data)

    def solve(
        self, factors: _native.SimplicialFactors, rhs: Inexact[Array, " n *k"], *, transpose: bool = False
    ) -> Inexact[Array, " n *k"]:
        """As in the base class; `rhs` may also be `(n, k)`, solved together."""
        if rhs.ndim == 2:
            return jax.vmap(lambda column: self.solve(factors, column, transpose=transpose), 1, 1)(rhs)
        return _solve(self.tables, factors, rhs, transpose)

    def solve_checked(
        self,
        factors: _native.SimplicialFactors | None,
        data: Array,
        rhs: Array,
        *,
        transpose: bool,
        limits: _native.Limits,
    ) -> _native.CheckedSolution | None:
        if data.dtype != rhs.dtype or (factors is not None and factors.values.dtype != rhs.dtype):
            return None
        return _solve_checked(self.tables, self._columns, factors, data, rhs, transpose, limits)

    @functools.cached_property
    def _columns(self) -> Any:
        return on_device(np.asarray(self.pattern.indices, np.int32))


@jax.jit
def _factor(tables: Any, data: Array) -> _native.SimplicialFactors:
    return _native.simplicial_factor(tables, data)


@functools.partial(jax.jit, static_argnums=3)
def _solve(tables: Any, factors: _native.SimplicialFactors, rhs: Array, transpose: bool) -> Array:
    def apply(b: Array, transposed: bool) -> Array:
        return _native.simplicial_solve(tables, factors, b, transposed)

    return solve_linear(apply, factors.values.dtype, rhs, transpose)


@functools.partial(jax.jit, static_argnums=(5, 6))
def _solve_checked(
    tables: Any, columns: Any, factors: Any, data: Array, rhs: Array, transpose: bool, limits: _native.Limits
) -> _native.CheckedSolution:
    return _native.simplicial_solve_checked(tables, columns, factors, data, rhs, transpose, limits)


def build_simplicial_tables(
    pattern: SparsityPattern, matching: np.ndarray, found: BlockOrder
) -> tuple[_native.SimplicialTables, _native.LUStructure]:
    """Index tables of a matrix in block triangular order, and the structure of its factors."""
    n = pattern.shape[0]
    row_order, col_order = matching[found.order], found.order
    row_place, col_place = np.empty(n, np.int64), np.empty(n, np.int64)
    row_place[row_order], col_place[col_order] = np.arange(n), np.arange(n)
    row, col = row_place[pattern.rows], col_place[pattern.indices]
    source = np.lexsort((row, col))
    row, col = row[source], col[source]
    inside = found.block[row] == found.block[col]
    in_start, off_start = _starts(col[inside], n), _starts(col[~inside], n)
    structure, together, own = _native.group_columns(_structure(in_start, row[inside]), found.block)
    chain = _chains(structure, found.block)
    run_start, runs = _runs(structure)
    sizes = (np.append(x, 1) for x in (chain, together, own))
    starts = (structure.l_start, structure.u_start, in_start, off_start, run_start, *sizes)
    blocks = _starts(found.block, int(found.block.max(initial=-1)) + 1)
    tables = (
        np.stack(starts, axis=1),
        structure.l_row,
        structure.u_row,
        source[inside],
        row[inside],
        source[~inside],
        row[~inside],
        runs,
        blocks,
        pattern.indptr,
        row_order,
        col_order,
    )
    return _native.SimplicialTables(*(np.ascontiguousarray(table, np.int32) for table in tables)), structure


def _structure(start: np.ndarray, row: np.ndarray) -> _native.LUStructure:
    most = max(64, 4 * row.size)
    while (structure := _native.symbolic_lu(start, row, most)) is None:
        most *= 4
    return structure


def _starts(line: np.ndarray, count: int) -> np.ndarray:
    """Where each line begins among sorted line numbers."""
    return np.searchsorted(line, np.arange(count + 1))


def _chains(structure: _native.LUStructure, block: np.ndarray) -> np.ndarray:
    """For each column of `L` how many columns from it on each have the structure of the next one plus its pivot."""
    start, row = structure.l_start, structure.l_row
    length = np.diff(start)
    follows = (length[:-1] == length[1:] + 1) & (block[:-1] == block[1:])
    columns = np.flatnonzero(follows)
    columns = columns[row[start[columns]] == columns + 1]
    columns = columns[_equal(row, start[columns] + 1, start[columns + 1], length[columns + 1])]
    chain = np.ones(length.size, np.int64)
    for k in columns[::-1].tolist():
        chain[k] = chain[k + 1] + 1
    return chain


def _equal(row: np.ndarray, first: np.ndarray, second: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Whether the stretches of `row` from `first` and from `second` on, of the lengths given, are the same."""
    owner = np.repeat(np.arange(length.size), length)
    offset = np.arange(owner.size) - np.repeat(np.cumsum(length) - length, length)
    differs = row[first[owner] + offset] != row[second[owner] + offset]
    return np.bincount(owner[differs], minlength=length.size) == 0


def _runs(structure: _native.LUStructure) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the columns of `L` as runs of consecutive ones; none if they are too short to pay."""
    start, row = structure.l_start, structure.l_row
    n = start.size - 1
    if row.size == 0:
        return np.zeros(n + 1, np.int64), np.zeros((0, 2), np.int64)
    column = np.repeat(np.arange(n), np.diff(start))
    begins = np.concatenate([[True], (row[1:] != row[:-1] + 1) | (column[1:] != column[:-1])])
    first = np.flatnonzero(begins)
    length = np.diff(np.append(first, row.size))
    if length.mean() < _LONG_RUN:
        return np.zeros(n + 1, np.int64), np.zeros((0, 2), np.int64)
    return _starts(column[first], n), np.stack([row[first], length], axis=1)
