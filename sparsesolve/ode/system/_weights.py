"""Tolerance weights w = atol + rtol |y| and the norms of v / w by which steps and iterations are judged.

Tolerances are numbers, arrays that broadcast against every leaf of the state, or pytrees like the state with one of
these for each leaf. A complex component has one weight, by its modulus.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import jax.tree_util as jtu
import optimistix as optx
from jaxtyping import Array, Float, PyTree

from sparsesolve.ode.system._real import RealStructure


def tolerance_weights(
    structure: RealStructure, rtol: Any, atol: Any, *states: Float[Array, " n"]
) -> Float[Array, " n"]:
    """`atol + rtol max |y|` over the given states, for every component of the real vector."""
    if _is_scalar(rtol) and _is_scalar(atol) and not any(structure.is_complex):
        size = jnp.abs(states[0])
        for state in states[1:]:
            size = jnp.maximum(size, jnp.abs(state))
        return (atol + rtol * size).astype(structure.dtype)
    trees = [jtu.tree_leaves(structure.unravel(state)) for state in states]
    parts = []
    for k, (r, a) in enumerate(zip(_by_leaf(structure, rtol), _by_leaf(structure, atol), strict=True)):
        size = jnp.abs(trees[0][k])
        for tree in trees[1:]:
            size = jnp.maximum(size, jnp.abs(tree[k]))
        weight = jnp.broadcast_to(jnp.asarray(a) + jnp.asarray(r) * size, size.shape)
        parts += [weight] * (2 if structure.is_complex[k] else 1)
    return structure.join(parts)


def scaled_norm(
    norm: Callable[[PyTree], Array], structure: RealStructure, v: Float[Array, " n"], weights: Float[Array, " n"]
) -> Float[Array, ""]:
    """The norm of `v / weights`; any function of the pytree, fast for optimistix's RMS and maximum norms."""
    scaled = v / weights
    if norm is optx.rms_norm:
        return jnp.sqrt(jnp.sum(scaled * scaled) / max(1, structure.structure.size))
    if norm is optx.max_norm and not any(structure.is_complex):
        return jnp.max(jnp.abs(scaled), initial=0.0)
    return jnp.asarray(norm(structure.unravel(scaled))).astype(structure.dtype)


def _is_scalar(tolerance: Any) -> bool:
    return isinstance(tolerance, float | int) or (hasattr(tolerance, "shape") and tolerance.shape == ())


def _by_leaf(structure: RealStructure, tolerance: Any) -> list[Any]:
    count = len(structure.structure.shapes)
    if jtu.tree_structure(tolerance) == structure.structure.treedef:
        return jtu.tree_leaves(tolerance)
    leaves = jtu.tree_leaves(tolerance)
    if len(leaves) != 1:
        raise ValueError(
            f"A tolerance has {len(leaves)} leaves and the state has {count}; give one number for all, or a pytree of "
            "the same structure as the state."
        )
    return leaves * count
