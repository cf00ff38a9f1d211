"""Numeric multifrontal LU: factorization and solves as loops over chunks of equal fronts. Traced.

A front holds the pivots `1` and the border `2`: `F = [[F11, F12], [F21, F22]]`, the sum of the matrix entries that
its pivots own and of the Schur complements of its children. Eliminating the pivots leaves
`S = F22 - F21 (F11^-1 F12)` for its parent. Stored are `F11^-1`, `W = F11^-1 F12` and `L = F21`, so both solves, with
`A` and with its transpose, are matrix-vector products alone:

    A x = b:    z = F11^-1 t1,  u = t2 - L z,     then  x1 = z - W x2
    A^T x = b:                  u = t2 - W^T t1,  then  x1 = F11^-T (t1 - L^T x2)

where `t` collects the right-hand side and the updates `u` of the children.

References: I. S. Duff, J. K. Reid, The multifrontal solution of unsymmetric sets of linear equations, SIAM J. Sci.
Stat. Comput. 5 (1984) 633-641, doi:10.1137/0905045. T. A. Davis, Direct Methods for Sparse Linear Systems, SIAM 2006,
chapters 6 and 7. Cost: 25 GF/s in the products on one CPU core; the rest is one gather an entry of a front.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact, Real

from sparsesolve.direct._blockinverse import block_inverse
from sparsesolve.direct._buckets import Bucket
from sparsesolve.direct._tables import BucketTables, Sizes, Tables


def dot(a: Array, b: Array) -> Array:
    """Products of matrices, in full precision on every device."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def matvec(a: Array, x: Array) -> Array:
    """Each matrix of a batch `(b, i, j)` times its vector `(b, j)`."""
    return jnp.einsum("bij,bj->bi", a, x, precision=lax.Precision.HIGHEST)


def matvec_transposed(a: Array, x: Array) -> Array:
    """Each transposed matrix of a batch `(b, i, j)` times its vector `(b, i)`."""
    return jnp.einsum("bij,bi->bj", a, x, precision=lax.Precision.HIGHEST)


def at(table: Array, q: Array) -> Array:
    """Row `q`, a traced number, of a table."""
    return lax.dynamic_index_in_dim(table, q, keepdims=False)


def over_chunks(levels: Array, num_buckets: int, body: Any, state: Any, *, reverse: bool = False) -> Any:
    """Runs `body(bucket number, chunk, state)` over the chunks of all levels, leaves to root or back."""
    num_levels = levels.shape[0]

    def level(i: Array, state: Any) -> Any:
        bounds = at(levels, num_levels - 1 - i if reverse else i)
        for c in range(num_buckets):
            state = lax.fori_loop(bounds[c, 0], bounds[c, 1], functools.partial(body, c), state)
        return state

    return lax.fori_loop(0, num_levels, level, state)


def assemble(pool: Array, values: Array, bucket: Bucket, tables: BucketTables, q: Array) -> Array:
    """The fronts of one chunk, `(batch, size, size)`: what the children added, and the matrix entries."""
    size = bucket.batch * bucket.size**2
    if bucket.leaf:
        front = jnp.zeros(size, values.dtype)
    else:
        front = lax.dynamic_slice_in_dim(pool, tables.pool_start[q], size)
    entries = values[at(tables.entry_source, q)]
    front = add_at(front, at(tables.entry_target, q), entries)
    return front.reshape(bucket.batch, bucket.size, bucket.size)


def _extend_add(pool: Array, schur: Array, tables: BucketTables, q: Array) -> Array:
    """Adds Schur complements to the parents' fronts; rows and columns without a place there are dropped."""
    row, col = at(tables.parent_row, q), at(tables.parent_col, q)
    return add_at(pool, (row[..., :, None] + col[..., None, :]).reshape(-1), schur.reshape(-1))


def add_at(array: Array, index: Array, updates: Array) -> Array:
    """`array.at[index].add(updates)` for flat arrays, out-of-range indices dropped, without index wrapping."""
    numbers = lax.ScatterDimensionNumbers((), (0,), (0,))
    mode = lax.GatherScatterMode.FILL_OR_DROP
    return lax.scatter_add(array, index[:, None], updates, numbers, mode=mode)


