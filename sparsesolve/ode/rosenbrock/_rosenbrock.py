"""One step of a Rosenbrock method: as many linear systems with one matrix as it has stages, no iteration.

    (M - gamma h J) U_i = gamma h (f(t + c_i h, y + sum_j a_ij U_j) + g_i h f_t) + gamma M sum_j C_ij U_j

The solves are `jax.lax.custom_linear_solve`: their derivative is exact, the dependence of J on state, time and
parameters included (second derivatives of f times vectors), through the same factors and their transpose. Cost: one
Jacobian, one factorization, s solves and evaluations of f, one product that checks the factorization.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from sparsesolve.linear import AbstractDirectSolver
from sparsesolve.matrix import SparseMatrix
from sparsesolve.ode.rosenbrock._rosenbrock_tableau import RosenbrockTableau
from sparsesolve.ode.system._custom_solve import custom_solve
from sparsesolve.ode.system._system import StiffSystem

Solve = Callable[[Array], Array]


class RosenbrockStep(eqx.Module):
    """What a step gives, as real vectors.

    Attributes:
        end: the state at its end.
        error: estimate of its local error.
        increments: `U`, one row a stage.
        slope: f at the end, where the last stage evaluates it; otherwise f at the start.
        ok: whether all of it is finite and the linear systems were solved.
    """

    end: Float[Array, " n"]
    error: Float[Array, " n"]
    increments: Float[Array, "stages n"]
    slope: Float[Array, " n"]
    ok: Bool[Array, ""]


def rosenbrock_step(
    tableau: RosenbrockTableau,
    system: StiffSystem,
    solve: Solve,
    t: Array,
    x: Float[Array, " n"],
    h: Array,
    slope: Float[Array, " n"],
    slope_rate: Float[Array, " n"],
) -> RosenbrockStep:
    """One step from `x` at `t`.

    Args:
        tableau: the method.
        system: prepared; its mass matrix is constant.
        solve: with `M - gamma h J`.
        t: time.
        x: the state, shape `(n,)`.
        h: the step.
        slope: f at the start.
        slope_rate: f_t there.
    """
    size = h.astype(x.dtype)
    gh = tableau.gamma * size
    rows: list[Array] = []
    value = slope
    for i in range(tableau.num_stages):
        if i > 0:
            value = system.rhs(t + tableau.c[i] * h, _sum(tableau.a[i], rows, x))
        right = gh * value
        if tableau.g[i] != 0:
            right = right + (tableau.g[i] * gh * size) * slope_rate
        coupled = _sum(tableau.gamma * tableau.C[i], rows)
        if coupled is not None:
            right = right + system.multiply_mass(coupled)
        rows.append(solve(right))
    end = _sum(tableau.m, rows, x)
    error = _sum(tableau.error, rows)
    assert end is not None and error is not None
    if system.mass is not None and tableau.sees_start:
        error = solve(system.multiply_mass(error))
    ok = jnp.all(jnp.isfinite(end)) & jnp.all(jnp.isfinite(error))
    return RosenbrockStep(end, error, jnp.stack(rows), value if tableau.ends_with_slope else slope, ok)


def _sum(weights: np.ndarray, rows: list[Array], start: Any = None) -> Any:
    """`start + sum_j weights_j rows_j` without the terms that are zero; `None` if nothing is left."""
    out = start
    for weight, row in zip(weights, rows, strict=False):
        if weight != 0:
            term = row if weight == 1 else float(weight) * row
            out = term if out is None else out + term
    return out


def exact_solver(
    system: StiffSystem, factors: PyTree[Array], t: Array, x: Float[Array, " n"], gh: Array, kept: Array | None
) -> Solve:
    """`(M - gh J(t, x))^-1`, differentiable in everything.

    Args:
        system: prepared.
        factors: of that matrix.
        t: where J was taken.
        x: the state there.
        gh: factor of J.
        kept: values of the matrix where the factors belong to one that derivatives shall regard as constant.
    """
    factors = lax.stop_gradient(factors)
    forward, transposed = plain_solvers(system, factors)

    def matvec(v: Array) -> Array:
        if kept is not None:
            return SparseMatrix(lax.stop_gradient(kept), system.plan.pattern) @ v
        return system.multiply_mass(v) - gh * system.rhs.product(t, x, v)

    solve = lambda b: custom_solve(matvec, b, forward, transposed)  # noqa: E731
    return jax.jit(solve, inline=True)  # traced once for all stages; the program stays the same


def plain_solvers(system: StiffSystem, factors: PyTree[Array]) -> tuple[Solve, Solve]:
    """Solves with the factorized matrix and with its transpose."""
    state = system.state_of(factors, system.dtype)
    linear = system.linear_solver
    if isinstance(linear, AbstractDirectSolver):
        plan = state.plan
        return (lambda b: plan.solve(state.factors, b)), (lambda b: plan.solve(state.factors, b, transpose=True))
    other, _ = linear.transpose(state, {})

    def general(chosen: Any) -> Solve:
        def solve(b: Array) -> Array:
            x, result, _ = linear.compute(chosen, b, {})
            return jnp.where((result == lx.RESULTS.successful) | jnp.all(b == 0), x, jnp.nan)

        return solve

    return general(state), general(other)


def solves_well(
    system: StiffSystem, data: Float[Array, " nnz"], u: Float[Array, " n"], right: Float[Array, " n"]
) -> Bool[Array, ""]:
    """Whether `u` solves the system with matrix values `data`: residual below `eps^(1/2)` of what is added up in it.

    Rosenbrock methods have no iteration that would make up for a factorization gone wrong.
    """
    data, u, right = jax.lax.stop_gradient((data, u, right))
    matrix = SparseMatrix(data, system.plan.pattern)
    sizes = SparseMatrix(jnp.abs(data), system.plan.pattern) @ jnp.abs(u) + jnp.abs(right)
    limit = jnp.sqrt(jnp.finfo(u.dtype).eps) * jnp.max(sizes, initial=0.0)
    return jnp.max(jnp.abs(matrix @ u - right), initial=0.0) <= limit
