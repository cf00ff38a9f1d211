"""The Newton iteration and the management of W that all implicit methods here share.

An implicit stage solves  M (z - known) = gh f(t, z)  by simplified Newton steps

    z <- z + 2 / (1 + gh / gh_W) W^-1 (M (known - z) + gh f(t, z)),      W = M - gh_W J,

with a Jacobian J and a step gh_W that may be older than the stage; the first factor makes up for the difference between
gh and gh_W (exact for the middle of the spectrum). What it costs is decided here, after CVODE and Hairer's codes:

* converged when eta |dz| <= kappa in the weighted norm of the state, eta = theta / (1 - theta) from the contraction
  theta = |dz| / |dz_previous|; the first iteration uses the eta that was remembered, so one iteration may do;
* W is factorized again when |gh / gh_W - 1| > 0.2, and J evaluated again only after a failure with an older one; the
  step is then tried again as it is;
* updates as small as rounding allows are accepted, and what will not converge is given up early.

References:
    Hairer and Wanner, "Solving Ordinary Differential Equations II", 2nd ed. (1996), section IV.8.
    Hindmarsh et al., "SUNDIALS", ACM TOMS 31 (2005) 363, doi:10.1145/1089014.1089020.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import equinox.internal as eqxi
import jax.numpy as jnp
import jax.tree_util as jtu
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact, Int, PyTree

from sparsesolve.ode.system._stats import Counts, add_counts, new_counts
from sparsesolve.ode.system._system import StiffSystem

STEP_CHANGE = 0.2  # relative change of gh that W bears (CVODE: 0.3, OrdinaryDiffEq: 0.2)
MEMORY = 0.3  # share of a remembered eta that an update cannot talk down at once
DIVERGED = 2.0


class Iterated(eqx.Module):
    """Result of `iterate`.

    Attributes:
        x: the last iterate.
        converged: whether it solves the equations.
        rate: eta to be remembered.
        num_iterations: updates computed.
        num_linear_iterations: of their linear solves.
    """

    x: Inexact[Array, " n"]
    converged: Bool[Array, ""]
    rate: Float[Array, ""]
    num_iterations: Int[Array, ""]
    num_linear_iterations: Int[Array, ""]


def iterate(
    update: Callable[[Array], tuple[Array, Any]],
    guess: Inexact[Array, " n"],
    size: Callable[[Array], Float[Array, ""]],
    rate: Float[Array, ""],
    *,
    kappa: Any,
    floor: Any,
    max_steps: Any,
) -> Iterated:
    """Adds updates until they are small enough. Method-independent, and a `while_loop`.

    Args:
        update: gives the next update and its number of linear iterations.
        guess: where to begin.
        size: weighted norm of an update: 1 is the tolerance of the step.
        rate: remembered eta, by which the first update is judged; infinite: it takes two to judge.
        kappa: share of the tolerance that the error of the iteration may take.
        floor: size that is rounding.
        max_steps: most updates; 0 does nothing and fails.
    """

    def body(state: Any) -> Any:
        x, last, eta, steps, linear, _, _ = state
        delta, more = update(x)
        now = size(delta).astype(rate.dtype)
        first = steps == 0
        theta = jnp.where(first, 0.0, now / last)
        measured = theta / jnp.where(theta < 1, 1 - theta, 1.0)
        remembered = jnp.where(jnp.isinf(eta), 0.0, MEMORY * eta)
        eta = jnp.where(first, eta, jnp.where(theta < 1, jnp.maximum(measured, remembered), 1.0))
        converged = jnp.isfinite(now) & ((eta * now <= kappa) | (now <= floor))
        left = (max_steps - 1 - steps).astype(rate.dtype)
        hopeless = (steps >= 2) & (now * theta**left * eta > kappa)
        failed = ~converged & (~jnp.isfinite(now) | (theta > DIVERGED) | hopeless)
        linear = linear + jnp.asarray(more).astype(jnp.int32)
        return x + delta, now, eta, steps + 1, linear, converged, failed

    def going(state: Any) -> Array:
        steps, converged, failed = state[3], state[5], state[6]
        return ~converged & ~failed & (steps < max_steps)

    zero, no = jnp.asarray(0, jnp.int32), jnp.asarray(False)
    max_steps = jnp.asarray(max_steps, jnp.int32)
    start = (guess, jnp.ones_like(rate), rate, zero, zero, no, no)
    x, _, eta, steps, linear, converged, _ = lax.while_loop(going, body, start)
    return Iterated(x, converged, jnp.where(converged, eta, rate), steps, linear)


class Work(eqx.Module):
    """What implicit steps carry from one to the next besides the solution, whether a step is accepted or not.

    Attributes:
        jacobian: values of df/dy.
        time: where it was evaluated; NaN: nowhere yet.
        factors: of `W = M - shift J`.
        shift: `gh` of W; NaN: not factorized yet.
        rate: remembered contraction, see `iterate`.
        invariants: constant parts of the Jacobian.
        counts: see `_stats.py`.
    """

    jacobian: Float[Array, " nnz"]
    time: Float[Array, ""]
    factors: PyTree[Array]
    shift: Float[Array, ""]
    rate: Float[Array, ""]
    invariants: list[Array]
    counts: Counts


def new_work(system: StiffSystem, t: Array, x: Float[Array, " n"]) -> Work:
    """No Jacobian and no factors yet."""
    nan = jnp.asarray(jnp.nan, system.dtype)
    return Work(
        jacobian=jnp.zeros((system.plan.pattern.nnz,), system.dtype),
        time=jnp.full_like(t, jnp.nan),
        factors=system.no_factors(),
        shift=nan,
        rate=jnp.ones_like(nan),
        invariants=system.invariants(t, x),
        counts=new_counts(),
    )


def forget_jacobian(work: Work, forget: Any) -> Work:
    """After a jump: the Jacobian belongs to another right-hand side, even if time is the same."""
    return eqx.tree_at(lambda w: w.time, work, jnp.where(forget, jnp.nan, work.time))


def updated(
    system: StiffSystem, work: Work, t: Array, x: Float[Array, " n"], gh: Array, new_jacobian: Any = False
) -> Work:
    """`work` with a W that serves the step `gh`, as little of it computed anew as the rules at the top allow.

    Args:
        system: prepared.
        work: from the step before.
        t: where a new Jacobian would be evaluated.
        x: the state there.
        gh: factor of f in the stage equations.
        new_jacobian: whether to evaluate J whatever its age.
    """
    gh = gh.astype(work.shift.dtype)
    need_jacobian = jnp.isnan(work.time) | new_jacobian
    need_factors = need_jacobian | ~(jnp.abs(gh / work.shift - 1) <= STEP_CHANGE)
    # Under vmap a condition stays one: computed for all lanes when any lane asks for it.
    jacobian = lax.cond(
        eqxi.unvmap_any(need_jacobian),
        lambda: jnp.where(need_jacobian, system.jacobian(t, x, work.invariants), work.jacobian),
        lambda: work.jacobian,
    )
    factors = lax.cond(
        eqxi.unvmap_any(need_factors),
        lambda: _choose(need_factors, system.factor(system.matrix(jacobian, 1.0, -gh, t, x)), work.factors),
        lambda: work.factors,
    )
    return Work(
        jacobian=jacobian,
        time=jnp.where(need_jacobian, t, work.time),
        factors=factors,
        shift=jnp.where(need_factors, gh, work.shift),
        rate=jnp.where(need_factors, 1.0, work.rate),
        invariants=work.invariants,
        counts=add_counts(work.counts, num_jacobians=need_jacobian, num_factorizations=need_factors),
    )


def solve_stage(
    system: StiffSystem,
    work: Work,
    t: Array,
    known: Float[Array, " n"],
    guess: Float[Array, " n"],
    gh: Array,
    size: Callable[[Array], Float[Array, ""]],
    *,
    kappa: Any,
    max_steps: Any,
) -> tuple[Iterated, Work]:
    """Solves `M (z - known) = gh f(t, z)` for `z`.

    Args:
        system: prepared.
        work: from `updated`.
        t: time of the stage.
        known: the explicit part.
        guess: predicted `z`.
        gh: factor of f.
        size: weighted norm.
        kappa: see `iterate`.
        max_steps: see `iterate`.
    """
    gh = gh.astype(guess.dtype)
    relaxation = 2 / (1 + gh / work.shift)

    def update(z: Array) -> tuple[Array, Any]:
        residual = system.multiply_mass(known - z, t, z) + gh * system.rhs(t, z)
        correction, iterations = system.solve(work.factors, residual)
        return relaxation * correction, iterations

    floor = 10 * jnp.finfo(guess.dtype).eps * size(guess)
    done = iterate(update, guess, size, work.rate, kappa=kappa, floor=floor, max_steps=max_steps)
    counts = add_counts(
        work.counts,
        num_residuals=done.num_iterations,
        num_solves=done.num_iterations,
        num_newton_iterations=done.num_iterations,
        num_linear_iterations=done.num_linear_iterations,
    )
    return done, eqx.tree_at(lambda w: (w.rate, w.counts), work, (done.rate, counts))


def _choose(flag: Array, new: PyTree[Array], old: PyTree[Array]) -> PyTree[Array]:
    return jtu.tree_map(lambda a, b: jnp.where(flag, a, b), new, old)
