"""The state after a jump of f: algebraic components go where their equations jump to, at once.

What an integrator sees otherwise is an error as large as the jump however small its steps are. The state is corrected
by steps of the implicit Euler method that are too small for anything with a derivative to move,

    (M - h J) d = h f(t, x),      h = sqrt(eps) |M| / |J|,

until it stays: with h towards zero, M d = 0 and the equations without derivatives hold. Nothing has to be known about
M besides, and a regular one changes nothing.

Reference: P. N. Brown, A. C. Hindmarsh, L. R. Petzold, "Consistent initial condition calculation for
differential-algebraic systems", SIAM J. Sci. Comput. 19 (1998) 1495, doi:10.1137/S1064827595289996 (of the idea).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox.internal as eqxi
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from sparsesolve.ode.stepping._algebraic import corrected, sparse_solver
from sparsesolve.ode.system._system import StiffSystem


def after_jump(system: StiffSystem, t: Any, x: Float[Array, " n"], made_jump: Any) -> Float[Array, " n"]:
    """The state to go on from at `t`; where nothing was found that solves the equations it is `x`. Differentiable."""
    if system.mass is None or (isinstance(made_jump, bool) and not made_jump):
        return x
    t = jnp.asarray(t)

    def correction(near: Array) -> Callable[[Array], Array]:
        fixed, t0, x0 = lax.stop_gradient((system, t, near))
        jacobian = fixed.jacobian(t0, x0)
        mass = fixed.matrix(jnp.zeros_like(jacobian), 1.0, 0.0, t0, x0)
        steepest = jnp.max(jnp.abs(jacobian), initial=jnp.finfo(jacobian.dtype).tiny)
        h = jnp.finfo(jacobian.dtype).eps ** 0.5 * jnp.max(jnp.abs(mass)) / steepest
        solve = sparse_solver(system, fixed.matrix(jacobian, 1.0, -h, t0, x0))
        return lambda x: solve(h * system.rhs(t, x))

    def moved() -> Array:
        found, okay = corrected(correction, x)
        return jnp.where(made_jump & okay, found, x)

    return lax.cond(eqxi.unvmap_any(made_jump), moved, lambda: x)
