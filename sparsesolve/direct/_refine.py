"""Solves with iterative refinement, a check of the true residual, and a rescue when refinement fails. Traced.

    x <- x + solve(b - A x)   until   |b - A x| <= 2 eps (|A| |x| + |b|)   (infinity norms)

Static pivoting perturbs tiny pivots, and factors may be of older values or of lower precision, so they belong to a
nearby matrix; a few steps of refinement recover the solution of the given one. Where they do not, GMRES with the
factors as preconditioner corrects the solution (`_rescue`), and only then is the failure told, with its kind.

References: N. J. Higham, Accuracy and Stability of Numerical Algorithms, SIAM 2002, chapter 12. E. Carson, N. J.
Higham, A new analysis of iterative refinement and its application to accurate solution of ill-conditioned sparse
linear systems, SIAM J. Sci. Comput. 39 (2017) A2834-A2856, doi:10.1137/17M1122918.
Cost: a matrix-vector product a solve, and both for every refinement; the rescue costs nothing where it is not needed.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact, Int, Real

from sparsesolve import _native
from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._rescue import Solved, System, rescue
from sparsesolve.direct._status import SolveStatus, status_of


class RefinedInfo(NamedTuple):
    """How a refined solve ended.

    Attributes:
        backward_error: `|b - A x| / (|A| |x| + |b|)` in the infinity norm, of the solution returned.
        num_refinements: solves after the first, without those of the rescue.
        num_linear_iterations: steps of GMRES, zero where refinement was enough.
        status: `successful`, `singular`, `inaccurate` or `nonfinite`.
    """

    backward_error: Real[Array, ""]
    num_refinements: Int[Array, ""]
    num_linear_iterations: Int[Array, ""]
    status: SolveStatus

    @property
    def converged(self) -> Any:
        """Whether the backward error is below `eps ** 0.8` (3e-13 in float64) and the residual small beside the
        right-hand side. False for a singular or non-finite system; it says so instead of raising."""
        return self.status == SolveStatus.successful


def solve_refined(
    plan: AbstractDirectPlan,
    factors: Any,
    data: Inexact[Array, " nnz"],
    rhs: Inexact[Array, " n"],
    *,
    transpose: bool = False,
    max_refinements: int = 3,
    max_linear_iterations: int = 100,
) -> tuple[Inexact[Array, " n"], RefinedInfo]:
    """Solves `A x = rhs` (or `A^T x = rhs`) from factors of `A`, or of a matrix near `A`, and checks the residual.

    Args:
        plan: the plan that made the factors.
        factors: result of `plan.factor`, for these or slightly older values.
        data: CSR values of `A`, shape `(nnz,)`.
        rhs: shape `(n,)`.
        transpose: solve with the transpose.
        max_refinements: how many more solves may follow the first.
        max_linear_iterations: how many steps GMRES may take where refinement was not enough; none if zero.

    Returns:
        The best solution found, shape `(n,)`, and a `RefinedInfo`.
    """
    limits = _native.Limits(max_refinements, max_linear_iterations)
    if (checked := _checked(plan, factors, data, rhs, transpose, limits)) is not None:
        return checked
    # Called as it is, it is compiled once for a plan; inside of other programs it leaves no trace of its own.
    return _refined(plan, _native.available(), (transpose, max_refinements, max_linear_iterations), factors, data, rhs)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), inline=True)
def _refined(
    plan: AbstractDirectPlan, compiled: bool, options: tuple[bool, int, int], factors: Any, data: Array, rhs: Array
) -> tuple[Array, RefinedInfo]:
    """By JAX; `compiled` says whether there are kernels for the parts, which a program kept from before may lack."""
    del compiled
    transpose, max_refinements, max_linear_iterations = options
    system = System.of(plan, factors, data, rhs, transpose)
    eps = jnp.finfo(rhs.dtype).eps

    def body(state: tuple[Solved, Array, Array]) -> tuple[Solved, Array, Array]:
        old, _, steps = state
        new = system.measure(old.x + system.precondition(old.residual))
        first = steps == 0
        going = (new.error > 2 * eps) & (first | (new.error < old.error / 2)) & (steps < max_refinements)
        return Solved.where(first | (new.error < old.error), new, old), going, steps + 1

    nothing = Solved(jnp.zeros_like(rhs), rhs, jnp.asarray(jnp.inf, system.norm.dtype))
    start = (nothing, jnp.asarray(True), jnp.asarray(0))
    solved, _, steps = lax.while_loop(lambda state: state[1], body, start)
    solved, iterations, status = rescue(system, solved, max_linear_iterations)
    return solved.x, RefinedInfo(solved.error, steps - 1, iterations, status)


def solve_once(
    plan: AbstractDirectPlan, data: Inexact[Array, " nnz"], rhs: Inexact[Array, " n"], **options: Any
) -> tuple[Inexact[Array, " n"], RefinedInfo]:
    """`solve_refined` with factors that are made for this solve and not kept; the same options and results.

    Small matrices in a batch are then factorized, solved and checked while they lie in the cache, so that factors are
    never written to memory.
    """
    limits = _native.Limits(options.get("max_refinements", 3), options.get("max_linear_iterations", 100))
    if (checked := _checked(plan, None, data, rhs, options.get("transpose", False), limits)) is not None:
        return checked
    return solve_refined(plan, plan.factor(data), data, rhs, **options)


def _checked(
    plan: AbstractDirectPlan, factors: Any, data: Array, rhs: Array, transpose: bool, limits: _native.Limits
) -> tuple[Array, RefinedInfo] | None:
    """By compiled code, or `None`."""
    found = plan.solve_checked(factors, data, rhs, transpose=transpose, limits=limits)
    if found is None:
        return None
    refinements, steps, code = found.counts
    told = RefinedInfo(found.backward_error, refinements.astype(int), steps.astype(int), status_of(code))
    return found.x, told
