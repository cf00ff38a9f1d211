"""A loop of many lanes, worked off in chunks of those that are still active.

JAX batches a `while_loop` by running all lanes until the slowest ends. Here the first lanes that are still active are
gathered, advanced together until half of them have ended while others wait, and put back. So a step costs as many
lanes as a chunk has, whatever the number of those that have ended. Where few are left, narrower chunks take over.
Cost of a pass: a gather and a scatter of a chunk's carry, and the predicates of all lanes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax import lax
from jaxtyping import Array, Bool


def loop_in_chunks(
    proceed: Callable[[Any, Any], Bool[Array, ""]],
    advance: Callable[[Any, Any, Bool[Array, " chunk"]], Any],
    consts: Any,
    axes: Any,
    carry: Any,
    widths: Sequence[int],
    after_pass: Callable[[Array], None] | None = None,
) -> Any:
    """`while proceed(consts, carry): carry = advance(...)` for every lane, each to its own end.

    Args:
        proceed: of one lane, whether it goes on.
        advance: `advance(consts, carry, alive)` of a chunk of lanes; must leave those that are not alive as they are.
        consts: what the loop reads.
        axes: `0` or `None` for each leaf of `consts`: batched over lanes, or the same for all.
        carry: all lanes, batched.
        widths: lanes of a chunk, falling; each compiles `advance` once. The next takes over where it holds all that
            are left.
        after_pass: gets the number of lanes that are still active, after every pass.
    """
    going = jax.vmap(proceed, in_axes=(axes, 0))
    for width, narrower in itertools.pairwise((*widths, 0)):
        carry = _phase(going, advance, consts, axes, carry, (width, narrower), after_pass)
    return carry


def _phase(
    going: Any, advance: Any, consts: Any, axes: Any, carry: Any, widths: tuple[int, int], after_pass: Any
) -> Any:
    width, narrower = widths
    size = jtu.tree_leaves(carry)[0].shape[0]

    def one_pass(held: tuple[Any, Array]) -> tuple[Any, Array]:
        everything, active = held
        enough = jnp.where(jnp.sum(active) > width, width // 2, narrower)
        (index,) = jnp.nonzero(active, size=width, fill_value=size)
        lanes = jtu.tree_map(lambda leaf: leaf.at[index].get(mode="clip"), everything)
        own = jtu.tree_map(
            lambda axis, leaf: leaf if axis is None else leaf.at[index].get(mode="clip"),
            axes,
            consts,
            is_leaf=lambda x: x is None,
        )

        def unfinished(state: tuple[Any, Array]) -> Array:
            return jnp.sum(state[1]) > enough

        def body(state: tuple[Any, Array]) -> tuple[Any, Array]:
            now, alive = state
            now = advance(own, now, alive)
            return now, alive & going(own, now)

        lanes, alive = lax.while_loop(unfinished, body, (lanes, index < size))
        everything = jtu.tree_map(lambda leaf, part: leaf.at[index].set(part, mode="drop"), everything, lanes)
        active = active.at[index].set(alive, mode="drop")
        if after_pass is not None:
            after_pass(jnp.sum(active))
        return everything, active

    return lax.while_loop(lambda held: jnp.sum(held[1]) > narrower, one_pass, (carry, going(consts, carry)))[0]


def keep_ended(advance: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Bool[Array, " chunk"]], Any]:
    """`advance` of a chunk of lanes, where those that are not alive keep what they have."""

    def kept(consts: Any, lanes: Any, alive: Array) -> Any:
        def choose(new: Array, old: Array) -> Array:
            return jnp.where(alive.reshape(alive.shape + (1,) * (new.ndim - 1)), new, old)

        return jtu.tree_map(choose, advance(consts, lanes), lanes)

    return kept
