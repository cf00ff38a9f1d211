"""Inverses of many small dense blocks by Gauss-Jordan elimination, the batch innermost. Traced.

Unrolled over the columns: elementwise arithmetic on arrays of shape `(s, s, count)`, which vectorises on every device
and needs no LAPACK call. Rows are exchanged (partial pivoting) by selection. Reference: N. J. Higham, Accuracy and
Stability of Numerical Algorithms, SIAM 2002, section 14.4. Cost: `2 s^3` operations a block.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact


def small_inverses(
    blocks: Inexact[Array, "s s count"],
) -> tuple[Inexact[Array, "s s count"], Bool[Array, " count"]]:
    """Inverses, and which blocks had one; the numbers of the others mean nothing but are finite or NaN.

    A block counts as singular when a pivot is below `s eps` times its largest entry, or when it is not finite.
    """
    s = blocks.shape[0]
    largest = jnp.max(jnp.abs(blocks), axis=(0, 1))
    threshold = s * jnp.finfo(blocks.dtype).eps * largest
    regular = jnp.isfinite(largest) & (largest > 0)
    identity = jnp.broadcast_to(jnp.eye(s, dtype=blocks.dtype)[:, :, None], blocks.shape)
    work = jnp.concatenate([blocks, identity], axis=1)  # rows of [B | I]
    rows = jnp.arange(s)[:, None]
    for k in range(s):
        size = jnp.where(rows >= k, jnp.abs(work[:, k]), -1.0)
        chosen = rows == jnp.argmax(size, axis=0)[None, :]
        pivot_row = jnp.sum(jnp.where(chosen[:, None, :], work, 0), axis=0)
        work = jnp.where(chosen[:, None, :], work[k][None], work)
        pivot = pivot_row[k]
        good = jnp.abs(pivot) > threshold
        regular = regular & good
        pivot_row = pivot_row / jnp.where(good, pivot, 1)[None]
        is_k = (rows == k)[:, None, :]
        work = jnp.where(is_k, pivot_row[None], work - work[:, k][:, None, :] * pivot_row[None])
    inverse = work[:, s:]
    return inverse, regular & jnp.all(jnp.isfinite(inverse), axis=(0, 1))
