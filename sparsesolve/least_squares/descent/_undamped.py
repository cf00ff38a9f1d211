"""The Gauss-Newton step as nearly undamped as its factorization allows.

`J^T J` may be singular, or so nearly that rounding errors make it indefinite: free gauges, points that are seen under
no angle. Its factorization begins with the least damping, which solutions take back; where it breaks down or what comes
out is no direction of descent, damping a thousandfold is tried, which stays, and at last 1.

Reference: J. J. More, The Levenberg-Marquardt algorithm: implementation and theory, LNM 630 (1978) 105-116,
doi:10.1007/BFb0067700 (the scale of the damping).
Cost: one factorization, and one more for each that breaks down.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Inexact, Int

from sparsesolve.least_squares.descent._descent import Model
from sparsesolve.least_squares.descent._nielsen import faintest_damping, least_damping
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver

_RAISED = 1e3


class Undamped(NamedTuple):
    """A step, whether it is a direction of descent, and what it took."""

    step: Inexact[Array, " n"]
    good: Bool[Array, ""]
    iterations: Int[Array, ""]
    factorizations: Int[Array, ""]


def gauss_newton_step(linear: AbstractDampedSolver, model: Model) -> Undamped:
    """Solves `min |J d + r|` with as little damping as will do."""
    squares, least = model.squares, least_damping(model.squares.dtype)

    def failing(carry: Any) -> Array:
        mu, found = carry
        return ~found.good & (mu <= 1)

    def attempt(carry: Any) -> Any:
        mu, before = carry
        kept = jnp.where(mu > least, mu, faintest_damping(squares.dtype))
        factors = linear.factor(model.prepared, mu * squares)
        solved = linear.solve_lighter(model.prepared, factors, -model.lin.residual, kept * squares)
        good = solved.good & (jnp.sum(model.lin.gradient * solved.x) <= 0)
        iterations = before.iterations + solved.iterations.astype(jnp.int32)
        factorizations = before.factorizations + linear.num_factorizations
        new = jnp.where(mu < 1, jnp.minimum(_RAISED * mu, 1.0), 2.0)
        return new, Undamped(solved.x, good, iterations, factorizations)

    start = jnp.asarray(least, squares.dtype), no_step(squares.size, model.lin.gradient.dtype)
    return lax.while_loop(failing, attempt, start)[1]


def no_step(n: int, dtype: Any) -> Undamped:
    """What there is before the first attempt."""
    return Undamped(jnp.zeros((n,), dtype), jnp.asarray(False), *[jnp.zeros((), jnp.int32)] * 2)
