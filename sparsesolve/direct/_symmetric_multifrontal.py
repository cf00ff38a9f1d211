"""Numeric factorization of one triangle in plain JAX: loops over chunks of equal fronts, as `_multifrontal`. Traced.

Only lower triangles of fronts are collected. Eliminating the pivots `1` of a front `F = [[F11, .], [L, F22]]` leaves
the lower triangle of `S = F22 - L (F11^-1 L^H)` for its parent. Stored are `F11^-1` and `L`, half of an LU's blocks:

    z = t1,  u = t2 - L F11^-1 z     leaves to root,     x1 = F11^-1 (z - L^H x2)     root to leaves,

with `L^T` for `L^H` where the matrix is symmetric and not Hermitian. Pivot blocks of definite matrices are factorized
by Cholesky; where that fails, shifted by `tiny`, which mends a semidefinite block; and where that fails too, the block
counts as not definite and the identity stands in. Indefinite blocks are inverted by `block_inverse`.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Inexact, Int, Real

from sparsesolve.direct._blockinverse import block_inverse
from sparsesolve.direct._buckets import Bucket
from sparsesolve.direct._multifrontal import add_at, assemble, at, dot, matvec, matvec_transposed, over_chunks
from sparsesolve.direct._tables import BucketTables, Sizes, Tables


def _mirror(lower: Array, hermitian: bool) -> Array:
    """The whole of blocks of which the lower triangles are given."""
    strict = jnp.tril(lower, -1)
    return jnp.tril(lower) + jnp.swapaxes(jnp.conj(strict) if hermitian else strict, 1, 2)


def _from_cholesky(lower: Array, ok: Array) -> Array:
    """Inverses of `L L^H`, and identities where it is not `ok`."""
    eye = jnp.broadcast_to(jnp.eye(lower.shape[-1], dtype=lower.dtype), lower.shape)
    lower = jnp.where(ok[:, None, None], lower, eye)
    half = lax.linalg.triangular_solve(lower, eye, left_side=True, lower=True)
    return dot(jnp.swapaxes(jnp.conj(half), 1, 2), half)


def definite_inverse(blocks: Inexact[Array, "batch k k"], tiny: Real[Array, ""]) -> tuple[Array, Int[Array, 2]]:
    """Inverses of Hermitian blocks, and how many were not definite, how many semidefinite to rounding."""

    def attempt(shift: Any) -> tuple[Array, Array]:
        shifted = blocks + shift * jnp.eye(blocks.shape[-1], dtype=blocks.dtype)[None]
        lower = lax.linalg.cholesky(shifted, symmetrize_input=False)
        return lower, jnp.isfinite(jnp.abs(lower)).all((1, 2))

    lower, ok = attempt(jnp.zeros_like(tiny))

    def shifted() -> tuple[Array, Array]:
        second, well = attempt(tiny)
        inverse = _from_cholesky(jnp.where(ok[:, None, None], lower, second), ok | well)
        return inverse, jnp.stack([jnp.sum(~(ok | well)), jnp.sum(~ok & well)]).astype(jnp.int32)

    def plain() -> tuple[Array, Array]:
        return _from_cholesky(lower, ok), jnp.zeros(2, jnp.int32)

    return lax.cond(jnp.all(ok), plain, shifted)


def _extend_add_lower(pool: Array, schur: Array, tables: BucketTables, q: Array) -> Array:
    """Adds the lower triangles of Schur complements to the parents' fronts."""
    i, j = np.tril_indices(schur.shape[-1])
    place = at(tables.parent_row, q)[:, i] + at(tables.parent_col, q)[:, j]
    return add_at(pool, place.reshape(-1), schur[:, i, j].reshape(-1))