@functools.partial(jax.jit, static_argnums=(0, 1))
def factorize(
    buckets: tuple[Bucket, ...], sizes: Sizes, tables: Tables, data: Inexact[Array, " nnz"], tiny: Real[Array, ""]
) -> Inexact[Array, " factor"]:
    """All factors in one flat array, chunk after chunk: inverse pivot blocks, `W`, `L`."""
    values = jnp.concatenate([data, jnp.ones(1, data.dtype)])

    def body(c: int, q: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        factors, pool = state
        bucket, mine = buckets[c], tables.buckets[c]
        k = bucket.k
        front = assemble(pool, values, bucket, mine, q)
        inverse = block_inverse(front[:, :k, :k], tiny)
        parts = [inverse.reshape(-1)]
        if bucket.m:
            lower = front[:, k:, :k]
            upper = dot(inverse, front[:, :k, k:])
            parts += [upper.reshape(-1), lower.reshape(-1)]
            pool = _extend_add(pool, front[:, k:, k:] - dot(lower, upper), mine, q)
            if not bucket.leaf:  # Leave the place clean for the next front. Only after the addition, which depends on
                # the front's values: XLA then knows that they have been read, and needs no copy of the pool.
                clean = jnp.zeros(front.size, pool.dtype)
                pool = lax.dynamic_update_slice_in_dim(pool, clean, mine.pool_start[q], 0)
        return lax.dynamic_update_slice_in_dim(factors, jnp.concatenate(parts), mine.factor_start[q], 0), pool

    state = (jnp.zeros(sizes.factor, data.dtype), jnp.zeros(sizes.pool, data.dtype))
    return over_chunks(tables.levels, len(buckets), body, state)[0]


def _blocks(factors: Array, bucket: Bucket, start: Array) -> tuple[Array, Array, Array]:
    b, k, m = bucket.batch, bucket.k, bucket.m
    chunk = lax.dynamic_slice_in_dim(factors, start, bucket.entries)
    inverse, upper, lower = jnp.split(chunk, [b * k * k, b * k * (k + m)])
    return inverse.reshape(b, k, k), upper.reshape(b, k, m), lower.reshape(b, m, k)


@functools.partial(jax.jit, static_argnums=(0, 1, 5))
def solve(
    buckets: tuple[Bucket, ...],
    sizes: Sizes,
    tables: Tables,
    factors: Inexact[Array, " factor"],
    rhs: Inexact[Array, " n"],
    transpose: bool,
) -> Inexact[Array, " n"]:
    """`A x = rhs` or `A^T x = rhs`: leaves to root, then root to leaves."""
    take, give = (tables.slot_col, tables.row_slot) if transpose else (tables.slot_row, tables.col_slot)
    zero = jnp.zeros(1, rhs.dtype)
    slotted = jnp.concatenate([jnp.concatenate([rhs, zero])[take], zero])

    def forward(c: int, q: Array, y: Array) -> Array:
        bucket, mine = buckets[c], tables.buckets[c]
        start = mine.slot_start[q]
        inverse, upper, lower = _blocks(factors, bucket, mine.factor_start[q])
        z = lax.dynamic_slice_in_dim(y, start, bucket.batch * bucket.k).reshape(bucket.batch, bucket.k)
        if not transpose:
            z = matvec(inverse, z)
            y = lax.dynamic_update_slice_in_dim(y, z.reshape(-1), start, 0)
        if bucket.m:
            update = matvec_transposed(upper, z) if transpose else matvec(lower, z)
            y = add_at(y, at(mine.border_slot, q).reshape(-1), -update.reshape(-1))
        return y

    def backward(c: int, q: Array, x: Array) -> Array:
        bucket, mine = buckets[c], tables.buckets[c]
        start = mine.slot_start[q]
        inverse, upper, lower = _blocks(factors, bucket, mine.factor_start[q])
        z = lax.dynamic_slice_in_dim(x, start, bucket.batch * bucket.k).reshape(bucket.batch, bucket.k)
        if bucket.m:
            border = x[at(mine.border_slot, q)]
            z = z - (matvec_transposed(lower, border) if transpose else matvec(upper, border))
        if transpose:
            z = matvec_transposed(inverse, z)
        return lax.dynamic_update_slice_in_dim(x, z.reshape(-1), start, 0)

    num = len(buckets)
    slotted = over_chunks(tables.levels, num, forward, slotted)
    slotted = slotted.at[-1].set(0)  # padded border rows read zero
    slotted = over_chunks(tables.levels, num, backward, slotted, reverse=True)
    return slotted[give]
