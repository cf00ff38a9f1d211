"""Refinement of solutions of normal equations with residuals that are computed from `J` itself.

Forming `J^T J` squares the condition number; the corrected semi-normal equations recover what was lost, as long as the
factors are good for a digit.

Reference: A. Bjorck, Stability analysis of the method of seminormal equations for linear least squares problems,
Linear Algebra Appl. 88/89 (1987) 31-48, doi:10.1016/0024-3795(87)90101-7.
Cost: two products with `J`, the same and a solve again for each refinement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact, Int

_REFINEMENTS = 3
_DIGITS = 1e-3  # eps ** 0.5 times this many of the right-hand side may be left over without refinement


def refined(
    solve: Callable[[Array], Array], left: Callable[[Array], Array], g: Inexact[Array, " n"]
) -> tuple[Inexact[Array, " n"], Int[Array, ""]]:
    """Solves for the right-hand side `g`; `left(x)` is what a solution leaves over. Also counts the refinements."""
    limit = _DIGITS * jnp.finfo(g.dtype).eps ** 0.5 * jnp.max(jnp.abs(g), initial=0.0)

    def size(rest: Array) -> Array:
        return jnp.max(jnp.abs(rest), initial=0.0)

    def going(carry: Any) -> Array:
        _, rest, before, count = carry
        return (size(rest) > limit) & (size(rest) < 0.5 * before) & (count < _REFINEMENTS)

    def refine(carry: Any) -> Any:
        x, rest, _, count = carry
        better = x + solve(rest)
        return better, left(better), size(rest), count + 1

    x = solve(g)
    x, _, _, count = lax.while_loop(going, refine, (x, left(x), jnp.asarray(jnp.inf, g.dtype), jnp.asarray(0)))
    return x, count
