"""Compressed derivatives: one JVP reads all columns of a colour, one VJP all rows. Values, driven by a static plan.

With the seed matrix `S`, `S[j, c] = 1` where column `j` has colour `c`, the passes compute `G = J S` (and, for coloured
rows, `R J`); colours are disjoint row by row, so each entry of `J` is an entry of `G`
(Curtis, Powell and Reid 1974; Gebremedhin, Manne and Pothen 2005, "What color is your Jacobian?").
Cost: as many passes as colours. Small seeds are constants of the program; large ones, which would take long to compile,
are computed in it from the colours (`colors == c`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsesolve.coloring import VJP_WEIGHT, Coloring, Partition, best_coloring, color, coloring_cost
from sparsesolve.pattern import SparsityPattern

# Up to so many passes are written out one after the other; more are one vmapped pass.
_UNROLLED = 2
# Elements of all seeds together that may be constants.
_MAX_CONSTANT_SEEDS = 2**21
# Rows and columns that are both longer than this call for a bidirectional colouring.
_ARROW = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Passes:
    """The passes that one colouring asks for; `fn` maps a list of arrays to a list of arrays.

    Attributes:
        coloring: of the Jacobian's pattern.
        inputs, outputs: abstract values of what `fn` takes and returns.
        dtype: of the compressed values.
        chunk_size: how many colours are processed at once; `None` for all.
    """

    coloring: Coloring
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    dtype: np.dtype
    chunk_size: int | None = None

    @property
    def length(self) -> int:
        """Entries of the compressed values: JVPs first, then VJPs."""
        coloring = self.coloring
        return coloring.num_column_colors * _total(self.outputs) + coloring.num_row_colors * _total(self.inputs)

    @property
    def has_constant_seeds(self) -> bool:
        """Whether seeds are few enough to be constants of the program.

        XLA then computes what is linear in them while compiling, which makes evaluations of stencils two to four times
        as fast. Compiling takes about 0.5 s for 1e6 elements, more than in proportion beyond.
        """
        coloring = self.coloring
        size = coloring.num_column_colors * _total(self.inputs) + coloring.num_row_colors * _total(self.outputs)
        return self.chunk_size is None and size <= _MAX_CONSTANT_SEEDS

    def tables(self) -> dict[str, list[np.ndarray]]:
        """Colours of each leaf, for `__call__`; nothing where they are constants."""
        return {} if self.has_constant_seeds else self._colors()

    def _colors(self) -> dict[str, list[np.ndarray]]:
        coloring = self.coloring
        tables = {}
        if coloring.num_column_colors:
            tables["columns"] = _leaf_colors(coloring.column_colors, self.inputs)
        if coloring.num_row_colors:
            tables["rows"] = _leaf_colors(coloring.row_colors, self.outputs)
        return tables

    def __call__(self, fn: Callable[..., list[Any]], primals: Sequence[Any], tables: dict[str, list[Any]]) -> list[Any]:
        """The compressed values of `fn`'s Jacobian at `primals`, in pieces whose raveled concatenation they are."""
        parts: list[Any] = []
        tables = self._colors() if self.has_constant_seeds else tables
        if "columns" in tables:
            _, push = jax.linearize(fn, *primals)
            parts += self._run(lambda ts: push(*ts), tables["columns"], self.inputs, self.coloring.num_column_colors)
        if "rows" in tables:
            _, pull = jax.vjp(fn, *primals)
            parts += self._run(pull, tables["rows"], self.outputs, self.coloring.num_row_colors)
        return parts

    def _run(self, apply: Callable[..., Any], colors: list[Any], leaves: Sequence[Any], count: int) -> list[Any]:
        def passed(seeds: Sequence[Any]) -> list[Any]:
            return list(apply([seed.astype(leaf.dtype) for seed, leaf in zip(seeds, leaves, strict=True)]))

        def flat(parts: Sequence[Any]) -> jax.Array:
            return jnp.concatenate([jnp.ravel(part).astype(self.dtype) for part in parts])

        if count == 1 and self._is_full(leaves):
            return list(apply([jnp.ones(leaf.shape, leaf.dtype) for leaf in leaves]))
        if count <= (_UNROLLED if self.chunk_size is None else 1):
            return [part for c in range(count) for part in passed([color == c for color in colors])]
        if self.has_constant_seeds:
            seeds = [np.stack([color == c for c in range(count)]) for color in colors]
            return [jax.vmap(lambda *seeds: flat(passed([jnp.asarray(seed) for seed in seeds])))(*seeds)]

        def one(c: Any) -> jax.Array:
            return flat(passed([color == c for color in colors]))

        every = jnp.arange(count, dtype=colors[0].dtype)
        if self.chunk_size is None or self.chunk_size >= count:
            return [jax.vmap(one)(every)]
        return [jax.lax.map(one, every, batch_size=self.chunk_size)]

    def _is_full(self, leaves: Sequence[Any]) -> bool:
        """Whether every column (or row) is seeded."""
        colors = self.coloring.column_colors if leaves is self.inputs else self.coloring.row_colors
        return colors is not None and int(colors.min(initial=0)) == 0


