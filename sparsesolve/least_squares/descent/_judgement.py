"""Whether a trial step is taken, and whether it is the last.

The decrease is predicted from the linear model of the step really taken,  -(J d)^T (r + J d / 2), and a trial is
accepted when the actual decrease is at least a thousandth of that. The iteration has converged when a step, scaled up
to what it would be without damping,

    * is short:   |D d| <= rtol |D y|,  or
    * promises nothing:  predicted decrease <= ftol * cost,

or where both promise and outcome are rounding errors of the cost, the root of  sum_i (eps r_i (|J| |y|)_i)^2; such a
step is still taken, for the gradient's sake. Where `J` is singular at a minimum with large residuals, undamped steps
stay long although none decreases the cost: there the end is told by the angles between the residual and the columns of
`J`, which are right to the root of a rounding error. The defaults, rtol = eps^(2/3) and ftol = eps / 1000, ask for all
digits that the dtype has: parameters within 1e-9 of their standard errors.

Steps that shrink fast foretell the next one: with the contraction `theta` of the last two undamped ones it has length
theta |D d| and promises theta^2 as much. Where that promise is a rounding error of the cost and that length is within
three times rtol, the step at hand is the last, and nobody evaluates a Jacobian to learn that nothing was left to gain.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact

from sparsesolve.least_squares.descent._descent import Proposal
from sparsesolve.least_squares.objective._objective import Linearisation, Objective, Operands
from sparsesolve.linear._resolution import resolution, resolved_rtol

_ACCEPTED = 1e-3
_STATIONARY = 100.0  # square roots of eps that a cosine may be at a minimum
_SHORT = 1e3  # a step that was damped more than this says nothing about convergence
_FAST = 0.1  # contraction from which on the next step is foretold
_FORETOLD = 3.0  # times rtol: how short a foretold step must be
_SURPRISING = 10.0  # ratio of decreases from which on the model is no judge
_FULL = 1.01  # stretch of a step that counts as undamped


class Tolerances(NamedTuple):
    """As the solvers' attributes of the same names."""

    rtol: Any
    atol: Any
    ftol: Any


class Progress(NamedTuple):
    """Length and promise of the last trial where it was undamped and accepted, infinite otherwise."""

    size: Float[Array, ""]
    promised: Float[Array, ""]


class Judgement(NamedTuple):
    """What became of a trial.

    Attributes:
        ratio: actual by predicted decrease, -1 for a trial that failed.
        accepted: whether the step is taken.
        converged: whether it is the last.
        moved: whether it changes the unknowns at all.
        size: `|D d| / |D y|`.
        finite: whether Jacobian and gradient are.
        progress: for the judgement of the next trial.
    """

    ratio: Float[Array, ""]
    accepted: Bool[Array, ""]
    converged: Bool[Array, ""]
    moved: Bool[Array, ""]
    size: Float[Array, ""]
    finite: Bool[Array, ""]
    progress: Progress


class Sizes(NamedTuple):
    """Magnitudes of the unknowns at the iterate, and the squared scale of the damping."""

    scale: Float[Array, " n"]
    squares: Float[Array, " n"]


class Trial(NamedTuple):
    """A proposal, the step that bounds left of it, and the residual there."""

    proposal: Proposal
    taken: Inexact[Array, " n"]
    residual: Inexact[Array, " m"]


