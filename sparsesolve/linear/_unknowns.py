"""What `root_find`, `solve_ode` and `least_squares` take as unknowns: pytrees of floating or complex arrays."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, PyTree


def checked_unknowns(caller: str, y0: Any, *, why_inexact: str, real: bool = False) -> PyTree[Array]:
    """The unknowns as arrays of fixed (not weak) dtype.

    Args:
        caller: name of the user's function, for messages.
        y0: what the user gave.
        why_inexact: end of the sentence "y0 of dtype int32, ..." that says why integers cannot work.
        real: whether complex numbers are refused too.

    Raises:
        TypeError: for leaves that are not numbers, or of a dtype that cannot work.
        ValueError: when there is nothing to solve for.
    """
    leaves, treedef = jtu.tree_flatten_with_path(y0)
    if not leaves:
        raise ValueError(f"{caller} got y0={y0!r}, which holds no unknowns; give a pytree of arrays.")
    for path, leaf in leaves:
        where = f"y0{jtu.keystr(path)}"
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int | complex):
            raise TypeError(
                f"{caller} got {where} of type {type(leaf).__name__}, which is not a number or an array of numbers. "
                "Keep in y0 only what is solved for and put everything else into args."
            )
        dtype = jnp.result_type(leaf)
        if real and jnp.issubdtype(dtype, jnp.complexfloating):
            raise TypeError(
                f"{caller} got {where} of dtype {dtype}, {why_inexact}; give its real and imaginary parts as separate "
                "floats."
            )
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise TypeError(
                f"{caller} got {where} of dtype {dtype}, {why_inexact}; write {where} as floats, e.g. "
                "jnp.asarray(y0, float)."
            )
    return jtu.tree_unflatten(treedef, [_strong(leaf) for _, leaf in leaves])


def _strong(leaf: Any) -> Array:
    """A leaf as an array of fixed dtype; as it is where it is one, for operations outside of `jit` take long."""
    if isinstance(leaf, jax.Array) and not leaf.aval.weak_type:
        return leaf
    return jax.lax.convert_element_type(jnp.asarray(leaf), np.dtype(jnp.result_type(leaf)))
