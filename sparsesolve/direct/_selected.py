"""Chosen entries of the inverse of a positive definite matrix, without the rest of it.

Entries on the pattern of the Cholesky factor follow from each other, roots of the elimination tree first. Front by
front, with `G` = `F21 F11^-1` and `Z22` the entries of the front's border, which its ancestors have made:

    Z21 = -Z22 G,       Z11 = F11^-1 - G^T Z21.

That pattern contains the one of the matrix, so variances and the covariances of unknowns that meet in a residual are
among them. Compiled kernels where they are (`_native/src/cholesky_inverse.cc`), plain JAX otherwise.

References: K. Takahashi, J. Fagan, M. S. Chen, Formation of a sparse bus impedance matrix and its application to short
circuit study, 8th PICA Conference (1973) 63-69. A. M. Erisman, W. F. Tinney, On computing certain elements of the
inverse of a sparse matrix, Commun. ACM 18 (1975) 177-179, doi:10.1145/360680.360704.
Cost: about twice the operations of the factorization; memory: the factors once more, and the borders along a branch.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from sparsesolve import _native
from sparsesolve._cache import BoundedCache
from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._buckets import Bucket
from sparsesolve.direct._cholesky_plan import CholeskyPlan
from sparsesolve.direct._multifrontal import at, dot, over_chunks
from sparsesolve.direct._native_cholesky import NativeCholeskyPlan
from sparsesolve.direct._tables import Sizes, Tables

_inverses = BoundedCache("selected inverses", maxsize=16)


class SelectedInverse:
    """How entries of `A^-1` are found for positive definite matrices `A` of a pattern. Host-side.

    Attributes:
        plan: of the factorization.
    """

    def __init__(self, plan: NativeCholeskyPlan | CholeskyPlan):
        self.plan = plan
        pivots, borders, border, start, lower, widths = (
            _native_blocks(plan) if isinstance(plan, NativeCholeskyPlan) else _portable_blocks(plan)
        )
        n = plan.pattern.shape[0]
        self._place = np.empty(n, np.int64)
        self._place[plan.order] = np.arange(n)
        self._front_of = np.repeat(np.arange(pivots.size), pivots)
        self._pivots, self._first = pivots, np.cumsum(pivots) - pivots
        self._border_start = np.cumsum(borders) - borders
        self._keys = np.append(np.repeat(np.arange(pivots.size), borders) * n + border, np.iinfo(np.int64).max)
        self._start, self._lower, (self._across, self._down) = start, lower, widths
        self.size = plan.sizes.factor if isinstance(plan, CholeskyPlan) else int((pivots * (pivots + borders)).sum())

    def positions(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Where entries `(row, column)` are among `values`, -1 for those that are not."""
        i, j = self._place[rows], self._place[columns]
        first, last = np.minimum(i, j), np.maximum(i, j)
        front = self._front_of[first]
        column, row = first - self._first[front], last - self._first[front]
        inside = row < self._pivots[front]
        key = front * self._place.size + last
        found = np.searchsorted(self._keys, key)
        known = inside | (self._keys[found] == key)
        below = found - self._border_start[front]
        across, down = self._across[front], self._down[front]
        square = self._start[front] + column * across[:, 0] + row * across[:, 1]
        rest = self._lower[front] + column * down[:, 0] + below * down[:, 1]
        return np.where(known, np.where(inside, square, rest), -1)

    def values(self, factors: Any) -> Float[Array, " size"]:
        """All entries that are found, of the inverse of the scaled matrix. Traced."""
        if isinstance(self.plan, NativeCholeskyPlan):
            return _native.invert_symmetric(self.plan.tables, self.size, factors)
        return _invert(self.plan.buckets, self.plan.sizes, self.plan.tables[0], factors.blocks)

    def entries(self, factors: Any, rows: np.ndarray, columns: np.ndarray) -> Float[Array, ...]:
        """Entries of `A^-1` at places of which `positions` knows. Traced."""
        places = self.positions(rows.ravel(), columns.ravel()).reshape(rows.shape)
        assert (places >= 0).all()
        values = self.values(factors).at[places].get(mode="promise_in_bounds")
        return values * factors.scale[rows] * factors.scale[columns]


