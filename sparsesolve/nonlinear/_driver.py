"""The loop that drives an iterative solver: init, step until terminate, record, report. One for all solvers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import optimistix as optx
from jaxtyping import Array, Float, PyTree

from sparsesolve.nonlinear._results import RESULTS

_HEADER = " step  |F| before     |F| after   step / tolerance  step length"
_ROW = "{k:5d}  {before:.6e}  {after:.6e}  {size:.3e}         {length:.3g}"


class History(eqx.Module):
    """What each iteration looked like, NaN after the last one.

    Attributes:
        residual_norms: Euclidean norm of the residual, shape `(max_steps + 1,)`: before the first step, then after
            each one.
        step_lengths: line search step lengths, shape `(max_steps,)`.
    """

    residual_norms: Float[Array, " max_steps+1"]
    step_lengths: Float[Array, " max_steps"]


def iterate(
    solver: optx.AbstractRootFinder,
    fn: Callable[[Any, Any], Any],
    y0: PyTree[Array],
    operands: tuple[Any, ...],
    options: dict[str, Any],
    *,
    max_steps: int,
    verbose: bool,
    history: bool,
) -> tuple[PyTree[Array], Any, RESULTS, History | None]:
    """Runs `solver` on `fn(y, operands) -> (residual, aux)` from `y0`.

    Returns the last iterate, the solver's state, the result, and the history if asked for.
    """
    f_struct, aux_struct = jax.eval_shape(fn, y0, operands)
    state = solver.init(fn, y0, operands, options, f_struct, aux_struct, frozenset())
    real = state.residual_norm.dtype
    record = None
    if history:
        record = History(jnp.full((max_steps + 1,), jnp.nan, real), jnp.full((max_steps,), jnp.nan, real))
    if verbose:
        jax.debug.print(_HEADER)

    def proceed(carry: Any) -> Array:
        _, state, _ = carry
        return ~state.converged & (state.result == RESULTS.successful) & (state.counts["num_steps"] < max_steps)

    def advance(carry: Any) -> Any:
        y, state, record = carry
        new_y, new_state, _ = solver.step(fn, y, operands, options, state, frozenset())
        k = state.counts["num_steps"]
        if record is not None:
            first = jnp.where(k == 0, new_state.start_norm, record.residual_norms[0])
            norms = record.residual_norms.at[0].set(first).at[k + 1].set(new_state.residual_norm)
            record = History(norms, record.step_lengths.at[k].set(new_state.step_length))
        if verbose:
            _print_row(k, new_state)
        return new_y, new_state, record

    y, state, record = jax.lax.while_loop(proceed, advance, (y0, _as_arrays(state), record))
    unfinished = ~state.converged & (state.result == RESULTS.successful)
    result = RESULTS.where(unfinished, RESULTS.promote(optx.RESULTS.nonlinear_max_steps_reached), state.result)
    return y, state, result, record


def _as_arrays(state: Any) -> Any:
    """Enumeration items start as NumPy scalars; loop carries must be JAX arrays throughout."""
    return jtu.tree_map(jnp.asarray, state)


def _print_row(k: Array, state: Any) -> None:
    jax.debug.print(
        _ROW,
        k=k + 1,
        before=state.start_norm,
        after=state.residual_norm,
        size=state.step_norm,
        length=state.step_length,
    )
