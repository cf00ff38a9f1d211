"""What a dtype can tell apart: its resolution, tolerances that follow it, norms that neither overflow nor underflow."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from sparsesolve._tree import Structure


def resolution(structure: Structure) -> float:
    """Unit of relative precision of the coarsest dtype among the leaves."""
    return max((float(jnp.finfo(dtype).eps) for dtype in structure.dtypes), default=float(jnp.finfo(float).eps))


def resolved_rtol(rtol: Any, structure: Structure) -> Any:
    """The relative tolerance to use: the given one, or eps^(2/3).

    Raises:
        ValueError: if it is below what the dtype of the unknowns can tell apart.
    """
    eps = resolution(structure)
    if rtol is None:
        return eps ** (2 / 3)
    if isinstance(rtol, float | int | np.floating) and 0 <= rtol < 2 * eps:
        coarsest = max(structure.dtypes, key=lambda dtype: float(jnp.finfo(dtype).eps))
        advice = f"write rtol={4 * eps:.0e} or more"
        if eps > 1e-10:
            advice += (
                ", or compute in double precision: jax.config.update('jax_enable_x64', True) before the first array "
                "is made, and y0 in float64"
            )
        raise ValueError(
            f"rtol={rtol:g} is below the resolution of {coarsest} ({eps:.1e}), so no iterate could ever meet it; "
            f"{advice}."
        )
    return rtol


def two_norm(v: Inexact[Array, " n"]) -> Float[Array, ""]:
    """The Euclidean norm without overflow or underflow of the squares."""
    magnitude = jnp.abs(v)
    largest = jnp.max(magnitude, initial=0.0)
    safe = jnp.where((largest > 0) & jnp.isfinite(largest), largest, jnp.ones_like(largest))
    return safe * jnp.sqrt(jnp.sum((magnitude / safe) ** 2))
