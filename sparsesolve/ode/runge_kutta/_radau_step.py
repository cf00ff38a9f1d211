"""A step of a Radau IIA method: its predictor, its Newton iteration with as few factorizations as possible, its error.

The predictor is the collocation polynomial of the step before; the error is the embedded estimate of `_radau_table.py`,
filtered by the real factorization; step sizes follow Gustafsson's predictive controller.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax import lax
from jaxtyping import Array, Bool, Float

from sparsesolve.ode.newton._kept import Kept
from sparsesolve.ode.runge_kutta._radau_stages import Stages, StageWork, factorized, solve_stages
from sparsesolve.ode.runge_kutta._radau_table import RadauTable
from sparsesolve.ode.stepping._controller import SAFETY
from sparsesolve.ode.system._stats import Counts, add_counts
from sparsesolve.ode.system._system import StiffSystem

_SAME_STEP = 0.02  # change of the step size that old factors bear
_KEEP_STEP = 1.2  # growth that is not worth new factors


class RadauState(eqx.Module):
    """State of a Radau IIA method between steps.

    Attributes:
        polynomial: coefficients of theta, ..., theta^s of the last step, shape `(s, n)`.
        step: its size; NaN before the first step and after a jump.
        error: its error norm.
        kept: Jacobian, factors and statistics, kept through rejected steps.
    """

    polynomial: Float[Array, "s n"]
    step: Float[Array, ""]
    error: Float[Array, ""]
    kept: Kept

    @property
    def counts(self) -> Counts:
        """Statistics of the work done, that of rejected steps included."""
        return self.kept.value.counts


def extrapolated(table: RadauTable, last: RadauState, step: Array, history: Bool[Array, ""]) -> Float[Array, "s n"]:
    """The last step's polynomial at the stages of this one, relative to its end."""
    q = last.polynomial
    ratio = jnp.where(history, step / last.step, 0.0).astype(q.dtype)
    theta = 1 + jnp.asarray(table.nodes, q.dtype) * ratio
    powers = jnp.stack([theta**k for k in range(1, table.stages + 1)], axis=1) - 1
    return jnp.where(history, powers @ q, 0.0)


def solved(
    system: StiffSystem, work: StageWork, stages: Stages, guess: Array, size: Callable[[Array], Array], kappa: Array
) -> tuple[Array, Array, Array, StageWork]:
    """`(z, converged, iterations, work)`: with the factors there are, else with new ones, else a new Jacobian."""
    most_iterations = stages.table.max_iterations

    def stage_size(z: Array) -> Array:
        sizes = jax.vmap(size)(z)
        return jnp.sqrt(jnp.mean(sizes**2))

    def attempt(work: StageWork, most: Any) -> Any:
        done, work = solve_stages(system, work, stages, guess, stage_size, kappa, most)
        return done.x, done.converged, done.num_iterations, work

    usable = work.current & (jnp.abs(stages.step.astype(system.dtype) / work.step - 1) <= _SAME_STEP)
    first = attempt(work, jnp.where(usable, most_iterations, 0))
    renew = usable | ~work.current

    def proceed(state: Any) -> Array:
        (_, converged, _, _), _, final = state
        return ~converged & ~final

    def again(state: Any) -> Any:
        (_, _, _, work), renew, _ = state
        work = factorized(system, work, stages, renew)
        return attempt(work, most_iterations), jnp.asarray(True), renew

    (z, converged, iterations, work), _, _ = lax.while_loop(proceed, again, (first, renew, jnp.asarray(False)))
    counts = add_counts(work.counts, num_newton_failures=~converged)
    return z, converged, iterations, dataclasses.replace(work, counts=counts)


def leniency(table: RadauTable, rtol: Any, dtype: Any) -> Float[Array, ""]:
    """The estimate is of order s and the method of order 2 s - 1: errors may be larger than the tolerance by
    rtol^(-(s - 1) / (2 s)) / strictness (Hairer's codes: / 10), and the global error still follows the tolerance. Where
    the method shows less than its order, as in fast transients, s = 5 needs more of it than s = 3."""
    least = jnp.min(jnp.stack([jnp.min(jnp.asarray(leaf, dtype)) for leaf in jtu.tree_leaves(rtol)]))
    return jnp.minimum(table.strictness * jnp.maximum(least, jnp.finfo(dtype).eps) ** table.tolerance_exponent, 1.0)


def error_norm(
    system: StiffSystem, work: StageWork, stages: Stages, z: Array, size: Callable, twice: Bool[Array, ""]
) -> Array:
    """Hairer's estimate. Where it is large and `twice` it is filtered once more: in steps without a history and those
    after a rejection stiff components are overestimated. Elsewhere they are not: a stiff component that follows a
    smooth forcing has an error as large as it says."""
    dtype = system.dtype
    combined = jnp.asarray(stages.table.error, dtype) @ z / stages.step.astype(dtype)
    embedded = system.multiply_mass(combined, stages.t0, stages.x0)
    error, _ = system.solve(work.real_factors, system.rhs(stages.t0, stages.x0) + embedded)
    again, _ = system.solve(work.real_factors, system.rhs(stages.t0, stages.x0 + error) + embedded)
    norm = size(error)
    filtered = size(again)
    return jnp.where(twice & (norm >= 1) & jnp.isfinite(filtered), filtered, norm)


def step_factor(
    table: RadauTable, error: Array, last: RadauState, step: Array, iterations: Array, history: Array, accepted: Array
) -> Array:
    """Gustafsson's predictive controller; growth that would not pay for new factors is left out."""
    most, power = 2 * table.max_iterations, table.error_exponent
    safety = SAFETY * (most + 1) / (most + iterations)
    error = jnp.maximum(error, 1e-10)
    plain = error**-power
    ratio = jnp.where(history, step / last.step, 1.0).astype(error.dtype)
    predictive = jnp.where(history, plain * ratio * (last.error / error) ** power, plain)
    factor = safety * jnp.where(accepted, jnp.minimum(plain, predictive), plain)
    factor = jnp.clip(factor, 0.1, 8.0)
    return jnp.where(accepted & (factor >= 1) & (factor < _KEEP_STEP), 1.0, factor)
