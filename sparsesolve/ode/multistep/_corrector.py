"""The corrector of BDF: Newton's method with factors kept over many steps, tried again at the same step size.

The implicit equation of a multistep method at t, with predictor y_p and d = y - y_p, is a stage equation

    M (psi + d) = c f(t, y),        W = M - c J.

The first attempt takes the factors there are, if c has not moved far from the c_W they were made with: a Newton step
with them, corrected by 2 / (1 + c / c_W), contracts no faster than |c - c_W| / (c + c_W), which is why that bounds the
remembered rate from below. Where it fails, `W` is factorized anew, and where that fails with a Jacobian from another
step, `J` is evaluated anew. Jacobian and factors are loop carries of those rare attempts only, so that an ordinary step
does not copy them.

References: P. N. Brown, G. D. Byrne, A. C. Hindmarsh, "VODE: a variable-coefficient ODE solver", SIAM J. Sci. Stat.
Comput. 10 (1989) 1038, doi:10.1137/0910062.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from sparsesolve.ode.newton._corrected import stage_solve
from sparsesolve.ode.newton._newton import Work, solve_stage
from sparsesolve.ode.system._stats import add_counts
from sparsesolve.ode.system._system import StiffSystem

MAX_ITERATIONS = 4
_SLOWEST = 0.3  # contraction that a changed c may cost: c / c_W between 7/13 and 13/7


class Equation(NamedTuple):
    """`M (y - known) = c f(t, y)`, with the guess from which it is solved."""

    t: Array
    known: Float[Array, " n"]
    guess: Float[Array, " n"]
    c: Float[Array, ""]

    def residual(self, system: StiffSystem, y: Float[Array, " n"]) -> Float[Array, " n"]:
        """`c f(t, y) - M (y - known)`; its derivative by `y` is `-W`."""
        return self.c * system.rhs(self.t, y) - system.multiply_mass(y - self.known, self.t, y)


class _Attempt(NamedTuple):
    y: Float[Array, " n"]
    converged: Bool[Array, ""]
    renew: Bool[Array, ""]  # the next attempt takes a new Jacobian
    final: Bool[Array, ""]  # the last attempt had one
    work: Work


def correct(
    system: StiffSystem,
    work: Work,
    equation: Equation,
    size: Callable[[Array], Array],
    kappa: Float[Array, ""],
    near: Float[Array, " n"],
    weights: Float[Array, " n"],
) -> tuple[Float[Array, " n"], Bool[Array, ""], Work]:
    """Solves the equation of a step: `(y, converged, work)`.

    Args:
        system: the prepared system.
        work: Jacobian and factors of earlier steps.
        equation: of this step.
        size: weighted norm of a vector.
        kappa: bound on the size of the error that the iteration leaves in `y`.
        near: where a new Jacobian is evaluated; the guess, if that can be trusted.
        weights: tolerances of the components, the units in which factors of lower precision are judged.
    """
    contraction = jnp.abs(equation.c - work.shift) / (equation.c + work.shift)
    usable = (contraction <= _SLOWEST) & ~jnp.isnan(work.time)  # false where nothing was factorized yet
    limit = jnp.where(usable, MAX_ITERATIONS, 0)

    def sweep(work: Work, most: Any) -> tuple[Any, Work]:
        t, known, guess, c = equation
        return solve_stage(system, work, t, known, guess, c, size, kappa=kappa, max_steps=most)

    # A DAE's iteration must be seen to contract: where J is too large by far, its updates are too small by as much.
    unknown = jnp.asarray(1.0 if system.mass is None else jnp.inf, work.rate.dtype)
    remembered = work.rate if system.mass is None else unknown
    rate = jnp.where(usable, jnp.maximum(remembered, contraction), unknown)
    done, tried = sweep(dataclasses.replace(work, rate=rate), limit)

    def proceed(state: _Attempt) -> Array:
        return ~state.converged & ~state.final

    def again(state: _Attempt) -> _Attempt:
        fresh = _factorized(system, state.work, equation, state.renew, near, weights)
        done, fresh = sweep(dataclasses.replace(fresh, rate=unknown), MAX_ITERATIONS)
        return _Attempt(done.x, done.converged, jnp.asarray(True), state.renew, fresh)

    # Factors that failed, or that are not there, ask for a new Jacobian; a changed c for factors alone.
    renew = usable | jnp.isnan(work.time)
    end = lax.while_loop(proceed, again, _Attempt(done.x, done.converged, renew, jnp.asarray(False), tried))
    counts = add_counts(end.work.counts, num_newton_failures=~end.converged)
    # A Jacobian that did not serve where it was evaluated must not serve elsewhere.
    time = jnp.where(end.converged, end.work.time, jnp.nan)
    return end.y, end.converged, dataclasses.replace(end.work, time=time, counts=counts)


def _factorized(system: StiffSystem, work: Work, equation: Equation, renew: Array, y: Array, weights: Array) -> Work:
    """`work` with a new `W`, and with a new Jacobian at `y` where `renew`."""
    t, c = equation.t, equation.c
    jacobian = lax.cond(renew, lambda: system.jacobian(t, y, work.invariants), lambda: work.jacobian)
    failed = jnp.isnan(work.time) & ~jnp.isnan(work.shift)  # at the last step, with everything new
    return Work(
        jacobian=jacobian,
        time=jnp.where(renew, t, work.time),
        factors=system.refactor(system.matrix(jacobian, 1.0, -c, t, y), work.factors, weights, failed),
        shift=c,
        rate=jnp.ones_like(work.rate),
        invariants=work.invariants,
        counts=add_counts(work.counts, num_jacobians=renew, num_factorizations=1),
    )


def attach_derivative(
    system: StiffSystem, equation: Equation, y: Float[Array, " n"], factors: Any
) -> Float[Array, " n"]:
    """`y`, differentiable in the arrays of `system` and `equation` by the implicit function theorem.

    The iteration that found `y` is not differentiated: with `F` the residual of the equation,
    `-(dF/dy) dy = dF` is one linear solve, with the factors of the step to start from.
    """

    @eqx.filter_custom_jvp
    def solution(root: Array, system: StiffSystem, equation: Equation, factors: Any) -> Array:
        del system, equation, factors
        return root

    @solution.def_jvp
    def rule(primals: Any, tangents: Any) -> tuple[Array, Array]:
        root, system, equation, factors = primals
        _, change = eqx.filter_jvp(lambda s, e: e.residual(s, root), (system, equation), tangents[1:3])
        return root, stage_solve(system, factors, equation.t, root, equation.c, root - equation.known, change)

    return solution(lax.stop_gradient(y), system, equation, lax.stop_gradient(factors))
