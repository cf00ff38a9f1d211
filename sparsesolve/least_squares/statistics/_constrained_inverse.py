"""`Z C Z^T`: the covariance of parameters `y = y_b + Z u` from that of the coordinates `u` that constraints leave.

Entries of one block of parameters come from the block of the coordinates they depend on, where these are few; otherwise
from a solve for each parameter, with its row of `Z` on the right-hand side.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from sparsesolve.least_squares.objective._equality import constant
from sparsesolve.least_squares.objective._null_space import CSR
from sparsesolve.least_squares.statistics._sparse_inverse import SparseInverse

_WIDE = 64  # coordinates of a block beyond which its parameters are solved for
_BATCH = 32  # solves at once


def spread_dense(basis: CSR, inverse: Float[Array, "k k"], chosen: np.ndarray, blocks: bool) -> Array:
    """The entries of `Z C Z^T` of chosen parameters from the whole `C`."""
    rows = constant(basis[chosen.ravel()], inverse.dtype)
    image = rows @ inverse
    if not blocks:
        return rows @ image.T
    b, k = chosen.shape
    return image.reshape(b, k, -1) @ jnp.swapaxes(rows.todense().reshape(b, k, -1), 1, 2)


def spread_sparse(basis: CSR, inverse: SparseInverse, chosen: np.ndarray, blocks: bool) -> Array:
    """The same by `inverse`."""
    if not blocks:
        rows = constant(basis[chosen], inverse.dtype)
        return _mapped(basis, inverse, chosen, lambda x, _: rows @ x)
    widths = np.array([np.unique(basis[block].indices).size for block in chosen], dtype=int)
    classes = np.where(widths > _WIDE, 0, 2 ** np.ceil(np.log2(np.maximum(widths, 1))).astype(int))
    values = jnp.zeros((*chosen.shape, chosen.shape[1]), inverse.dtype)
    for width in np.unique(classes):
        which = np.flatnonzero(classes == width)
        part = chosen[which]
        found = _by_blocks(basis, inverse, part, int(width)) if width else _by_solves(basis, inverse, part)
        values = values.at[which].set(found)
    return values


def _by_blocks(basis: CSR, inverse: SparseInverse, chosen: np.ndarray, width: int) -> Array:
    """Blocks of parameters that depend on up to `width` coordinates."""
    support = np.zeros((len(chosen), width), np.int64)
    weights = np.zeros((*chosen.shape, width))
    for i, block in enumerate(chosen):
        rows = basis[block]
        known = np.unique(rows.indices)
        if known.size:
            support[i] = known[np.minimum(np.arange(width), known.size - 1)]
        coo = rows.tocoo()
        weights[i, coo.row, np.searchsorted(known, coo.col)] = coo.data
    w = jnp.asarray(weights, inverse.dtype)
    return w @ inverse.blocks(support) @ jnp.swapaxes(w, 1, 2)


def _by_solves(basis: CSR, inverse: SparseInverse, chosen: np.ndarray) -> Array:
    count, k = chosen.shape
    whole = constant(basis, inverse.dtype)
    found = _mapped(basis, inverse, chosen.ravel(), lambda x, others: (whole @ x)[others], np.repeat(chosen, k, axis=0))
    return found.reshape(count, k, k)


def _mapped(
    basis: Any, inverse: SparseInverse, chosen: np.ndarray, pick: Any, others: np.ndarray | None = None
) -> Array:
    """`pick(C z, ...)` for the rows `z` of the basis that belong to chosen parameters."""
    rows = constant(basis[chosen], inverse.dtype)

    def one(pair: tuple[Array, Array]) -> Array:
        unit = jnp.zeros((len(chosen),), inverse.dtype).at[pair[0]].set(1.0)
        return pick(inverse.times(unit @ rows), pair[1])

    partners = np.zeros((len(chosen), 1), np.int32) if others is None else others
    return lax.map(one, (jnp.arange(len(chosen)), jnp.asarray(partners)), batch_size=_BATCH)
