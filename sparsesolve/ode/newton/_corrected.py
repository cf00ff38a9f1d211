"""Linear systems near one whose factors are kept, by corrections with these factors.

`stage_solve` is the system of an implicit step whose mass matrix depends on the state: with M (z - known) = gh f(t, z),

    (M - gh J + d(M moved)/dy) z' = right,      moved = z - known,

whose last term the factors of `W = M - gh J` do not hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from sparsesolve.krylov import gmres
from sparsesolve.linear import AbstractDirectSolver
from sparsesolve.ode.newton._tangent import tangent_solve
from sparsesolve.ode.system._system import StiffSystem

_CORRECTIONS = 20
_MOST = 90  # steps of GMRES


def stage_solve(
    system: StiffSystem,
    factors: Any,
    t: Array,
    z: Float[Array, " n"],
    gh: Array,
    moved: Float[Array, " n"],
    right: Float[Array, " n"],
    *,
    relaxation: Any = 1.0,
) -> Float[Array, " n"]:
    """`(M - gh J + d(M moved)/dy)^-1 right` at (t, z), linear in `right`, transposable; NaN where it cannot be solved.

    Args:
        system: prepared.
        factors: of `M - gh_W J` near this one, from the step.
        t: time of the stage.
        z: the stage.
        gh: factor of J.
        moved: `z - known`.
        right: shape `(n,)`.
        relaxation: factor of corrections, `2 / (1 + gh / gh_W)`.
    """
    if system.mass is None or system.mass.is_constant:
        return tangent_solve(system, factors, t, z, gh, right, relaxation=relaxation)
    fixed, factors, relaxation = lax.stop_gradient((system, factors, relaxation))

    def stage(y: Array) -> Array:
        return gh * system.rhs(t, y) - system.multiply_mass(moved, t, y)

    def product(v: Array) -> Array:
        return system.multiply_mass(v, t, z) - jax.jvp(stage, (z,), (v,))[1]

    def solver(transpose: bool) -> Any:
        return lambda by, b: corrected(lambda r: relaxation * solve_with(fixed, factors, r, transpose), by, b)

    return lax.custom_linear_solve(product, right, solver(False), solver(True))


def solve_with(system: StiffSystem, factors: Any, b: Array, transpose: bool) -> Array:
    """`W^-1 b` or `W^-T b`."""
    if not transpose:
        return system.solve(factors, b)[0]
    state = system.state_of(factors, b.dtype)
    if isinstance(system.linear_solver, AbstractDirectSolver) and system.mass is None:
        return state.plan.solve(state.factors, b, transpose=True)
    other, _ = system.linear_solver.transpose(state, {})
    return system.linear_solver.compute(other, b, {})[0]


def corrected(precondition: Callable[[Array], Array], product: Callable[[Array], Array], b: Array) -> Array:
    """`product^-1 b` by corrections; by GMRES where they do not converge, since their factors are of a matrix too far
    away; NaN where that fails too."""
    scale = jnp.max(jnp.abs(b))
    eps = jnp.finfo(b.dtype).eps

    def proceed(state: Any) -> Array:
        _, change, size, steps = state
        return (change > 10 * eps * size) & (steps < _CORRECTIONS)

    def correct(state: Any) -> Any:
        x, _, _, steps = state
        delta = precondition(b - product(x))
        return x + delta, jnp.max(jnp.abs(delta)), jnp.max(jnp.abs(x + delta)), steps + 1

    start = (jnp.zeros_like(b), jnp.asarray(jnp.inf, b.dtype), scale, jnp.asarray(0))
    x, change, size, _ = lax.while_loop(proceed, correct, start)
    settled = (change <= eps**0.5 * size) | (scale == 0)

    def flat(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
        return lambda v: function(v.reshape(b.shape)).ravel()

    rest = jnp.where(settled, 0.0, b).ravel()  # nothing is done for zero
    other, info = gmres(
        flat(product), rest, precondition=flat(precondition), rtol=float(eps) ** (2 / 3), max_steps=_MOST
    )
    return jnp.where(settled, x, jnp.where(info.converged, other.reshape(b.shape), jnp.nan))
