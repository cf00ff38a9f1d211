"""Solves with iterative refinement and a check of the true residual. Traced.

    x <- x + solve(b - A x)   until   |b - A x| <= 2 eps (|A| |x| + |b|)   (infinity norms)

Static pivoting perturbs tiny pivots, so factors belong to a nearby matrix; a few steps of refinement recover the
solution of the given one or reveal that this is impossible. Reference: N. J. Higham, Accuracy and Stability of
Numerical Algorithms, SIAM 2002, chapter 12. Cost: a matrix-vector product a solve, and both for every refinement.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Inexact, Int, Real

from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.matrix import matvec


class RefinedInfo(NamedTuple):
    """How a refined solve ended.

    Attributes:
        backward_error: `|b - A x| / (|A| |x| + |b|)` in the infinity norm, of the solution returned.
        num_refinements: solves after the first.
        converged: whether the backward error is below `eps ** 0.75` (2e-12 in float64) and the residual below a tenth
            of the right-hand side. False for a singular or non-finite system; it says so instead of raising.
    """

    backward_error: Real[Array, ""]
    num_refinements: Int[Array, ""]
    converged: Bool[Array, ""]


def solve_refined(
    plan: AbstractDirectPlan,
    factors: Any,
    data: Inexact[Array, " nnz"],
    rhs: Inexact[Array, " n"],
    *,
    transpose: bool = False,
    max_refinements: int = 3,
) -> tuple[Inexact[Array, " n"], RefinedInfo]:
    """Solves `A x = rhs` (or `A^T x = rhs`) from factors of `A`, or of a matrix near `A`, and checks the residual.

    Args:
        plan: the plan that made the factors.
        factors: result of `plan.factor`, for these or slightly older values.
        data: CSR values of `A`, shape `(nnz,)`.
        rhs: shape `(n,)`.
        transpose: solve with the transpose.
        max_refinements: how many more solves may follow the first.

    Returns:
        The best solution found, shape `(n,)`, and a `RefinedInfo`.
    """
    real = jnp.finfo(rhs.dtype).dtype
    eps = jnp.finfo(rhs.dtype).eps
    norm = _largest(matvec(plan.pattern, jnp.abs(data), jnp.ones(rhs.shape, real), transpose=transpose))
    rhs_norm = _largest(rhs)

    def measure(x: Array) -> tuple[Array, Array]:
        residual = rhs - matvec(plan.pattern, data, x, transpose=transpose)
        scale = norm * _largest(x) + rhs_norm
        return residual, _largest(residual) / jnp.where(scale > 0, scale, jnp.ones_like(scale))

    def body(state: tuple[Array, ...]) -> tuple[Array, ...]:
        x, residual, error, _, steps = state
        candidate = x + plan.solve(factors, residual, transpose=transpose)
        new_residual, new_error = measure(candidate)
        first = steps == 0
        better = first | (new_error < error)
        going = (new_error > 2 * eps) & (first | (new_error < error / 2)) & (steps < max_refinements)
        keep = (jnp.where(better, new, old) for new, old in ((candidate, x), (new_residual, residual)))
        return (*keep, jnp.where(better, new_error, error), going, steps + 1)

    start = (jnp.zeros_like(rhs), rhs, jnp.asarray(jnp.inf, real), jnp.asarray(True), jnp.asarray(0))
    x, residual, error, _, steps = lax.while_loop(lambda state: state[3], body, start)
    # A numerically singular matrix gives a huge x, beside which any residual looks small; not so beside the rhs.
    converged = (error <= eps**0.75) & (_largest(residual) <= 0.1 * rhs_norm)
    return x, RefinedInfo(error, steps - 1, converged)


def _largest(x: Inexact[Array, " n"]) -> Real[Array, ""]:
    return jnp.max(jnp.abs(x), initial=0)
