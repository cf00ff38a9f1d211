"""The explicit inverse of a small dense matrix, for the coarsest level of multigrid: applied as one product. Traced.

LU with partial pivoting; a pivot smaller than `sqrt(eps)` of the largest entry is replaced by that, so the coarsest
matrix of a singular problem (pure Neumann conditions) gets a large but finite inverse along its null space.
Cost: `8/3 n^3` once, `2 n^2` an application.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact


def dense_inverse(matrix: Inexact[Array, "n n"]) -> Inexact[Array, "n n"]:
    """`A^-1`, finite for every finite `A`."""
    n, dtype = matrix.shape[0], matrix.dtype
    if n == 0:
        return matrix
    smallest = jnp.sqrt(jnp.finfo(dtype).eps) * jnp.max(jnp.abs(matrix))
    smallest = jnp.where(smallest > 0, smallest, 1).astype(dtype)
    lu, _, order = lax.linalg.lu(matrix)
    pivots = jnp.diagonal(lu)
    safe = jnp.where(jnp.abs(pivots) >= jnp.abs(smallest), pivots, smallest)
    lu = jnp.where(jnp.eye(n, dtype=bool), safe[:, None], lu)
    rows = jnp.eye(n, dtype=dtype)[order]
    lower = lax.linalg.triangular_solve(lu, rows, left_side=True, lower=True, unit_diagonal=True)
    return lax.linalg.triangular_solve(lu, lower, left_side=True, lower=False)
