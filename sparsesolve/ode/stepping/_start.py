"""How a method starts: the slope y', also where the mass matrix is singular, and how far it carries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from sparsesolve.ode.newton._tangent import tangent_solve
from sparsesolve.ode.system._system import StiffSystem

PROBES = 3  # of the curvature, each at the step that the one before gave
_FRACTION = 1e-2  # of the first step, over which a slope is found for singular mass matrices
_CORRECTIONS = 3


def start_slope(system: StiffSystem, t: Array, x: Float[Array, " n"], step: Array) -> Float[Array, " n"]:
    """`y'` at a consistent state: f itself, or with a mass matrix the second of two increments of the linearly implicit
    Euler method with a step `e`, a hundredth of the first one, divided by `e`,

        (M - e J) v = f(t + e, y),

    which gives algebraic components the slope that keeps their equations satisfied. What the last step left of an
    algebraic residual is gone with the first increment; divided by `e` it would spoil the slope. Differentiable.
    """
    if system.mass is None:
        return system.rhs(t, x)
    e = (_FRACTION * step).astype(system.dtype)
    near = x + e * _increment(system, t, x, step)
    return _increment(system, t + e.astype(t.dtype), near, step)


def _increment(system: StiffSystem, t: Array, x: Float[Array, " n"], step: Array) -> Float[Array, " n"]:
    """`(M - e J)^-1 f(t + e, y)`, differentiable."""
    fixed, t0, x0, step0 = lax.stop_gradient((system, t, x, step))
    factors = fixed.factor(_start_matrix(fixed, t0, x0, step0))
    found = fixed.solve(factors, _start_residual(fixed, t0, x0, step0, jnp.zeros_like(x0)))[0]

    @eqx.filter_custom_jvp
    def increment(v: Array, factors: Any, inputs: Any) -> Array:
        del factors, inputs
        return v

    @increment.def_jvp
    def rule(primals: Any, tangents: Any) -> tuple[Array, Array]:
        v, factors, inputs = primals
        system, t, x, step = inputs
        residual = lambda system, t, x, step: _start_residual(system, t, x, step, v)  # noqa: E731
        _, change = eqx.filter_jvp(residual, inputs, tangents[2])
        return v, tangent_solve(system, factors, t, x, (_FRACTION * step).astype(system.dtype), change)

    return increment(found, factors, (system, t, x, step))


def _start_matrix(system: StiffSystem, t: Array, x: Float[Array, " n"], step: Array) -> Float[Array, " nnz"]:
    """Values of `M - e J`."""
    e = (_FRACTION * step).astype(system.dtype)
    return system.matrix(system.jacobian(t, x), jnp.ones((), system.dtype), -e, t, x)


def _start_residual(
    system: StiffSystem, t: Array, x: Float[Array, " n"], step: Array, v: Float[Array, " n"]
) -> Float[Array, " n"]:
    """`f(t + e, y) - (M - e J) v`."""
    e = (_FRACTION * step).astype(system.dtype)
    f = system.rhs(t + e.astype(t.dtype), x)
    return f - system.multiply_mass(v, t, x) + e * system.rhs.product(t, x, v)


def exact_start_slope(system: StiffSystem, t: Array, x: Float[Array, " n"], step: Array) -> Float[Array, " n"]:
    """The first increment of `start_slope`, corrected by what it changes in the differential components,

        (M - e J) v_0 = f(t + e, y),    (M - e J) (v_m - v_{m-1}) = f(t, y) - M v_{m-1},

    which gives algebraic components the slope that keeps their equations satisfied, and `M v = f` up to O(e^4).
    Differentiable.
    """
    if system.mass is None:
        return system.rhs(t, x)
    e = (_FRACTION * step).astype(system.dtype)
    fixed, t0, x0, e0 = lax.stop_gradient((system, t, x, e))
    factors = fixed.factor(fixed.matrix(fixed.jacobian(t0, x0), jnp.ones((), fixed.dtype), -e0, t0, x0))

    def correct(v: Array, f: Array) -> tuple[Array, None]:
        return v + tangent_solve(system, factors, t, x, e, f - system.multiply_mass(v, t, x)), None

    now = system.rhs(t, x)
    rights = jnp.stack([system.rhs(t + e.astype(t.dtype), x), *[now] * _CORRECTIONS])
    return lax.scan(correct, jnp.zeros_like(x), rights)[0]


def first_reach(
    system: StiffSystem,
    t: Array,
    x: Float[Array, " n"],
    slope: Float[Array, " n"],
    step: Array,
    size: Callable[[Array], Float[Array, ""]],
    strict: Float[Array, ""],
) -> Float[Array, ""]:
    """The length of a first step of order 1 that keeps its local error at a quarter of `1 / strict`, at most `step`.

    The error is about h^2 |y''| / 4, and y'' a difference of slopes along an explicit step as long as the one in
    question; that is repeated, since the curvature of a stiff problem depends on the scale it is looked at.

    Reference: A. C. Hindmarsh et al., "SUNDIALS", ACM TOMS 31 (2005) 363, doi:10.1145/1089014.1089020 (CVODE's choice
    of a first step).
    """

    def probe(_: Any, h: Array) -> Array:
        curvature = size(system.rhs(t + h.astype(t.dtype), x + h * slope) - slope) / h
        good = jnp.isfinite(curvature) & (curvature > 0)
        better = 1 / jnp.sqrt(jnp.where(good, strict * curvature, 1.0))
        return jnp.where(good, jnp.minimum(better, longest), jnp.where(curvature == 0, longest, 0.1 * h))

    longest = step.astype(system.dtype)
    moved = jnp.maximum(size(slope), jnp.finfo(system.dtype).tiny ** 0.5)
    return lax.fori_loop(0, PROBES, probe, jnp.minimum(longest, 1 / moved))


def rough_slope(system: StiffSystem, t: Array, y: PyTree[Array], field: PyTree[Array]) -> Float[Array, " n"]:
    """The size that `y'` has where `field` is `M y'`: each component divided by the largest entry of its row of `M`,
    zero where the row is empty."""
    assert system.mass is not None
    x = system.structure.ravel(y)
    matrix = system.mass.matrix(t, x)
    rows = jnp.zeros((system.size,), system.dtype).at[matrix.pattern.rows].max(jnp.abs(matrix.data))
    return jnp.where(rows > 0, system.structure.ravel(field) / jnp.where(rows > 0, rows, 1.0), 0.0)
