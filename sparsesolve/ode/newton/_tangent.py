"""Derivatives of implicit steps: linear systems with W at the solution, through factors of an older W.

A stage z of  M (z - known) = gh f(t, z)  moves with its inputs by the implicit function theorem, a linear system with
W = M - gh J(t, z). `tangent_solve` states that system to JAX as a `custom_linear_solve`, so that it is transposed for
reverse mode and differentiated again for Hessians. J is evaluated at z itself; it is not factorized: with the factors
of the step, of an older J and another gh, a few corrections converge as Newton's method did, until the residual is
eps^(2/3) of the right-hand side or rounding. Where they do not, GMRES takes over (`direct.solve_refined`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox.internal as eqxi
import jax.numpy as jnp
import lineax as lx
from jax import lax
from jaxtyping import Array, Inexact, PyTree

from sparsesolve.direct import SolveStatus, solve_refined
from sparsesolve.linear import AbstractDirectSolver
from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
from sparsesolve.ode.system._system import StiffSystem

CORRECTIONS = 16


def tangent_solve(
    system: StiffSystem,
    factors: PyTree[Array],
    t: Array,
    x: Inexact[Array, " n"],
    gh: Any,
    rhs: Inexact[Array, " n"],
    *,
    mass_factor: Any = 1.0,
    relaxation: Any = 1.0,
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
        relaxation: factor of corrections, `2 / (1 + gh / gh_W)` for factors of `M - gh_W J`.
    """
    fixed, t0, x0, gh0, a0 = lax.stop_gradient((system, t, x, gh, mass_factor))
    data = fixed.matrix(fixed.jacobian(t0, x0), a0, -gh0, t0, x0)
    factors, relaxation = lax.stop_gradient((factors, relaxation))

    def matvec(v: Array) -> Array:
        product = system.rhs.product
        slope = product(t, x, v.real) + 1j * product(t, x, v.imag) if jnp.iscomplexobj(v) else product(t, x, v)
        return mass_factor * system.multiply_mass(v, t, x) - gh * slope

    solve, transposed = _solvers(fixed, factors, data, relaxation)
    return lax.custom_linear_solve(matvec, rhs.astype(data.dtype), solve, transposed)


Solve = Callable[[Any, Array], Array]


def _solvers(system: StiffSystem, factors: PyTree[Array], data: Array, relaxation: Any) -> tuple[Solve, Solve]:
    linear = system.linear_solver
    matrix = SparseMatrix(data, system.plan.pattern)
    if isinstance(linear, AbstractDirectSolver):
        state = system.state_of(factors, data.dtype)
        return _corrected(state, matrix, relaxation, False), _corrected(state, matrix, relaxation, True)
    fresh = linear.init(SparseLinearOperator(matrix), {})
    other, _ = linear.transpose(fresh, {})

    def general(state: Any) -> Solve:
        def solve(_: Any, b: Array) -> Array:
            x, result, _ = linear.compute(state, b, {})
            return jnp.where((result == lx.RESULTS.successful) | jnp.all(b == 0), x, jnp.nan)

        return solve

    return general(fresh), general(other)


def _corrected(state: Any, matrix: SparseMatrix, relaxation: Any, transpose: bool) -> Solve:
    """`x <- x + relaxation W^-1 (b - A x)` until the residual is small or shrinks no more."""

    def solve(_: Any, b: Array) -> Array:
        eps = jnp.finfo(b.dtype).eps
        tolerance = eps ** (2 / 3) * _size(b)
        size_of = SparseMatrix(jnp.abs(matrix.data), matrix.pattern)

        def product(v: Array, by: SparseMatrix = matrix) -> Array:
            return v @ by if transpose else by @ v

        def body(loop: Any) -> Any:
            x, residual, size, steps, _ = loop
            correction = state.plan.solve(state.factors, residual, transpose=transpose)
            new = x + (relaxation * correction).astype(x.dtype)
            rest = b - product(new)
            now = _size(rest)
            better = now < size
            going = (now > tolerance) & (now < 0.7 * size) & (steps < CORRECTIONS)
            return jnp.where(better, new, x), jnp.where(better, rest, residual), jnp.fmin(now, size), steps + 1, going

        start = (jnp.zeros_like(b), b, _size(b), jnp.asarray(0), jnp.asarray(True))
        x, _, size, _, _ = lax.while_loop(lambda loop: loop[-1], body, start)
        rounding = 8 * eps * _size(product(jnp.abs(x), size_of) + jnp.abs(b))
        done = size <= jnp.maximum(tolerance, rounding)
        return lax.cond(
            eqxi.unvmap_all(done),
            lambda: x,
            lambda: jnp.where(done, x, _rescued(state, matrix, b, transpose)),
        )

    return solve


def _rescued(state: Any, matrix: SparseMatrix, b: Array, transpose: bool) -> Array:
    x, info = solve_refined(state.plan, state.factors, matrix.data, b, transpose=transpose)
    return jnp.where((info.status == SolveStatus.successful) | jnp.all(b == 0), x, jnp.nan)


def _size(v: Array) -> Array:
    return jnp.sqrt(jnp.sum(jnp.real(v * jnp.conj(v))))
