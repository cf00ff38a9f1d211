"""`Moving`: what a derivative of an integration may move, and tangents that may be symbolic zeros."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array


class Moving(eqx.Module):
    """What a derivative may move.

    Attributes:
        y: initial state.
        t0: start.
        t1: end.
        ts: times to save at, for each part of `saveat`.
        parameters: arrays of right-hand side and mass matrix.
        args: arrays for the functions in `saveat` and the conditions of an event.
        observers: arrays of those functions, for each part of `saveat`.
        conditions: arrays of those conditions.
    """

    y: Any
    t0: Array
    t1: Array
    ts: list[Array | None]
    parameters: list[Array]
    args: Any
    observers: list[Any]
    conditions: Any


def moves(tangent: Any) -> bool:
    """Whether a tangent is other than a symbolic zero."""
    return not isinstance(tangent, SymbolicZero) and jnp.result_type(tangent) != jax.dtypes.float0


def full(tangent: Any, primal: Any) -> Any:
    """The tangent as an array, zeros where there is none."""
    if moves(tangent):
        return tangent
    if jnp.issubdtype(jnp.result_type(primal), jnp.inexact):
        return jnp.zeros_like(primal)
    return np.zeros(jnp.shape(primal), jax.dtypes.float0)


def full_tree(tangent: Any, primal: Any) -> Any:
    """Tangents of all leaves as arrays."""
    leaves, treedef = jtu.tree_flatten(primal)
    dots = jtu.tree_leaves(tangent, is_leaf=lambda t: isinstance(t, SymbolicZero))
    return jtu.tree_unflatten(treedef, [full(d, p) for d, p in zip(dots, leaves, strict=True)])


def any_moves(tangent: Any) -> bool:
    """Whether some leaf does."""
    return any(moves(t) for t in jtu.tree_leaves(tangent, is_leaf=lambda t: isinstance(t, SymbolicZero)))