def choose_coloring(pattern: SparsityPattern, inputs: Sequence[Any], outputs: Sequence[Any]) -> Coloring:
    """The cheapest colouring whose passes are defined: VJPs need all leaves real or all leaves complex."""
    if _is_mixed(inputs, outputs):
        return color(pattern, "column")
    longest_row, longest_column = longest(pattern)
    if longest_row > _ARROW and longest_column > _ARROW:
        return best_coloring(pattern)
    bounds: list[tuple[float, Partition]] = [(longest_row, "column"), (VJP_WEIGHT * longest_column, "row")]
    (_, first), (bound, second) = sorted(bounds)
    best = color(pattern, first)
    if coloring_cost(best) > bound:
        best = min(best, color(pattern, second), key=coloring_cost)
    return best


def quick_coloring(pattern: SparsityPattern, inputs: Sequence[Any], outputs: Sequence[Any]) -> Coloring:
    """A colouring by one greedy pass, for values that are computed once: a few colours more cost less than a search."""
    longest_row, longest_column = longest(pattern)
    if min(longest_row, longest_column) > _ARROW:
        return choose_coloring(pattern, inputs, outputs)
    by_columns = _is_mixed(inputs, outputs) or longest_row <= 2 * longest_column
    return color(pattern, "column" if by_columns else "row", order="natural")


def longest(pattern: SparsityPattern) -> tuple[int, int]:
    """Most entries in a row, and in a column."""
    rows, columns = np.diff(pattern.indptr), np.bincount(pattern.indices, minlength=1)
    return int(rows.max(initial=0)), int(columns.max(initial=0))


def _is_mixed(inputs: Sequence[Any], outputs: Sequence[Any]) -> bool:
    return len({np.dtype(leaf.dtype).kind == "c" for leaf in (*inputs, *outputs)}) > 1


def entry_addresses(pattern: SparsityPattern, coloring: Coloring) -> np.ndarray:
    """Where in the compressed values each entry of the pattern is, int64 `(nnz,)`."""
    rows, cols = pattern.rows.astype(np.int64), pattern.indices.astype(np.int64)
    m, n = pattern.shape
    if coloring.partition == "symmetric":
        return _symmetric_addresses(pattern, np.asarray(coloring.column_colors, np.int64))
    address = np.full(pattern.nnz, -1, np.int64)
    if coloring.num_column_colors:
        address = np.asarray(coloring.column_colors, np.int64)[cols] * m + rows
    if coloring.num_row_colors:
        color = np.asarray(coloring.row_colors, np.int64)[rows]
        pulled = coloring.num_column_colors * m + color * n + cols
        address = np.where(color >= 0, pulled, address)
    return address


def _symmetric_addresses(pattern: SparsityPattern, colors: np.ndarray) -> np.ndarray:
    """Star colouring: H_ij is read where column j is alone of its colour in row i, else as H_ji."""
    rows, cols = pattern.rows.astype(np.int64), pattern.indices.astype(np.int64)
    n, k = pattern.shape[0], int(colors.max(initial=-1)) + 1
    key = rows * max(1, k) + colors[cols]
    alone = np.bincount(key[colors[cols] >= 0], minlength=n * max(1, k))[np.maximum(key, 0)] == 1
    alone &= colors[cols] >= 0
    return np.where(alone, colors[cols] * n + rows, colors[rows] * n + cols)


def _leaf_colors(colors: np.ndarray | None, leaves: Sequence[Any]) -> list[np.ndarray]:
    assert colors is not None
    kind = np.int8 if colors.max(initial=0) < 127 else np.int32
    stops = np.cumsum([0, *(_size(leaf) for leaf in leaves)])
    return [
        np.asarray(colors[a:b], kind).reshape(leaf.shape)
        for a, b, leaf in zip(stops[:-1], stops[1:], leaves, strict=True)
    ]


def _size(leaf: Any) -> int:
    return int(np.prod(leaf.shape, dtype=np.int64))


def _total(leaves: Sequence[Any]) -> int:
    return sum(_size(leaf) for leaf in leaves)
