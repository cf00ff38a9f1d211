"""What `least_squares` refuses, and what it says: what was seen, why it cannot work, what to write instead."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, PyTree

from sparsesolve._tree import Structure


def check_residual(residual: Structure, num_unknowns: int) -> None:
    """Refuses residuals that cannot be squared and summed; says once when they are fewer than the parameters.

    Raises:
        TypeError: integer or complex residuals.
        ValueError: no residuals.
    """
    for name, dtype in zip(residual.names, residual.dtypes, strict=True):
        if jnp.issubdtype(dtype, jnp.complexfloating):
            raise TypeError(
                f"least_squares got a complex residual{name}; return real and imaginary parts as separate residuals, "
                "e.g. jnp.stack([r.real, r.imag])."
            )
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"least_squares got an {dtype} residual{name}: it changes in jumps and has no derivative. Compute it "
                "in floating point."
            )
    if residual.size == 0:
        raise ValueError("least_squares got a function without residuals; return the differences to be made small.")
    if residual.size < num_unknowns:
        warnings.warn(
            f"least_squares got {residual.size} residuals for {num_unknowns} parameters, which they cannot determine: "
            "of all minimisers the damping chooses one near y0. Add residuals, e.g. a prior on the parameters.",
            stacklevel=5,
        )


def checked_bounds(bounds: Any, y0: PyTree[Array], structure: Structure) -> tuple[Array, Array] | None:
    """Flat lower and upper bounds.

    Args:
        bounds: `None`, or a pair of scalars or pytrees (of scalars or arrays) in the form of `y0`; `None` in it is
            no bound.

    Raises:
        ValueError: wrong shapes, lower bounds above upper ones, or a start outside.
    """
    if bounds is None:
        return None
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise ValueError(
            f"least_squares got bounds={bounds!r}; write bounds=(lower, upper), each a number or in the form of y0, "
            "None or infinite where there is no bound."
        )
    lower = _side(bounds[0], -np.inf, y0, structure)
    upper = _side(bounds[1], np.inf, y0, structure)
    start = structure.ravel(y0)
    if any(isinstance(x, Tracer) for x in (lower, upper, start)):
        return lower, upper
    low, high, at = np.asarray(lower), np.asarray(upper), np.asarray(start)
    if (bad := ~(low <= high)).any():
        i = int(np.argmax(bad))
        raise ValueError(
            f"least_squares got a lower bound {low[i]:g} above the upper bound {high[i]:g} for y{structure.locate(i)}."
        )
    if (bad := (at < low) | (at > high)).any():
        i = int(np.argmax(bad))
        raise ValueError(
            f"least_squares got a start outside the bounds: y0{structure.locate(i)} = {at[i]:g} is not in "
            f"[{low[i]:g}, {high[i]:g}]; {int(bad.sum())} of {at.size} parameters. Start inside, e.g. "
            "jnp.clip(y0, lower, upper)."
        )
    return lower, upper


def _side(side: Any, default: float, y0: PyTree[Array], structure: Structure) -> Array:
    if side is None:
        side = default
    if jtu.treedef_is_leaf(jtu.tree_structure(side)) and jnp.ndim(side) == 0:
        return jnp.full((structure.size,), side, structure.dtype)
    try:
        spread = jax.tree.broadcast(side, y0, is_leaf=lambda x: x is None)
        leaves = [
            jnp.broadcast_to(jnp.asarray(default if a is None else a, b.dtype), b.shape)
            for a, b in zip(jtu.tree_leaves(spread, is_leaf=lambda x: x is None), jtu.tree_leaves(y0), strict=True)
        ]
    except ValueError:
        shapes = ", ".join(f"y0{name} {shape}" for name, shape in zip(structure.names, structure.shapes, strict=True))
        raise ValueError(
            f"least_squares got a bound {side!r} that does not have the form of the parameters ({shapes}); give a "
            "number or the structure of y0."
        ) from None
    return structure.ravel(jtu.tree_unflatten(structure.treedef, leaves))
