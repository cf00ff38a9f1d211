"""The slope y' with which a multistep method starts, also where the mass matrix is singular."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from sparsesolve.ode.system._system import StiffSystem

_FRACTION = 1e-2  # of the first step, over which a slope is found for singular mass matrices


def start_slope(system: StiffSystem, t: Array, x: Float[Array, " n"], step: Array) -> Float[Array, " n"]:
    """`y'` at a consistent state: f itself, or with a mass matrix the increment of a short linearly implicit Euler
    step divided by its length,

        (M - e J) v = f(t + e, y),

    which gives algebraic components the slope that keeps their equations satisfied.
    """
    if system.mass is None:
        return system.rhs(t, x)
    e = (_FRACTION * step).astype(system.dtype)
    f = system.rhs(t + e.astype(t.dtype), x)
    factors = system.factor(system.matrix(system.jacobian(t, x), jnp.ones((), system.dtype), -e, t, x))
    return system.solve(factors, f)[0]


def rough_slope(system: StiffSystem, t: Array, y: PyTree[Array], field: PyTree[Array]) -> Float[Array, " n"]:
    """The size that `y'` has where `field` is `M y'`: each component divided by the largest entry of its row of `M`,
    zero where the row is empty."""
    assert system.mass is not None
    x = system.structure.ravel(y)
    matrix = system.mass.matrix(t, x)
    rows = jnp.zeros((system.size,), system.dtype).at[matrix.pattern.rows].max(jnp.abs(matrix.data))
    return jnp.where(rows > 0, system.structure.ravel(field) / jnp.where(rows > 0, rows, 1.0), 0.0)
