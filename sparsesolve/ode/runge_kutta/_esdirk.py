"""One step of any ESDIRK method: stages by the shared Newton iteration, and their derivative. Traced.

`esdirk_step` maps (y, t, h, slope at t, operands) to the slopes of all stages, M(t_i, z_i) k_i = h f(t_i, z_i). Its
derivative is stated once, by the implicit function theorem for every stage,

    (M - gamma h J(z_i) + gamma d(M k_i)/dy) k_i' = (h f(t_i, z) - M(t_i, z) k_i)' along (t_i', h', z' = known_i', p'),

so that neither the iteration nor its factors are differentiated: a tangent costs a linear solve a stage, a reverse
sweep the transposed ones, both preconditioned by the factors of the step (see `_tangent.py` and `_corrected.py`).
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from sparsesolve.ode.newton._corrected import stage_solve
from sparsesolve.ode.newton._newton import Work, solve_stage, updated
from sparsesolve.ode.runge_kutta._tableau import EsdirkTableau
from sparsesolve.ode.system._stats import add_counts
from sparsesolve.ode.system._system import StiffSystem
from sparsesolve.ode.system._weights import scaled_norm, tolerance_weights

# Of algebraic components the filter tells only what linearized equations make of the errors of the others; that is less
# than their errors on the transistor amplifier, whose characteristics are exponential.
_LINEARIZED = 4.0


class Settings(eqx.Module):
    """How accurately stages are solved.

    Attributes:
        rtol: relative tolerance of the steps.
        atol: absolute tolerance.
        norm: of an update divided by its weights.
        kappa: share of the tolerance for Newton's method.
        max_steps: most updates of a stage.
    """

    rtol: Any
    atol: Any
    norm: Any
    kappa: Any
    max_steps: Any


class Slopes(eqx.Module):
    """What a step leads to; all but the error and what follows it are differentiable.

    Attributes:
        implicit: `k_i = h f(t_i, z_i)`, `(s, n)`.
        explicit: the same of the explicit part, or `None`.
        last: the last stage value.
    """

    implicit: Float[Array, "s n"]
    explicit: Float[Array, "s n"] | None
    last: Float[Array, " n"]

    @property
    def all(self) -> Float[Array, "rows n"]:
        """Implicit ones, below them the explicit ones."""
        return self.implicit if self.explicit is None else jnp.concatenate([self.implicit, self.explicit])


def esdirk_step(
    tableau: EsdirkTableau,
    system: StiffSystem,
    settings: Settings,
    work: Work,
    x: Float[Array, " n"],
    t: Array,
    h: Array,
    slope: Float[Array, " n"],
) -> tuple[Slopes, Float[Array, " n"], Bool[Array, ""], Work]:
    """Slopes, error estimate, whether all stages converged, and the work done.

    Args:
        tableau: the method.
        system: prepared; with an explicit part where the right-hand side is split.
        settings: tolerances.
        work: Jacobian and factors from before.
        x: the state at `t`.
        t: start of the step.
        h: its length.
        slope: implicit part of the slope at `t`.
    """
    arrays, static = eqx.partition(system, eqx.is_array)
    other, other_static = eqx.partition((settings, lax.stop_gradient(work)), eqx.is_array)

    def run(moving: Any, operands: Any, fixed: Any) -> Any:
        x_, t_, h_, slope_ = moving
        parts = eqx.combine(operands, static)
        settings_, work_ = eqx.combine(fixed, other_static)
        slopes, ok, work_ = _attempts(tableau, parts, settings_, work_, x_, t_, h_, slope_)
        error = _error(tableau, parts, work_, slopes, t_ + h_)
        return slopes, (error, ok, work_)

    step = jax.custom_jvp(run)

    @step.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        slopes, rest = step(*primals)
        parts = lambda operands: eqx.combine(operands, static)  # noqa: E731
        moved = _tangents(tableau, parts, primals[0], primals[1], tangents[0], tangents[1], slopes, rest[2])
        return (slopes, rest), (moved, jtu.tree_map(_no_tangent, rest))

    slopes, (error, ok, work) = step((x, t, h, slope), arrays, other)
    error, work = lax.stop_gradient((error, work))
    return slopes, error, ok, work


def _attempts(
    tableau: EsdirkTableau,
    system: StiffSystem,
    settings: Settings,
    work: Work,
    x: Array,
    t: Array,
    h: Array,
    slope: Array,
) -> tuple[Slopes, Array, Work]:
    """The stages, and a second time with a new Jacobian where an old one fails."""
    gh = tableau.gamma * h
    slope = h.astype(x.dtype) * slope

    def body(state: Any) -> Any:
        attempt, work, old, place, _ = state
        # A second attempt takes its Jacobian from the last stage that the first one solved.
        # Where there are algebraic equations, an old one hides from updates and error estimate what it does not see.
        renew = (attempt > 0) | ((work.time != place) & (system.mass is not None))
        work = updated(system, work, place, old.last, gh, renew)
        slopes, place, ok, work = _stages(tableau, system, settings, work, x, t, h, slope, old.last, attempt > 0)
        return attempt + 1, work, slopes, place, ok

    def going(state: Any) -> Array:
        attempt, work, _, place, ok = state
        return (attempt == 0) | ((attempt == 1) & ~ok & (work.time != place))

    shape = (tableau.stages, *x.shape)
    none = Slopes(jnp.zeros(shape, x.dtype), None if system.explicit is None else jnp.zeros(shape, x.dtype), x)
    start = (jnp.asarray(0), work, none, t, jnp.asarray(False))
    _, work, slopes, _, ok = lax.while_loop(going, body, start)
    work = eqx.tree_at(lambda w: w.counts, work, add_counts(work.counts, num_newton_failures=~ok))
    return slopes, ok, work


def _stages(
    tableau: EsdirkTableau,
    system: StiffSystem,
    settings: Settings,
    work: Work,
    x: Array,
    t: Array,
    h: Array,
    slope: Array,
    safe: Array,
    cautious: Array,
) -> tuple[Slopes, Array, Array, Work]:
    """All stages one after the other; after one that fails the others are skipped.

    Also tells the time of the last stage solved. `cautious` iterations start from the last stage, the first of them
    from `safe`, instead of extrapolating.
    """
    s, dtype = tableau.stages, x.dtype
    h_x = h.astype(dtype)
    lower = jnp.asarray(np.tril(tableau.a, -1), dtype)
    guess = jnp.asarray(tableau.guess, dtype)
    times = jnp.asarray(tableau.c, h.dtype)
    implicit = jnp.zeros((s, *x.shape), dtype).at[0].set(slope)
    explicit: Any = None
    explicit_lower: Any = None
    explicit_guess: Any = None
    if system.explicit is not None:
        explicit = jnp.zeros_like(implicit).at[0].set(h_x * system.explicit(t, x))
        explicit_lower, explicit_guess = (
            jnp.asarray(tableau.explicit, dtype),
            jnp.asarray(tableau.explicit_guess, dtype),
        )

    def stage(i: Array, state: Any) -> Any:
        implicit, explicit, last, place, ok, work = state
        sums = jnp.stack([lower[i], guess[i]]) @ implicit
        if explicit is not None:
            sums = sums + jnp.stack([explicit_lower[i], explicit_guess[i]]) @ explicit
        known = x + sums[0]
        start = jnp.where(cautious, jnp.where(i == 1, safe, last), x + sums[1])
        weights = tolerance_weights(system.structure, settings.rtol, settings.atol, x, start)
        t_i = t + times[i] * h
        if system.mass is not None:
            # A DAE's iteration must be seen to contract: where J is too large by far, so are its updates too small.
            work = eqx.tree_at(lambda w: w.rate, work, jnp.full_like(work.rate, jnp.inf))
        done, work = solve_stage(
            system,
            work,
            t_i,
            known,
            start,
            tableau.gamma * h,
            lambda v: scaled_norm(settings.norm, system.structure, v, weights),
            kappa=settings.kappa / tableau.strictness,
            max_steps=jnp.where(ok, settings.max_steps, 0),
        )
        ok = ok & done.converged
        z = jnp.where(ok, done.x, last)
        place = jnp.where(ok, t_i, place)
        implicit = implicit.at[i].set((z - known) / tableau.gamma)
        if explicit is not None and system.explicit is not None:
            explicit = explicit.at[i].set(h_x * system.explicit(t_i, z))
        return implicit, explicit, z, place, ok, work

    first = (implicit, explicit, x, t, jnp.asarray(True), work)
    implicit, explicit, last, place, ok, work = lax.fori_loop(1, s, stage, first)
    return Slopes(implicit, explicit, last), place, ok, work


def _error(tableau: EsdirkTableau, system: StiffSystem, work: Work, slopes: Slopes, t: Array) -> Array:
    """The embedded difference, filtered by W^-1 M where it would not be bounded for infinitely stiff problems, or not
    vanish with h for algebraic equations."""
    weights = jnp.asarray(tableau.strictness * tableau.b_error, slopes.last.dtype)
    error = weights @ slopes.implicit
    if slopes.explicit is not None:
        error = error + weights @ slopes.explicit
    if not tableau.filtered and (system.mass is None or not tableau.sees_start):
        return error
    if not tableau.filtered:
        error = _LINEARIZED * error
    return system.solve(work.factors, system.multiply_mass(error, t, slopes.last))[0]


def _tangents(
    tableau: EsdirkTableau,
    parts: Any,
    moving: Any,
    operands: Any,
    moving_dot: Any,
    operands_dot: Any,
    slopes: Slopes,
    work: Work,
) -> Slopes:
    """The derivative of the slopes along one direction: linear in the direction, a scan over stages."""
    x, t, h, slope = moving
    x_dot, t_dot, h_dot, slope_dot = moving_dot
    system, s, dtype = parts(operands), tableau.stages, x.dtype
    gh = (tableau.gamma * h).astype(dtype)
    h_x, h_dot_x = h.astype(dtype), h_dot.astype(dtype)
    a, lower = jnp.asarray(tableau.a, dtype), jnp.asarray(np.tril(tableau.a, -1), dtype)
    values = x[None] + a @ slopes.implicit
    e_slopes: Any = slopes.explicit
    explicit_a: Any = None
    has_explicit = e_slopes is not None
    if has_explicit:
        explicit_a = jnp.asarray(tableau.explicit, dtype)
        values = values + explicit_a @ e_slopes

    def implicit_part(time: Array, z: Array, step: Array, k: Array, p: Any) -> Array:
        system = parts(p)
        return step * system.rhs(time, z) - system.multiply_mass(k, time, z)

    def explicit_rhs(time: Array, z: Array, p: Any) -> Array:
        return parts(p).explicit(time, z)

    def along(f: Any, time: Array, z: Array, k: Array, time_dot: Array, z_dot: Array) -> Array:
        _, f_dot = jax.jvp(f, (time, z, operands), (time_dot, z_dot, operands_dot))
        return h_dot_x * (k / h_x) + h_x * f_dot

    first = h_dot_x * slope + h_x * slope_dot
    k_dot = jnp.zeros_like(slopes.implicit).at[0].set(first)
    e_dot: Any = None
    if has_explicit:
        e_dot = jnp.zeros_like(k_dot).at[0].set(along(explicit_rhs, t, x, e_slopes[0], t_dot, x_dot))

    def stage(carry: Any, inputs: Any) -> Any:
        k_dot, e_dot, _ = carry
        i, c, row, e_row, z, k, e = inputs
        time, time_dot = t + c * h, t_dot + c * h_dot
        known_dot = x_dot + row @ k_dot
        if has_explicit:
            known_dot = known_dot + e_row @ e_dot
        at = lambda t, y, step, p: implicit_part(t, y, step, k, p)  # noqa: E731
        _, right = jax.jvp(at, (time, z, h_x, operands), (time_dot, known_dot, h_dot_x, operands_dot))
        relaxation, moved = 2 / (1 + gh / work.shift), tableau.gamma * k
        new = stage_solve(system, work.factors, time, z, gh, moved, right, relaxation=relaxation)
        z_dot = known_dot + tableau.gamma * new
        k_dot = k_dot.at[i].set(new)
        if has_explicit:
            e_dot = e_dot.at[i].set(along(explicit_rhs, time, z, e, time_dot, z_dot))
        return (k_dot, e_dot, z_dot), None

    c = jnp.asarray(tableau.c, h.dtype)[1:]
    e_rows = explicit_a[1:] if has_explicit else None
    e_values = e_slopes[1:] if has_explicit else None
    inputs = (jnp.arange(1, s), c, lower[1:], e_rows, values[1:], slopes.implicit[1:], e_values)
    (k_dot, e_dot, last_dot), _ = lax.scan(stage, (k_dot, e_dot, x_dot), inputs)
    return Slopes(k_dot, e_dot, last_dot)


def _no_tangent(leaf: Any) -> Any:
    if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
        return jnp.zeros_like(leaf)
    return np.zeros(jnp.shape(leaf), jax.dtypes.float0)
