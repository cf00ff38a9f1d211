"""Explicit inverses of batches of small dense blocks, with partial pivoting and perturbation of tiny pivots.

Pivot blocks are inverted once so that every later solve is matrix products only. `P B = L U` by LAPACK (cuSOLVER),
pivots below `tiny` are replaced by `tiny` of the same sign (X. S. Li, J. W. Demmel, SuperLU_DIST, ACM Trans. Math.
Softw. 29 (2003) 110-140, doi:10.1145/779359.779361, section 2), then `B^-1 = U^-1 (L^-1 P)`.
Cost: `2 k^3` a block.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, Real


def perturb(pivot: Inexact[Array, ...], tiny: Real[Array, ""]) -> Inexact[Array, ...]:
    """Replaces pivots smaller than `tiny` by `tiny` in the same direction."""
    size = jnp.abs(pivot)
    direction = jnp.where(size > 0, pivot / jnp.where(size > 0, size, 1), jnp.ones_like(pivot))
    return jnp.where(size < tiny, direction * tiny, pivot)


def block_inverse(blocks: Inexact[Array, "batch k k"], tiny: Real[Array, ""]) -> Inexact[Array, "batch k k"]:
    """Inverses of the blocks, each with rows exchanged for stability."""
    k = blocks.shape[-1]
    if k == 1:
        return 1 / perturb(blocks, tiny)
    lu, _, order = jax.lax.linalg.lu(blocks)
    eye = jnp.eye(k, dtype=blocks.dtype)
    lu = lu + (perturb(jnp.diagonal(lu, axis1=-2, axis2=-1), tiny)[..., :, None] - lu) * eye[None]
    exchanged = (order[..., :, None] == jnp.arange(k)[None, None, :]).astype(blocks.dtype)
    lower = jax.lax.linalg.triangular_solve(lu, exchanged, left_side=True, lower=True, unit_diagonal=True)
    return jax.lax.linalg.triangular_solve(lu, lower, left_side=True, lower=False)
