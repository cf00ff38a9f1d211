"""Custom linear solves whose transpose is left out where the user's function has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax import lax

_NO_TRANSPOSE = "Reverse-mode differentiation does not work"  # JAX's words


def custom_solve(
    matvec: Callable[[Any], Any],
    b: Any,
    solve: Callable[[Any], Any],
    transpose_solve: Callable[[Any], Any],
) -> Any:
    """`custom_linear_solve`, without a transpose where a loop of unknown length in the user's function has none.

    JAX wants to see the transpose whether it is needed or not; forward mode and plain solutions do without.
    """
    try:
        return lax.custom_linear_solve(matvec, b, lambda _, r: solve(r), lambda _, r: transpose_solve(r))
    except ValueError as error:
        if _NO_TRANSPOSE not in str(error):
            raise
    return lax.custom_linear_solve(matvec, b, lambda _, r: solve(r))