def selected_inverse(plan: AbstractDirectPlan) -> SelectedInverse:
    """For a plan, or one like it whose factors can be inverted, from a cache where possible."""

    def build() -> SelectedInverse:
        if isinstance(plan, CholeskyPlan) or (isinstance(plan, NativeCholeskyPlan) and _native.available()):
            return SelectedInverse(plan)
        none = np.zeros(0, np.int64)
        kind = NativeCholeskyPlan if _native.available() else CholeskyPlan
        return SelectedInverse(kind(plan.pattern, "positive", none))

    return _inverses.get((plan, _native.available()), build)


def _native_blocks(plan: NativeCholeskyPlan) -> Any:
    """Pivots, border sizes and borders of the fronts; begin of `Z11`, `Z21`, and their strides by column and row."""
    pivots, borders = plan._host_tables.fronts[:, :2].astype(np.int64).T
    sizes = pivots * (pivots + borders)
    start = np.cumsum(sizes) - sizes
    ones = np.ones_like(pivots)
    widths = (np.stack([pivots, ones], 1), np.stack([borders, ones], 1))
    return pivots, borders, plan._host_tables.border.astype(np.int64), start, start + pivots**2, widths


def _portable_blocks(plan: CholeskyPlan) -> Any:
    fronts, schedule = plan.fronts, plan.schedule
    count = fronts.pivots.size
    start, lower, width = (np.zeros(count, np.int64) for _ in range(3))
    top = 0
    for _, c, _, members in schedule.in_order():
        bucket = schedule.buckets[c]
        lane = np.arange(members.size)
        start[members] = top + lane * bucket.k**2
        lower[members] = top + bucket.batch * bucket.k**2 + lane * bucket.m * bucket.k
        width[members] = bucket.k
        top += bucket.entries
    border = np.concatenate([*fronts.border, np.zeros(0, np.int64)]).astype(np.int64)
    strides = np.stack([np.ones_like(width), width], 1)
    return fronts.pivots, fronts.border_sizes, border, start, lower, (strides, strides)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _invert(
    buckets: tuple[Bucket, ...], sizes: Sizes, tables: Tables, factors: Float[Array, " factor"]
) -> Float[Array, " factor"]:
    """The portable form: `Z11` and `Z21` of all fronts where the factors have `F11^-1` and `F21`. The pool of the
    factorization, walked the other way, holds a front's `Z` until its children have read it."""

    def body(c: int, q: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        out, pool = state
        bucket, mine = buckets[c], tables.buckets[c]
        b, k, m = bucket.batch, bucket.k, bucket.m
        start = mine.factor_start[q]
        inverse, lower = jnp.split(lax.dynamic_slice_in_dim(factors, start, bucket.entries), [b * k * k])
        inverse, lower = inverse.reshape(b, k, k), lower.reshape(b, m, k)
        row, column = at(mine.parent_row, q), at(mine.parent_col, q)
        index = row[:, :, None] + column[:, None, :]
        z22 = pool.at[index].get(mode="fill", fill_value=0)  # rows that pad have no place
        z22 = z22.reshape(b, m, m)
        g = dot(lower, inverse)
        z21 = -dot(z22, g)
        z11 = inverse - dot(jnp.swapaxes(g, 1, 2), z21)
        out = lax.dynamic_update_slice_in_dim(out, jnp.concatenate([z11.reshape(-1), z21.reshape(-1)]), start, 0)
        if not bucket.leaf:
            left = jnp.concatenate([z11, z21], 1)
            right = jnp.concatenate([jnp.swapaxes(z21, 1, 2), z22], 1)
            whole = jnp.concatenate([left, right], 2).reshape(-1)
            pool = lax.dynamic_update_slice_in_dim(pool, whole, mine.pool_start[q], 0)
        return out, pool

    state = (jnp.zeros(sizes.factor, factors.dtype), jnp.zeros(max(sizes.pool, 1), factors.dtype))
    return over_chunks(tables.levels, len(buckets), body, state, reverse=True)[0]
