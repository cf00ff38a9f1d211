"""Steps within bounds: unknowns that a step would carry over a bound are held there and the others solved for again.

Cutting a step off at the box spoils it: the other unknowns were to move together with those that now cannot, and on
problems whose unknowns are correlated the cut step goes uphill. So the linear problem is solved anew for the unknowns
that are left, with those held at their bounds in its residual, until no more bounds are crossed,

    min |J_F d_F + (r + J_H d_H)|,      d_H = bound - y_H,

an active-set method that only adds to the active set; what may leave it is decided at the next linearisation, by the
sign of the gradient. A step that is left without a decrease is rejected like any other, and more damping turns it to
the projected gradient. Only a step that crosses no bound can be the last, so that at the end the projected gradient is
zero: free unknowns have none, and that of the others presses against their bounds.

Reference: J. Nocedal, S. J. Wright, Numerical Optimization, 2006, section 16.7, doi:10.1007/978-0-387-40065-5.
Cost: a factorization for each round; none where a step crosses no bound.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from sparsesolve.least_squares.descent._descent import AbstractDescent, Model, Proposal
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver
from sparsesolve.least_squares.objective._objective import Objective, Operands

_ROUNDS = 20


def within_bounds(
    objective: Objective,
    linear: AbstractDampedSolver,
    descent: AbstractDescent,
    model: Model,
    state: Any,
    first: Proposal,
    y: PyTree[Array],
    operands: Operands,
) -> Proposal:
    """The proposal of `descent` for a state, `first`, solved again for the unknowns that cross no bound."""
    if operands.bounds is None or not descent.repeatable:
        return first
    first = first._replace(**_masked(first, model.lin.free, 0.0))
    start = objective.unknowns.ravel(y)
    low, high = (side - start for side in operands.bounds)

    def crossing(step: Array, held: Array) -> Array:
        return model.lin.free & ~held & ((step < low) | (step > high))

    def going(carry: Any) -> Array:
        proposal, held, count = carry
        return jnp.any(crossing(proposal.step, held)) & (count < _ROUNDS)

    def again(carry: Any) -> Any:
        proposal, held, count = carry
        held = held | crossing(proposal.step, held)
        hold = jnp.where(held, jnp.clip(proposal.step, low, high), 0.0).astype(proposal.step.dtype)
        lin = objective.holding(model.lin, model.jacobian, held, hold)
        jacobian = objective.operator(lin, y, operands)
        prepared = linear.bound(linear.prepare_operator(jacobian), jacobian)
        reduced = Model(lin, jacobian, prepared, model.squares, jnp.asarray(True), None, model.position)
        new, _ = descent.propose(linear, reduced, state)
        new = new._replace(
            **_masked(new, lin.free, hold),
            factorizations=(proposal.factorizations + new.factorizations).astype(jnp.int32),
            iterations=(proposal.iterations + new.iterations).astype(jnp.int32),
            held=jnp.asarray(True),
        )
        return new, held, count + 1

    as_is = first._replace(
        factorizations=first.factorizations.astype(jnp.int32),
        iterations=first.iterations.astype(jnp.int32),
        held=jnp.asarray(False),
    )
    found, held, _ = lax.while_loop(going, again, (as_is, jnp.zeros(start.shape, bool), 0))
    return found._replace(held=jnp.any(held) | jnp.any(crossing(found.step, held)))


def _masked(proposal: Proposal, free: Array, others: Any) -> dict[str, Array]:
    """Steps of the free unknowns alone: others get rounding errors, divided by the tiny scale of zero columns.

    Such an error takes an unknown off its bound, and the iteration never ends.
    """
    return {name: jnp.where(free, getattr(proposal, name), others) for name in ("step", "velocity")}
