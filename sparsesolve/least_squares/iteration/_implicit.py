"""The derivative of fitted parameters by the implicit function theorem.

Where the gradient G(y*, p) = 0 and H = dG/dy is regular,

    dy* = -H^-1 (dG/dp) dp,

and y* does not depend on the initial guess. `H` is the full Hessian of the cost, J^T J and the curvature of the
residuals, or J^T J alone (`hessian="gauss_newton"`: cheaper, exact where residuals vanish or are linear). The full one
is applied as a product and never formed: conjugate gradients preconditioned by the factors of J^T J, which take a step
or two where residuals are small. Parameters at a bound that the gradient presses against move with the bound.

`jax.custom_jvp` states the rule once; the tangent solve is a symmetric `jax.lax.custom_linear_solve`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, Inexact, PyTree

from sparsesolve.krylov import cg
from sparsesolve.least_squares.descent._descent import kept_off_zero
from sparsesolve.least_squares.descent._nielsen import least_damping
from sparsesolve.least_squares.iteration._implicit_constrained import constrained_tangent
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver
from sparsesolve.least_squares.objective._objective import Objective, Operands, gradient_at

Hessian = Literal["full", "gauss_newton"]
_STEPS, _MANY_STEPS = 500, 5000  # of conjugate gradients, with factors and without


def implicit_minimiser(
    find: Callable[[PyTree[Array], Operands], tuple[PyTree[Array], Any]],
    objective: Objective,
    linear: AbstractDampedSolver,
    hessian: Hessian,
) -> Callable[[PyTree[Array], Operands], tuple[PyTree[Array], Any]]:
    """Gives `find(y0, operands) -> (minimiser, info)` the derivative of the minimiser. `info` has none."""
    minimiser_of = jax.custom_jvp(find)

    @minimiser_of.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        y0, operands = primals
        y, info = minimiser_of(y0, operands)
        tangent = _tangent(objective, linear, hessian, y, operands, tangents[1])
        if objective.retract is None:
            dy = objective.unknowns.unravel(tangent)
        else:
            zero = jnp.zeros((objective.tangents.size,), objective.dtype)
            dy = jax.jvp(lambda d: objective.move(y, d, operands)[0], (zero,), (tangent,))[1]
        return (y, info), (dy, jtu.tree_map(_no_tangent, info))

    return minimiser_of


def _tangent(
    objective: Objective,
    linear: AbstractDampedSolver,
    hessian: Hessian,
    y: PyTree[Array],
    operands: Operands,
    tangents: Operands,
) -> Inexact[Array, " n"]:
    if objective.constraints is not None:
        full = None if hessian == "gauss_newton" else _hessian(objective, y, operands)
        return constrained_tangent(objective, linear, full, y, operands, tangents)  # pyright: ignore
    fixed = jax.lax.stop_gradient((y, operands))
    lin = objective.linearise(*fixed, None)
    free = lin.free
    jacobian = objective.operator(lin, *fixed)

    full = _hessian(objective, y, operands)

    def product(v: Array) -> Array:
        return full(v) if hessian == "full" else (jacobian @ v) @ jacobian

    def masked(v: Array) -> Array:
        return jnp.where(free, product(jnp.where(free, v, 0.0)), v)

    _, rhs = jax.jvp(lambda p: gradient_at(objective, y, p), (operands,), (tangents,))
    bound = jnp.zeros_like(rhs)
    if operands.bounds is not None and tangents.bounds is not None:
        at_lower = objective.unknowns.ravel(y) <= operands.bounds[0]
        moves = jnp.where(at_lower, tangents.bounds[0], tangents.bounds[1]).astype(rhs.dtype)
        bound = jnp.where(free, 0.0, moves)
        rhs = rhs + product(bound)
    rhs = jnp.where(free, -rhs, 0.0)
    prepared = linear.bound(linear.prepare_operator(jacobian), jacobian)
    squares = kept_off_zero(linear.diagonal(prepared))
    factors = linear.factor(prepared, least_damping(squares.dtype) * squares)

    def precondition(v: Array) -> Array:
        return jnp.where(free, linear.precondition(prepared, factors, jnp.where(free, v, 0.0)), v)

    def solve_normal(v: Array) -> Array:
        return jnp.where(free, linear.solve_normal(prepared, factors, jnp.where(free, v, 0.0)).x, v)

    def solve(multiply: Any, b: Array) -> Array:
        if hessian == "gauss_newton":
            return solve_normal(b)
        steps = _STEPS if linear.direct else _MANY_STEPS
        rtol = float(jnp.finfo(b.dtype).eps) ** 0.75
        x, info = cg(multiply, b, precondition=precondition, rtol=rtol, max_steps=steps)
        # A tangent has no status to report; a wrong one must not look right.
        good = info.relative_residual <= jnp.finfo(b.dtype).eps ** 0.4
        return jnp.where(good | jnp.all(b == 0), x, jnp.nan)

    return bound + jax.lax.custom_linear_solve(masked, rhs, solve, symmetric=True)


def _hessian(objective: Objective, y: PyTree[Array], operands: Operands) -> Callable[[Array], Array]:
    """Products with the Hessian of the cost."""

    def product(v: Array) -> Array:
        return jax.jvp(lambda d: _displaced_gradient(objective, y, d, operands), (jnp.zeros_like(v),), (v,))[1]

    return product


def _displaced_gradient(objective: Objective, y: PyTree[Array], d: Array, operands: Operands) -> Array:
    def cost(d_: Array) -> Array:
        return objective.cost(objective.displaced(y, d_, operands), operands)

    return jax.grad(cost)(d)


def _no_tangent(leaf: Any) -> Any:
    if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
        return jnp.zeros_like(leaf)
    return np.zeros(jnp.shape(leaf), jax.dtypes.float0)
