"""Block-diagonal matrices: connected components, grouped by size, inverted in batches.

Cost: `2 s^3` for a component of `s` unknowns, all components of one size in one batched operation.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.csgraph
from jaxtyping import Array, Inexact, Real

from sparsesolve.direct import _ordering
from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._blockinverse import block_inverse
from sparsesolve.direct._scaling import LineTables, equilibrate, line_tables, on_device, pivot_threshold
from sparsesolve.pattern import SparsityPattern


class BlockFactors(NamedTuple):
    """Inverses of the scaled blocks, one `(count, s, s)` array a size, with row and column scales."""

    inverses: tuple[Inexact[Array, "count s s"], ...]
    row_scale: Real[Array, " n"]
    col_scale: Real[Array, " n"]


class _Tables(NamedTuple):
    lines: LineTables
    members: tuple[np.ndarray, ...]  # (count, s) unknowns of the blocks of each size
    source: tuple[np.ndarray, ...]  # (entries,) values of the blocks of each size
    target: tuple[np.ndarray, ...]  # (entries,) where in (count, s, s)
    place: np.ndarray  # (n,) where in the concatenated members each unknown is


def component_sizes(pattern: SparsityPattern) -> np.ndarray:
    """Size of each connected component of the symmetrised pattern."""
    return np.bincount(_components(pattern))


class BlockDiagonalPlan(AbstractDirectPlan):
    """Solves each connected component by its dense inverse."""

    kind = "block diagonal"
    choices = ()

    def __init__(self, pattern: SparsityPattern):
        self.pattern = pattern
        sizes = component_sizes(pattern).astype(float)
        self.nnz_factor = int((sizes**2).sum())
        self.flops = float(2.0 * (sizes**3).sum())

    @functools.cached_property
    def _tables(self) -> Any:
        return on_device(_tables(self.pattern))

    def factor(self, data: Inexact[Array, " nnz"]) -> BlockFactors:
        return _factor(self._tables, data)

    def solve(
        self, factors: BlockFactors, rhs: Inexact[Array, " n"], *, transpose: bool = False
    ) -> Inexact[Array, " n"]:
        return _solve(self._tables, factors, rhs, transpose)


def _components(pattern: SparsityPattern) -> np.ndarray:
    graph = _ordering.adjacency(pattern.rows, pattern.indices, pattern.shape[0])
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1]


def _tables(pattern: SparsityPattern) -> _Tables:
    label = _components(pattern)
    size = np.bincount(label)
    order = np.lexsort((np.arange(label.size), label, size[label]))  # components of one size together
    sizes, counts = np.unique(size, return_counts=True)
    place = np.empty(label.size, np.int64)
    place[order] = np.arange(label.size)
    members, source, target, start = [], [], [], 0
    for s, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        mine = order[start : start + s * count]
        entries = np.flatnonzero(size[label[pattern.rows]] == s)
        row, col = place[pattern.rows[entries]] - start, place[pattern.indices[entries]] - start
        members.append(mine.reshape(count, s).astype(np.int32))
        source.append(entries.astype(np.int32))
        target.append((row * s + col % s).astype(np.int32))
        start += s * count
    return _Tables(line_tables(pattern), tuple(members), tuple(source), tuple(target), place.astype(np.int32))


@jax.jit
def _factor(tables: _Tables, data: Array) -> BlockFactors:
    n = tables.place.shape[0]
    scaled, row_scale, col_scale = equilibrate(tables.lines, n, data)
    tiny = pivot_threshold(scaled) * np.sqrt(np.finfo(data.dtype).eps)  # full pivoting range: perturb only singular
    inverses = []
    for members, source, target in zip(tables.members, tables.source, tables.target, strict=True):
        count, s = members.shape
        blocks = jnp.zeros(count * s * s, data.dtype).at[target].set(scaled[source], unique_indices=True)
        inverses.append(block_inverse(blocks.reshape(count, s, s), tiny))
    return BlockFactors(tuple(inverses), row_scale, col_scale)


@functools.partial(jax.jit, static_argnums=3)
def _solve(tables: _Tables, factors: BlockFactors, rhs: Array, transpose: bool) -> Array:
    before, after = factors.row_scale, factors.col_scale
    if transpose:
        before, after = after, before
    scaled = rhs * before
    product = "cji,cj->ci" if transpose else "cij,cj->ci"
    parts = [
        jnp.einsum(product, inverse, scaled[members], precision=jax.lax.Precision.HIGHEST).reshape(-1)
        for inverse, members in zip(factors.inverses, tables.members, strict=True)
    ]
    return jnp.concatenate(parts)[tables.place] * after