@functools.partial(jax.jit, static_argnums=(0, 1, 5, 6))
def factorize_symmetric(
    buckets: tuple[Bucket, ...],
    sizes: Sizes,
    tables: Tables,
    data: Inexact[Array, " lower"],
    tiny: Real[Array, ""],
    definite: bool,
    hermitian: bool,
) -> tuple[Inexact[Array, " factor"], Int[Array, 2]]:
    """All factors in one flat array, chunk after chunk: inverse pivot blocks and `L`; and what was found."""
    values = jnp.concatenate([data, jnp.ones(1, data.dtype)])

    def body(c: int, q: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        factors, pool, found = state
        bucket, mine = buckets[c], tables.buckets[c]
        k = bucket.k
        front = assemble(pool, values, bucket, mine, q)
        block = _mirror(front[:, :k, :k], hermitian)
        if definite:
            inverse, new = definite_inverse(block, tiny)
            found = found + new
        else:
            inverse = block_inverse(block, tiny)
        parts = [inverse.reshape(-1)]
        if bucket.m:
            lower = front[:, k:, :k]
            parts += [lower.reshape(-1)]
            right = jnp.swapaxes(jnp.conj(lower) if hermitian else lower, 1, 2)
            pool = _extend_add_lower(pool, front[:, k:, k:] - dot(lower, dot(inverse, right)), mine, q)
            if not bucket.leaf:  # after the addition, as in `_multifrontal.factorize`
                clean = jnp.zeros(front.size, pool.dtype)
                pool = lax.dynamic_update_slice_in_dim(pool, clean, mine.pool_start[q], 0)
        factors = lax.dynamic_update_slice_in_dim(factors, jnp.concatenate(parts), mine.factor_start[q], 0)
        return factors, pool, found

    found = jnp.full(2, 0 if definite else -1, jnp.int32)  # pivots of indefinite blocks are not counted
    state = (jnp.zeros(sizes.factor, data.dtype), jnp.zeros(sizes.pool, data.dtype), found)
    factors, _, found = over_chunks(tables.levels, len(buckets), body, state)
    return factors, found


@functools.partial(jax.jit, static_argnums=(0, 1, 5))
def solve_symmetric(
    buckets: tuple[Bucket, ...],
    sizes: Sizes,
    tables: Tables,
    factors: Inexact[Array, " factor"],
    rhs: Inexact[Array, " n"],
    hermitian: bool,
) -> Inexact[Array, " n"]:
    """`A x = rhs`: leaves to root, then root to leaves."""
    zero = jnp.zeros(1, rhs.dtype)
    slotted = jnp.concatenate([jnp.concatenate([rhs, zero])[tables.slot_col], zero])

    def blocks(c: int, q: Array, y: Array) -> tuple[Array, Array, Array, Array]:
        bucket, mine = buckets[c], tables.buckets[c]
        b, k, m = bucket.batch, bucket.k, bucket.m
        inverse, lower = jnp.split(lax.dynamic_slice_in_dim(factors, mine.factor_start[q], bucket.entries), [b * k * k])
        z = lax.dynamic_slice_in_dim(y, mine.slot_start[q], b * k).reshape(b, k)
        return inverse.reshape(b, k, k), lower.reshape(b, m, k), z, at(mine.border_slot, q)

    def forward(c: int, q: Array, y: Array) -> Array:
        inverse, lower, z, border = blocks(c, q, y)
        if not buckets[c].m:
            return y
        return add_at(y, border.reshape(-1), -matvec(lower, matvec(inverse, z)).reshape(-1))

    def backward(c: int, q: Array, x: Array) -> Array:
        inverse, lower, z, border = blocks(c, q, x)
        if buckets[c].m:
            z = z - matvec_transposed(jnp.conj(lower) if hermitian else lower, x[border])
        z = matvec(inverse, z)
        return lax.dynamic_update_slice_in_dim(x, z.reshape(-1), tables.buckets[c].slot_start[q], 0)

    slotted = over_chunks(tables.levels, len(buckets), forward, slotted)
    slotted = slotted.at[-1].set(0)  # padded border rows read zero
    slotted = over_chunks(tables.levels, len(buckets), backward, slotted, reverse=True)
    return slotted[tables.col_slot]
