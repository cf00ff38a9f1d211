"""A compiled solve as an operation that JAX knows to be linear in the right-hand side. Traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact


def solve_linear(
    apply: Callable[[Array, bool], Array], dtype: Any, rhs: Inexact[Array, " n"], transpose: bool
) -> Inexact[Array, " n"]:
    """Calls `apply(b, transpose)` in the factors' type; a complex right-hand side of real factors counts as two.

    `custom_linear_solve` makes the call linear in `rhs` for JAX. The matrix it asks for serves derivatives with respect
    to the matrix only, which factors do not have; so the identity stands in.
    """
    result = jnp.result_type(dtype, rhs.dtype)

    def linear(b: Array) -> Array:
        def solve(_: Any, c: Array) -> Array:
            return apply(c, transpose)

        def solve_transposed(_: Any, c: Array) -> Array:
            return apply(c, not transpose)

        return jax.lax.custom_linear_solve(lambda v: v, b.astype(dtype), solve, solve_transposed)

    if jnp.issubdtype(rhs.dtype, jnp.complexfloating) and not jnp.issubdtype(dtype, jnp.complexfloating):
        real, imag = jax.vmap(linear)(jnp.stack([rhs.real, rhs.imag]))
        return jax.lax.complex(real, imag).astype(result)
    return linear(rhs).astype(result)
