"""Derivatives of implicit steps: linear systems with W at the solution, through factors of an older W.

A stage z of  M (z - known) = gh f(t, z)  moves with its inputs by the implicit function theorem, a linear system with
W = M - gh J(t, z). `tangent_solve` states that system to JAX as a `custom_linear_solve`, so that it is transposed for
reverse mode and differentiated again for Hessians. J is evaluated at z itself; it is not factorized: the factors of
the step, of an older J and another gh, precondition a few corrections that converge as Newton's method did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import lineax as lx
from jax import lax
from jaxtyping import Array, Inexact, PyTree

from sparsesolve.direct import SolveStatus, solve_refined
from sparsesolve.linear import AbstractDirectSolver
from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
from sparsesolve.ode._system import StiffSystem

REFINEMENTS = 12


def tangent_solve(
    system: StiffSystem,
    factors: PyTree[Array],
    t: Array,
    x: Inexact[Array, " n"],
    gh: Any,
    rhs: Inexact[Array, " n"],
    mass_factor: Any = 1.0,
) -> Inexact[Array, " n"]:
    """`(mass_factor M - gh J(t, x))^-1 rhs`, linear in `rhs`, transposable; NaN where it cannot be solved.

    Args:
        system: prepared.
        factors: of a matrix near this one, from the step.
        t: where J is taken.
        x: the state there.
        gh: factor of J; real or complex.
        rhs: shape `(n,)`.
        mass_factor: factor of M.
    """
    fixed, t0, x0, gh0, a0 = lax.stop_gradient((system, t, x, gh, mass_factor))
    data = fixed.matrix(fixed.jacobian(t0, x0), a0, -gh0, t0, x0)
    factors = lax.stop_gradient(factors)

    def matvec(v: Array) -> Array:
        product = system.rhs.product
        slope = product(t, x, v.real) + 1j * product(t, x, v.imag) if jnp.iscomplexobj(v) else product(t, x, v)
        return mass_factor * system.multiply_mass(v, t, x) - gh * slope

    solve, transposed = _solvers(fixed, factors, data)
    return lax.custom_linear_solve(matvec, rhs.astype(data.dtype), solve, transposed)


def _solvers(system: StiffSystem, factors: PyTree[Array], data: Array) -> tuple[Callable, Callable]:
    linear = system.linear_solver
    if isinstance(linear, AbstractDirectSolver):
        state = system.state_of(factors, data.dtype)

        def direct(transpose: bool) -> Callable[[Any, Array], Array]:
            def solve(_: Any, b: Array) -> Array:
                x, info = solve_refined(
                    state.plan, state.factors, data, b, transpose=transpose, max_refinements=REFINEMENTS
                )
                return jnp.where((info.status == SolveStatus.successful) | jnp.all(b == 0), x, jnp.nan)

            return solve

        return direct(False), direct(True)
    fresh = linear.init(SparseLinearOperator(SparseMatrix(data, system.plan.pattern)), {})
    other, _ = linear.transpose(fresh, {})

    def general(state: Any) -> Callable[[Any, Array], Array]:
        def solve(_: Any, b: Array) -> Array:
            x, result, _ = linear.compute(state, b, {})
            return jnp.where((result == lx.RESULTS.successful) | jnp.all(b == 0), x, jnp.nan)

        return solve

    return general(fresh), general(other)
