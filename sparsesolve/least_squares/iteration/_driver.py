"""The loop that drives a least-squares solver: init, step until terminate, record, report."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import optimistix as optx
from jaxtyping import Array, Bool, Float, PyTree

from sparsesolve.least_squares.iteration._lanes import loop_in_lanes
from sparsesolve.least_squares.iteration._results import RESULTS
from sparsesolve.least_squares.objective._objective import Operands

_HEADER = " step  cost            decrease / predicted  |D d| / |D y|"
_ROW = "{k:5d}  {cost:.8e}  {ratio:+.3e}            {size:.3e}"


class History(eqx.Module):
    """Costs before the first step and after each one, shape `(max_steps + 1,)`, NaN after the last."""

    costs: Float[Array, " max_steps+1"]


def iterate(
    solver: optx.AbstractLeastSquaresSolver,
    y0: PyTree[Array],
    operands: Operands,
    options: dict[str, Any],
    *,
    max_steps: int,
    verbose: bool,
    history: bool,
    feasible: Bool[Array, ""] | None = None,
) -> tuple[PyTree[Array], Any, RESULTS, History | None]:
    """Runs `solver` from `y0`; returns the last iterate, the state, the result, and the history if asked for.

    Where constraints were found not to be `feasible` there are no steps.
    """
    state = solver.init(None, y0, operands, options, None, None, frozenset())  # pyright: ignore
    if feasible is not None:
        state = dataclasses.replace(state, result=RESULTS.where(feasible, state.result, RESULTS.infeasible))
    record = History(jnp.full((max_steps + 1,), jnp.nan, state.cost.dtype)) if history else None
    if verbose:
        jax.debug.print(_HEADER)

    # What no step changes is no part of the carry: under vmap it need not be copied for every lane.
    consts = (state.operands, state.invariants)
    state = dataclasses.replace(state, operands=None, invariants=None)

    def proceed(carry: Any) -> Array:
        _, state, _ = carry
        return ~state.converged & (state.result == RESULTS.successful) & (state.num_steps < max_steps)

    def advance(consts: Any, carry: Any) -> Any:
        y, state, record = carry
        state = dataclasses.replace(state, operands=consts[0], invariants=consts[1])
        new_y, new_state, _ = solver.step(None, y, consts[0], options, state, frozenset())  # pyright: ignore
        k = state.num_steps
        if record is not None:
            first = jnp.where(k == 0, new_state.lin.cost, record.costs[0])
            record = History(record.costs.at[0].set(first).at[k + 1].set(new_state.cost))
        if verbose:
            jax.debug.print(_ROW, k=k + 1, cost=new_state.cost, ratio=new_state.ratio, size=new_state.step_size)
        return new_y, dataclasses.replace(new_state, operands=None, invariants=None), record

    start = (y0, jtu.tree_map(jnp.asarray, state), record)
    y, state, record = loop_in_lanes(proceed, advance, consts, start)
    unfinished = ~state.converged & (state.result == RESULTS.successful)
    result = RESULTS.where(unfinished, RESULTS.nonlinear_max_steps_reached, state.result)  # pyright: ignore
    return y, state, result, record