def judge(
    objective: Objective,
    tolerances: Tolerances,
    lin: Linearisation,
    jacobian: Any,
    trial: Trial,
    sizes: Sizes,
    operands: Operands,
    before: Progress,
) -> Judgement:
    """Judges a trial."""
    proposal, taken, _ = trial
    scale, squares = sizes
    promised = predicted = _promised(lin, jacobian, proposal.velocity)
    if operands.bounds is not None:
        predicted = _promised(lin, jacobian, taken)
    decrease = _decrease(objective, lin, trial.residual, operands)
    usable = jnp.isfinite(decrease) & (predicted > 0) & proposal.good
    ratio = jnp.where(usable, decrease / jnp.where(usable, predicted, 1.0), -1.0)

    undamped = proposal.good & (proposal.shortening <= _SHORT) & jnp.logical_not(proposal.held)
    floor = _rounding_of_cost(objective, lin, jacobian, scale)
    noise = undamped & (promised <= floor) & (jnp.abs(decrease) <= floor)
    length, reference = _length(squares, proposal.step), _length(squares, scale)
    size = jnp.where(length == 0, 0.0, length / jnp.maximum(reference, jnp.finfo(scale.dtype).tiny))
    # Promises of next to nothing that were exceeded by far: losses whose weights vanish say nothing about the cost.
    surprised = (decrease > floor) & (ratio > _SURPRISING)
    small = undamped & ~surprised & _small(objective, tolerances, proposal, size, promised, lin.cost)
    accepted = (ratio > _ACCEPTED) | noise
    rtol = resolved_rtol(tolerances.rtol, objective.tangents)
    cut = operands.bounds is not None  # a step may be cut off at them
    whole = accepted & undamped & (proposal.shortening <= _FULL) & (jnp.all(taken == proposal.step) if cut else True)
    now = Progress(jnp.where(whole, size, jnp.inf), jnp.where(whole, promised, jnp.inf))
    foretold = whole & _nothing_left(rtol, now, before, floor)
    gradient = lin.gradient if proposal.gradient is None else proposal.gradient
    cosine = _cosine(lin.residual, gradient, squares)
    ended = small | foretold | (noise & (ratio <= _ACCEPTED)) | (proposal.good & (cosine == 0))
    moved = jnp.any(jnp.abs(taken) > jnp.finfo(scale.dtype).eps * scale / 4)
    ended |= proposal.good & ~moved & (cosine <= _STATIONARY * resolution(objective.residuals) ** 0.5)
    # With an unknown at its bound whose gradient is a rounding error no step ever counts as undamped.
    still = (_length(squares, taken) if cut else length) <= rtol * reference
    ended |= proposal.good & still & (cosine <= resolution(objective.residuals) ** 0.75)
    finite = jnp.isfinite(reference) & jnp.isfinite(cosine)
    return Judgement(ratio, accepted, ended & jnp.isfinite(lin.cost), moved | proposal.held, size, finite, now)


def _nothing_left(rtol: Any, now: Progress, before: Progress, floor: Array) -> Bool[Array, ""]:
    """Whether the step after one that is being taken would be too short and promise too little to be worth a trial."""
    tiny = jnp.finfo(floor.dtype).tiny
    theta = jnp.maximum(now.size / jnp.maximum(before.size, tiny), jnp.sqrt(now.promised / (before.promised + tiny)))
    known = jnp.isfinite(before.size) & (theta <= _FAST)
    return known & (theta**2 * now.promised <= floor) & (theta * now.size <= _FORETOLD * rtol)


def _small(
    objective: Objective, tolerances: Tolerances, proposal: Proposal, size: Array, promised: Array, cost: Array
) -> Bool[Array, ""]:
    rtol = resolved_rtol(tolerances.rtol, objective.tangents)
    ftol = 1e-3 * resolution(objective.residuals) if tolerances.ftol is None else tolerances.ftol
    stretch = proposal.shortening
    absolute = jnp.max(jnp.abs(proposal.step), initial=0.0) * stretch <= tolerances.atol
    return (size * stretch <= rtol) | absolute | (jnp.abs(promised) * stretch <= ftol * cost)


def _cosine(residual: Array, gradient: Array, squares: Array) -> Float[Array, ""]:
    """The largest cosine of an angle between the residual and a free column of the Jacobian."""
    tiny = jnp.finfo(squares.dtype).tiny
    largest = jnp.max(jnp.abs(gradient) / jnp.sqrt(squares), initial=0.0)
    return largest / jnp.sqrt(jnp.maximum(jnp.sum(residual**2), tiny))


def _promised(lin: Linearisation, jacobian: Any, step: Array) -> Float[Array, ""]:
    """The decrease that the linear model predicts."""
    image = jacobian @ step
    return -jnp.sum(image * (lin.residual + 0.5 * image))


def _decrease(objective: Objective, lin: Linearisation, residual: Array, operands: Operands) -> Float[Array, ""]:
    """The decrease of the cost; for plain squares without cancellation."""
    if objective.losses is not None:
        return lin.cost - objective.cost(residual, operands)
    return 0.5 * jnp.sum((lin.residual - residual) * (lin.residual + residual))


def _rounding_of_cost(objective: Objective, lin: Linearisation, jacobian: Any, scale: Array) -> Float[Array, ""]:
    terms = objective.magnitudes(jacobian, scale)
    spread = jnp.sqrt(jnp.sum((lin.residual * terms) ** 2))
    return resolution(objective.residuals) * (8 * lin.cost + 4 * spread)


def _length(squares: Array, v: Array) -> Float[Array, ""]:
    return jnp.sqrt(jnp.sum(squares * v**2))
