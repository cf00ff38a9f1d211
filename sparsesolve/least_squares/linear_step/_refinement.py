"""Refinement of solutions of normal equations with residuals that are computed from `J` itself.

Forming `J^T J` squares the condition number; the corrected semi-normal equations recover what was lost, as long as the
factors are good for a digit.

Factors need a damping of eps^(2/3) where `J^T J` is singular to working precision, which is not to be felt in the
solution: where `J` itself has singular values between eps and the root of that damping, a Gauss-Newton iteration would
creep. `lightened` takes the surplus back by conjugate gradients with the factors as preconditioner, in whose metric all
but those few directions are solved for already.

References: A. Bjorck, Stability analysis of the method of seminormal equations for linear least squares problems,
Linear Algebra Appl. 88/89 (1987) 31-48, doi:10.1016/0024-3795(87)90101-7; Numerical Methods for Least
Squares Problems, SIAM 1996, section 7.4 (preconditioned conjugate gradients for least squares).
Cost: two products with `J`, the same and a solve again for each refinement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Inexact, Int

_REFINEMENTS = 3
_STEPS = 20  # of conjugate gradients
_FELT = 1e-4  # share of the decrease of the linear model that may be lost to damping
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


def lightened(
    solve: Callable[[Array], Array],
    normal: Callable[[Array], Array],
    x: Inexact[Array, " n"],
    g: Inexact[Array, " n"],
    surplus: Float[Array, " n"],
) -> tuple[Inexact[Array, " n"], Int[Array, ""]]:
    """A solution of `normal(x) = g` from one with `surplus` added to the diagonal, whose inverse is `solve`.

    A truncated iteration has decreased the linear model further than `x` did. Also counts the steps.
    """
    tiny = jnp.finfo(g.dtype).tiny
    enough = _FELT * jnp.abs(jnp.sum(g * x))

    def going(carry: Any) -> Array:
        *_, rho, count = carry
        return (rho > enough) & (count < _STEPS)

    def advance(carry: Any) -> Any:
        x, rest, direction, rho, count = carry
        image = normal(direction)
        bend = jnp.sum(direction * image)
        length = jnp.where(bend > 0, rho / jnp.maximum(bend, tiny), 0.0)
        x, rest = x + length * direction, rest - length * image
        z = solve(rest)
        new = jnp.where(bend > 0, jnp.sum(rest * z), 0.0)
        return x, rest, z + new / jnp.maximum(rho, tiny) * direction, new, count + 1

    def iterate() -> Any:
        rest = g - normal(x)
        z = solve(rest)
        found, *_, count = lax.while_loop(going, advance, (x, rest, z, jnp.sum(rest * z), jnp.asarray(0)))
        return found, count

    # The energy of what is left over, surplus * x, is at most this.
    felt = jnp.sum(surplus * x**2) > enough
    return lax.cond(felt, iterate, lambda: (x, jnp.asarray(0)))
