"""The derivative of parameters fitted within bounds and under linear equality constraints `A y = b`.

Parameters at a bound move with it; for the others the conditions of optimality, differentiated, are

    [ H   A^T ] [ dy ]     [ dG/dp dp ]
    [ A   0   ] [ dnu] = - [ -db      ],

with the terms of the moving bounds on the right. `H` is applied and never formed: conjugate gradients in the null space
of `A`, preconditioned by the saddle-point system with `J^T J` in its place.

Reference: N. I. M. Gould, M. E. Hribar, J. Nocedal, On the solution of equality constrained quadratic programming
problems arising in optimization, SIAM J. Sci. Comput. 23 (2001) 1376-1395, doi:10.1137/S1064827598345667.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, PyTree

from sparsesolve.krylov import cg
from sparsesolve.least_squares.descent._descent import kept_off_zero
from sparsesolve.least_squares.descent._nielsen import least_damping
from sparsesolve.least_squares.linear_step._saddle_solver import SaddleSolver
from sparsesolve.least_squares.objective._objective import Objective, Operands, gradient_at

_STEPS = 500
_PASSES = 2  # that take back the damping of the factors


def constrained_tangent(
    objective: Objective,
    linear: SaddleSolver,
    product: Callable[[Array], Array] | None,
    y: PyTree[Array],
    operands: Operands,
    tangents: Operands,
) -> Inexact[Array, " n"]:
    """The tangent of flat parameters; `product` multiplies with the full Hessian, `None` means `J^T J`."""
    fixed = jax.lax.stop_gradient((y, operands))
    lin = objective.linearise(*fixed, None)
    jacobian = objective.operator(lin, *fixed)
    assert operands.bounds is not None
    at = objective.unknowns.ravel(y)
    lower, upper = at <= operands.bounds[0], at >= operands.bounds[1]
    held = lower | upper
    A = linear.matrix(at.dtype)

    def hessian(v: Array) -> Array:
        return (jacobian @ v) @ jacobian if product is None else product(v)

    _, right = jax.jvp(lambda p: gradient_at(objective, y, p), (operands,), (tangents,))
    moving = jnp.zeros_like(right)
    if tangents.bounds is not None:
        moving = jnp.where(lower, tangents.bounds[0], jnp.where(upper, tangents.bounds[1], 0.0)).astype(right.dtype)
    shifted = jnp.zeros((A.shape[0],), right.dtype) if tangents.equality is None else tangents.equality
    n = right.size
    rhs = jnp.concatenate(
        [jnp.where(held, 0.0, -right - hessian(moving)), shifted.astype(right.dtype) - A @ moving]
    )  # one vector: JAX transposes systems in pieces only if all of them are linear in the tangents
    prepared = linear.prepare_operator(jacobian)
    squares = kept_off_zero(linear.diagonal(prepared))
    factors = linear.factor(prepared, least_damping(squares.dtype) * squares, held)

    def free(v: Array) -> Array:
        return jnp.where(held, 0.0, v)

    def multiply(pair: Array) -> Array:
        v, nu = pair[:n], pair[n:]
        return jnp.concatenate([jnp.where(held, v, hessian(free(v)) + nu @ A), A @ free(v)])

    def saddle(g: Array, c: Array) -> Any:
        return linear.solve_saddle(prepared, factors, free(g), c)

    def projected(g: Array) -> Array:
        return free(g - saddle(g, zero).nu @ A)

    zero = jnp.zeros_like(rhs[n:])

    def solve(_: Any, pair: Array) -> Array:
        g, c = pair[:n], pair[n:]
        found = saddle(g, c)
        v = found.x
        if product is None:
            v = jax.lax.fori_loop(0, _PASSES, lambda _, x: x + saddle(g - hessian(x), zero).x, v)
            return jnp.concatenate([jnp.where(held, g, v), saddle(g - hessian(v), zero).nu])
        rest = projected(g - hessian(v))
        rtol = float(jnp.finfo(g.dtype).eps) ** 0.75
        x, info = cg(
            lambda u: projected(hessian(u)),
            rest,
            precondition=lambda u: saddle(u, zero).x,
            atol=rtol * jnp.linalg.norm(g),
            max_steps=_STEPS,
        )
        # A tangent has no status to report; a wrong one must not look right.
        size = info.relative_residual * jnp.linalg.norm(rest)
        good = size <= jnp.finfo(g.dtype).eps ** 0.4 * jnp.linalg.norm(g)
        v = jnp.where(good | jnp.all(rest == 0), v + x, jnp.nan)
        return jnp.concatenate([jnp.where(held, g, v), saddle(g - hessian(v), zero).nu])

    tangent = jax.lax.custom_linear_solve(multiply, rhs, solve, symmetric=True)
    return moving + free(tangent[:n])
