"""Errors of traced solutions, in a form that every platform can lower.

A compiled program raises through a callback into Python, which JAX lowers only for platforms that this host has: on a
machine without CUDA, a program that may raise could not be lowered for CUDA at all (nor could any `jax.debug.print`).
There values become NaN instead, as `EQX_ON_ERROR=nan` does; such a program cannot call back anyway.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Bool, PyTree


def raise_unless(okay: Bool[Array, ""], result: Any, values: PyTree[Any]) -> PyTree[Any]:
    """`values`, or while running the error that a member of an enumeration of results describes.

    Args:
        okay: whether all is well.
        result: an `equinox.Enumeration` item.
        values: a pytree whose arrays wait for the check.
    """
    leaves, treedef = jtu.tree_flatten(values)
    traced = [isinstance(leaf, jax.Array) for leaf in leaves]
    arrays = [leaf for leaf, flag in zip(leaves, traced, strict=True) if flag]

    def checked(arrays_: list[Array]) -> list[Array]:
        return result.error_if(arrays_, ~okay)

    def silent(arrays_: list[Array]) -> list[Array]:
        return [jnp.where(okay, leaf, jnp.nan) if _holds_nan(leaf) else leaf for leaf in arrays_]

    out = iter(checked(arrays) if _has_cuda() else jax.lax.platform_dependent(arrays, cuda=silent, default=checked))
    return jtu.tree_unflatten(treedef, [next(out) if flag else x for x, flag in zip(leaves, traced, strict=True)])


def _holds_nan(leaf: Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


@functools.cache
def _has_cuda() -> bool:
    try:
        return bool(jax.devices("cuda"))
    except RuntimeError:
        return False
