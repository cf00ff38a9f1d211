"""Sums of products over static index maps, `out[t] = sum of x[s] y[s']` over the terms of target `t`, inside `jit`.

The map is planned on the host from the target and the sources of each term. Targets with similar numbers of terms share
a bucket, whose sources are a padded table: everything traced is a gather and a sum, with no scatter and no atomic
addition, the same result on every device and run, and a handful of operations to compile whatever the number of
terms (unrolled rows, as in the layouts of `matrix/`, run a little faster and compile 10 times longer). A matrix-vector
product is such a sum too, over entry and column, see `SumsLayout`. Cost: a multiply-add and one index a
factor for each term.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Inexact

from sparsesolve.pattern import SparsityPattern

_BUCKETS = 4


def plan_sums(target: np.ndarray, size: int, *sources: np.ndarray, holes: int) -> Any:
    """The tables of a map of sums.

    Args:
        target: of each term, `(terms,)`.
        size: number of targets.
        sources: index of each factor of each term; where padding reads, the first factor must be zero.
        holes: length of the vectors of the first factor: padding points there, past its end.

    Returns:
        For each bucket one table `(width, targets)` a factor; and where each target's sum is, `()` for as they come.
    """
    starts, order = _sorted(target, size)
    counts = np.diff(starts)
    if target.size == 0:
        return (), np.zeros(size, np.int32)
    widths = bucket_widths(counts)
    bucket = np.searchsorted(widths, counts)
    members = [np.flatnonzero(bucket == b) for b in range(widths.size)]
    tables = []
    for width, targets in zip(widths, members, strict=True):
        at = starts[targets][None, :] + np.arange(width, dtype=np.int32)[:, None]
        hole = np.arange(width)[:, None] >= counts[targets][None, :]
        at[hole] = 0
        term = at if order is None else order[at]
        block = [source.astype(np.int32, copy=False)[term] for source in sources]
        block[0][hole] = holes
        tables.append(tuple(block))
    if len(members) == 1:
        return tuple(tables), ()
    place = np.empty(size, np.int32)
    place[np.concatenate(members)] = np.arange(size, dtype=np.int32)
    return tuple(tables), place


def _sorted(target: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Where each target's terms start, and the order that sorts the terms by target (`None` if they are sorted)."""
    if (target[1:] >= target[:-1]).all():
        return np.searchsorted(target, np.arange(size + 1)).astype(np.int32), None
    terms = np.arange(target.size, dtype=np.int32)
    matrix = scipy.sparse.coo_matrix((terms, (target, terms)), shape=(size, target.size)).tocsr()
    return matrix.indptr, matrix.data


def bucket_widths(counts: np.ndarray, most: int = _BUCKETS) -> np.ndarray:
    """At most `most` widths such that rounding every count up to one of them pads least; by dynamic programming."""
    values, numbers = np.unique(counts, return_counts=True)
    if values.size > 256:  # merge neighbours: exact bookkeeping would pay for nothing
        edges = np.unique(np.quantile(values, np.linspace(0, 1, 257)).astype(values.dtype))
        numbers = np.bincount(np.searchsorted(edges, values), numbers, edges.size)
        values = edges
    total = np.concatenate([[0], np.cumsum(numbers)])
    # cost[j]: of the first j values; the last bucket holds values i..j-1 at width values[j-1].
    cost = np.full(values.size + 1, np.inf)
    cost[0], back = 0, []
    price = np.maximum(values, 1)
    for _ in range(min(most, values.size)):
        options = cost[:-1, None] + (total[None, 1:] - total[:-1, None]) * price[None, :]
        options[np.tril_indices(values.size, -1)] = np.inf
        back.append(np.argmin(options, axis=0))
        cost = np.concatenate([[0 if not back else np.inf], options[back[-1], np.arange(values.size)]])
    widths, j = [], values.size
    for choice in reversed(back):
        if j == 0:
            break
        widths.append(max(1, int(values[j - 1])))
        j = int(choice[j - 1])
    return np.unique(widths)


def sum_products(tables: Any, size: int, *vectors: Inexact[Array, " length"]) -> Inexact[Array, " size"]:
    """The sums of a map for given factors. Traced; linear in each of them."""
    first, *others = vectors
    return sum_arranged(tables, size, arrange_first(tables, first), *others, dtype=first.dtype)


def host_sums(tables: Any, vector: np.ndarray) -> np.ndarray:
    """The sums of a map with one factor, by NumPy."""
    blocks, place = tables
    padded = np.append(vector, vector.dtype.type(0))
    sums = [padded[block[0]].sum(axis=0) for block in blocks]
    found = np.concatenate(sums) if sums else np.zeros(len(place), vector.dtype)
    return found if isinstance(place, tuple) else found[place]


def arrange_first(tables: Any, first: Inexact[Array, " length"]) -> tuple[Inexact[Array, "width targets"], ...]:
    """The first factor of every term, zero for padding."""
    padded = jnp.concatenate([first, jnp.zeros((1,), first.dtype)])
    return tuple(padded.at[block[0]].get(mode="promise_in_bounds") for block in tables[0])


def sum_arranged(
    tables: Any,
    size: int,
    arranged: tuple[Inexact[Array, "width targets"], ...],
    *others: Inexact[Array, "length ..."],
    dtype: Any,
) -> Inexact[Array, "size ..."]:
    """The sums with an arranged first factor; another factor may be a block of columns."""
    blocks, place = tables
    parts = []
    for block, values in zip(blocks, arranged, strict=True):
        for vector, index in zip(others, block[1:], strict=True):
            gathered = vector.at[index].get(mode="promise_in_bounds")
            values = values.reshape(values.shape + (1,) * (gathered.ndim - values.ndim)) * gathered
        parts.append(jnp.sum(values, axis=0))
    if not parts:
        return jnp.zeros((size, *(others[-1].shape[1:] if others else ())), dtype)
    if isinstance(place, tuple):
        return parts[0]
    return jnp.concatenate(parts).at[place].get(mode="promise_in_bounds", unique_indices=True)


@dataclasses.dataclass(frozen=True)
class SumsLayout:
    """A matrix-vector product as a map of sums."""

    rows: int

    def arrange(self, tables: Any, data: Inexact[Array, " nnz"]) -> Any:
        return arrange_first(tables, data)

    def multiply(self, tables: Any, arranged: Any, v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
        return sum_arranged(tables, self.rows, arranged, v, dtype=v.dtype)


def sums_product(pattern: SparsityPattern, *, transpose: bool = False) -> tuple[SumsLayout, Any]:
    """Layout and tables of products `A v`, or `A^T v`, with matrices of a pattern."""
    if not transpose:
        entries = np.arange(pattern.nnz, dtype=np.int32)
        tables = plan_sums(pattern.rows, pattern.shape[0], entries, pattern.indices, holes=pattern.nnz)
        return SumsLayout(pattern.shape[0]), tables
    turned = pattern.T
    tables = plan_sums(turned.rows, turned.shape[0], pattern.transpose_order, turned.indices, holes=pattern.nnz)
    return SumsLayout(turned.shape[0]), tables
