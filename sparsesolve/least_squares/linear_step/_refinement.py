"""Solutions of damped least-squares problems from factors that are good for a digit, by conjugate gradients.

Forming `J^T J` squares the condition number. Residuals that are computed from `J` itself recover what was lost: the
corrected semi-normal equations, whose refinement is a step of conjugate gradients with the factors as preconditioner.

Factors need a damping of eps^(2/3) where `J^T J` is singular to working precision, which is not to be felt in the
solution: where `J` itself has singular values between eps and the root of that damping, a Gauss-Newton iteration would
creep. Where it is felt, the same iteration takes the surplus back: in the metric of the factors all but those few
directions are solved for already.

References: A. Bjorck, Stability analysis of the method of seminormal equations for linear least squares problems,
Linear Algebra Appl. 88/89 (1987) 31-48, doi:10.1016/0024-3795(87)90101-7; Numerical Methods for Least
Squares Problems, SIAM 1996, section 7.4 (preconditioned conjugate gradients for least squares).
Cost: four products with `J` and a solve; two and a solve for each refinement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact, Int

_REFINEMENTS = 3
_STEPS = 20  # that take damping back
_FELT = 1e-4  # share of the decrease of the linear model that may be lost to damping
_DIGITS = 1e-3  # eps ** 0.5 times this many of the right-hand side may be left over without refinement


class DampedProblem(NamedTuple):
    """The problem  min |J x - v|^2 - 2 g^T x + sum shift x^2.

    Attributes:
        jacobian: `J`, which multiplies vectors from both sides.
        v: shape `(m,)`, or 0.
        g: shape `(n,)`, or 0.
        shift: shape `(n,)`, of the factors.
        surplus: what the factors have too much of it, or `None`.
    """

    jacobian: Any
    v: Inexact[Array, " m"] | float
    g: Inexact[Array, " n"] | float
    shift: Float[Array, " n"]
    surplus: Float[Array, " n"] | None = None


def refined(
    solve: Callable[[Array], Array], problem: DampedProblem
) -> tuple[Inexact[Array, " n"], Bool[Array, ""], Int[Array, ""]]:
    """The solution, whether it is finite, and the number of refinements; `solve` applies the inverse of the factors."""
    J, v, g, shift, surplus = problem
    rhs: Any = g if isinstance(v, float) else v @ J
    x = solve(rhs)
    benefit = jnp.abs(jnp.sum(rhs * x))  # twice the decrease of the model
    eps = jnp.finfo(rhs.dtype).eps
    felt = jnp.asarray(False)
    if surplus is not None:
        # The energy of what is left over, surplus * x, is at most this sum.
        felt = jnp.sum(surplus * x**2) > _FELT * benefit
        shift = shift - jnp.where(felt, surplus, 0.0)
    enough = jnp.where(felt, _FELT, _DIGITS**2 * eps) * benefit
    most = jnp.where(felt, _STEPS, _REFINEMENTS)
    limit = jnp.where(felt, 0.0, _DIGITS * eps**0.5 * jnp.max(jnp.abs(rhs), initial=0.0))

    def left(x: Array, r: Array) -> Array:
        return g + r @ J - shift * x

    def going(carry: Any) -> Array:
        *_, s, _, energy, count = carry
        return (jnp.max(jnp.abs(s), initial=0.0) > limit) & (energy > enough) & (count < most)

    def advance(carry: Any) -> Any:
        x, r, s, direction, before, count = carry
        z = solve(s)
        energy = jnp.sum(s * z)
        direction = z + energy / before * direction
        image = J @ direction
        bend = jnp.sum(image**2) + jnp.sum(shift * direction**2)
        usable = (energy > 0) & (bend > 0) & jnp.isfinite(bend)
        length = jnp.where(usable, energy / jnp.where(usable, bend, 1.0), 0.0)
        x = jnp.where(usable, x + length * direction, x)
        r = r - length * image
        return x, r, left(x, r), direction, jnp.where(usable, energy, 0.0), count + 1

    r = v - J @ x
    start = (x, r, left(x, r), jnp.zeros_like(x), jnp.asarray(jnp.inf, rhs.dtype), jnp.asarray(0))
    x, *_, count = lax.while_loop(going, advance, start)
    return x, jnp.isfinite(benefit), count
