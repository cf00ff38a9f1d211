"""Compressed derivatives: one JVP reads all columns of a colour, one VJP all rows. Values, driven by a static plan.

With the seed matrix `S`, `S[j, c] = 1` where column `j` has colour `c`, the passes compute `G = J S` (and, for coloured
rows, `R J`); colours are disjoint row by row, so each entry of `J` is an entry of `G`
(Curtis, Powell and Reid 1974; Gebremedhin, Manne and Pothen 2005, "What color is your Jacobian?").
Cost: as many passes as colours. Seeds are computed from the colours inside the program (`colors == c`): seeds as
constants would cost memory and compile time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsesolve.coloring import Coloring, best_coloring, color
from sparsesolve.pattern import SparsityPattern

# Up to so many passes are written out one after the other; more are one vmapped pass.
_UNROLLED = 4


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

    def tables(self) -> dict[str, list[np.ndarray]]:
        """Colours of each leaf, for `__call__`."""
        coloring = self.coloring
        tables = {}
        if coloring.num_column_colors:
            tables["columns"] = _leaf_colors(coloring.column_colors, self.inputs)
        if coloring.num_row_colors:
            tables["rows"] = _leaf_colors(coloring.row_colors, self.outputs)
        return tables

    def __call__(self, fn: Callable[..., list[Any]], primals: Sequence[Any], tables: dict[str, list[Any]]) -> Any:
        """The flat compressed values of `fn`'s Jacobian at `primals`."""
        parts: list[Any] = []
        if "columns" in tables:
            _, push = jax.linearize(fn, *primals)
            parts += self._run(lambda ts: push(*ts), tables["columns"], self.inputs, self.coloring.num_column_colors)
        if "rows" in tables:
            _, pull = jax.vjp(fn, *primals)
            parts += self._run(pull, tables["rows"], self.outputs, self.coloring.num_row_colors)
        return join(parts, self.dtype)

    def _run(self, apply: Callable[..., Any], colors: list[Any], leaves: Sequence[Any], count: int) -> list[Any]:
        def one(color: Any) -> Any:
            seeds = [(c == color).astype(leaf.dtype) for c, leaf in zip(colors, leaves, strict=True)]
            return join([out for out in apply(seeds)], self.dtype)

        if count == 1 and all(c.size == 0 or int(np.min(c)) == 0 for c in self._static_colors(leaves)):
            return list(apply([jnp.ones(leaf.shape, leaf.dtype) for leaf in leaves]))
        kind = np.asarray(colors[0]).dtype if isinstance(colors[0], np.ndarray) else colors[0].dtype
        if count <= (_UNROLLED if self.chunk_size is None else 1):
            return [one(np.asarray(c, kind)) for c in range(count)]
        every = jnp.arange(count, dtype=kind)
        if self.chunk_size is None or self.chunk_size >= count:
            return [jax.vmap(one)(every)]
        return [jax.lax.map(one, every, batch_size=self.chunk_size)]

    def _static_colors(self, leaves: Sequence[Any]) -> list[np.ndarray]:
        flat = self.coloring.column_colors if leaves is self.inputs else self.coloring.row_colors
        return _leaf_colors(flat, leaves)


def choose_coloring(pattern: SparsityPattern, inputs: Sequence[Any], outputs: Sequence[Any]) -> Coloring:
    """The cheapest colouring whose passes are defined: VJPs need all leaves real or all leaves complex."""
    kinds = {np.dtype(leaf.dtype).kind == "c" for leaf in (*inputs, *outputs)}
    return best_coloring(pattern) if len(kinds) <= 1 else color(pattern, "column")


def join(parts: Sequence[Any], dtype: Any) -> Any:
    """The concatenation of raveled arrays, as updates in place.

    XLA's CPU back end gathers from a `concatenate` three times as slowly as from this (measured at 2e5 entries).
    """
    flat = [jnp.ravel(part).astype(dtype) for part in parts if part.size]
    if not flat:
        return jnp.zeros((0,), dtype)
    if len(flat) == 1:
        return flat[0]
    out = jnp.zeros((sum(part.size for part in flat),), dtype)
    start = 0
    for part in flat:
        out = jax.lax.dynamic_update_slice(out, part, (start,))
        start += part.size
    return out


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
