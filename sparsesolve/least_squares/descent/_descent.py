"""What proposes steps: the seam between the loop of trials and the ways to damp a Gauss-Newton step."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, Int

from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver
from sparsesolve.least_squares.objective._linear_constraints import Polytope
from sparsesolve.least_squares.objective._objective import Linearisation

_LEAST_SCALE = 1e-16  # of the squared norm of the largest column


class Model(NamedTuple):
    """The linear model of the residual at an iterate, and what a descent may ask of the function.

    Attributes:
        lin: residual, gradient, free unknowns.
        jacobian: at the iterate; it multiplies vectors from both sides.
        prepared: of the damped solver.
        squares: of the damping's scale `D`: the diagonal of `J^T J`, kept off zero.
        fresh: whether the iterate is new.
        curvature: `v -> d^2/dt^2 residual(y + t v)` at `t = 0`; `None` where it is not to be used.
        position: the unknowns as a flat vector; `None` on a manifold.
        region: what a step may be, where linear equality constraints are kept beside bounds.
    """

    lin: Linearisation
    jacobian: Any
    prepared: Any
    squares: Float[Array, " n"]
    fresh: Bool[Array, ""]
    curvature: Callable[[Array], Array] | None
    position: Inexact[Array, " n"] | None
    region: Polytope | None = None


class Proposal(NamedTuple):
    """A step to try.

    Attributes:
        step: shape `(n,)`.
        velocity: the step of the linear model alone, by which the decrease is predicted.
        good: whether the linear algebra succeeded.
        shortening: about how much longer the undamped step would be, at least 1.
        factorizations: that it took.
        iterations: of linear solves.
        held: whether bounds hold unknowns that the step was to carry over them; such a step never is the last.
        gradient: what is left of the gradient in directions that constraints allow; `None`: that of the model.
    """

    step: Inexact[Array, " n"]
    velocity: Inexact[Array, " n"]
    good: Bool[Array, ""]
    shortening: Float[Array, ""]
    factorizations: Int[Array, ""]
    iterations: Int[Array, ""]
    held: Bool[Array, ""] | bool = False
    gradient: Inexact[Array, " n"] | None = None


class Verdict(NamedTuple):
    """How a trial went.

    Attributes:
        ratio: actual decrease divided by the predicted one; -1 for a trial that failed.
        accepted: whether the iterate moved.
        step: what was really taken, bounds considered.
    """

    ratio: Float[Array, ""]
    accepted: Bool[Array, ""]
    step: Inexact[Array, " n"]


class AbstractDescent(abc.ABC):
    """A recipe of damping. Static; its state is a pytree of arrays.

    Attributes:
        repeatable: a proposal for a state depends on the model and the state's damping alone.
    """

    repeatable: bool = True

    @abc.abstractmethod
    def init(self, m: int, n: int, dtype: Any) -> Any:
        """The state before the first step."""

    @abc.abstractmethod
    def propose(self, linear: AbstractDampedSolver, model: Model, state: Any) -> tuple[Proposal, Any]:
        """A step, and the state that `update` gets."""

    @abc.abstractmethod
    def update(self, state: Any, verdict: Verdict) -> Any:
        """The state for the next step."""


def kept_off_zero(diagonal: Float[Array, " n"]) -> Float[Array, " n"]:
    """Squares of a damping scale from the diagonal of `J^T J`; 1 where the Jacobian is zero, NaN where it is."""
    largest = jnp.max(diagonal, initial=0.0)
    return jnp.where(largest == 0, 1.0, jnp.maximum(diagonal, _LEAST_SCALE * largest))


def accelerated(
    velocity: Inexact[Array, " n"],
    squares: Float[Array, " n"],
    curvature: Callable[[Array], Array] | None,
    solve: Callable[[Array], Array],
) -> Inexact[Array, " n"]:
    """Adds half the geodesic acceleration `a = solve(-curvature(v))` to a step `v` where `2 |a| <= 3/4 |v|`.

    Reference: M. K. Transtrum, J. P. Sethna, Improvements to the Levenberg-Marquardt algorithm for nonlinear
    least-squares minimization, arXiv:1201.5885 (2012).
    """
    if curvature is None:
        return velocity
    acceleration = solve(-curvature(velocity))
    size, most = jnp.sum(squares * acceleration**2), jnp.sum(squares * velocity**2)
    usable = 4 * size <= 0.75**2 * most  # False for NaN
    return jnp.where(usable, velocity + 0.5 * jnp.where(usable, acceleration, 0.0), velocity)
