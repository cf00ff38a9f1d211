"""Explicit inverses of batches of small dense blocks, with partial pivoting and perturbation of tiny pivots.

Pivot blocks are inverted once so that every later solve is matrix products only. `P B = L U` by LAPACK (cuSOLVER),
pivots below `tiny` are replaced by `tiny` in the same direction (X. S. Li, J. W. Demmel, SuperLU_DIST, ACM Trans. Math.
Softw. 29 (2003) 110-140, doi:10.1145/779359.779361, section 2), then `B^-1 = U^-1 (L^-1 P)`. All of it acts on the
transposes: LAPACK stores columns, JAX rows, and so neither copies. Cost: `2 k^3` a block.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact, Real


def perturb(pivot: Inexact[Array, ...], tiny: Real[Array, ""]) -> Inexact[Array, ...]:
    """Replaces pivots smaller than `tiny` by `tiny` in the same direction."""
    size = jnp.abs(pivot)
    direction = jnp.where(size > 0, pivot / jnp.where(size > 0, size, 1), jnp.ones_like(pivot))
    return jnp.where(size < tiny, direction * tiny, pivot)


def block_inverse(blocks: Inexact[Array, "batch k k"], tiny: Real[Array, ""]) -> Inexact[Array, "batch k k"]:
    """Inverses of the blocks, each with columns exchanged for stability."""
    k = blocks.shape[-1]
    if k == 1:
        return 1 / perturb(blocks, tiny)
    lu, _, order = lax.linalg.lu(jnp.swapaxes(blocks, 1, 2))
    lu = jnp.where(jnp.eye(k, dtype=bool)[None], perturb(lu, tiny), lu)
    exchanged = (order[:, :, None] == jnp.arange(k)[None, None, :]).astype(blocks.dtype)
    lower = lax.linalg.triangular_solve(lu, exchanged, left_side=True, lower=True, unit_diagonal=True)
    inverse = lax.linalg.triangular_solve(lu, lower, left_side=True, lower=False)
    return jnp.swapaxes(inverse, 1, 2)
