"""Loops that many problems share: under `vmap`, lanes that have ended make room for others.

JAX batches a `while_loop` by running all lanes until the slowest ends. Here a batch is worked off in chunks of a fixed
size: the first lanes that are still active are gathered, iterated until half of them have ended, and put back. So a
step costs as many lanes as are active, up to a chunk, and the body is compiled once. Cost of a pass: a gather and a
scatter of a chunk's carry, and a scan of the batch's predicates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool

_LEAST, _MOST = 32, 512  # lanes of a chunk


def loop_in_lanes(
    proceed: Callable[[Any], Bool[Array, ""]], advance: Callable[[Any, Any], Any], consts: Any, carry: Any
) -> Any:
    """`while proceed(carry): carry = advance(consts, carry)`; under `vmap` in chunks of active lanes."""

    @custom_vmap
    def run(consts_: Any, carry_: Any) -> Any:
        return lax.while_loop(proceed, lambda c: advance(consts_, c), carry_)

    @run.def_vmap
    def batched(size: int, is_batched: Any, consts_: Any, carry_: Any) -> Any:
        axes = jtu.tree_map(lambda flag: 0 if flag else None, is_batched[0])
        spread = jtu.tree_map(
            lambda flag, leaf: leaf if flag else jnp.broadcast_to(leaf, (size, *jnp.shape(leaf))), is_batched[1], carry_
        )
        out = _chunks(proceed, advance, size, axes, consts_, spread)
        return out, jtu.tree_map(lambda _: True, carry_)

    return run(consts, carry)


def _chunks(proceed: Any, advance: Any, size: int, axes: Any, consts: Any, carry: Any) -> Any:
    """All lanes to their end. `axes` says which of the constants are batched."""
    chunk = min(size, max(_LEAST, min(_MOST, -(-size // 8))))
    going = jax.vmap(proceed)
    step = jax.vmap(advance, in_axes=(axes, 0))

    def advance_active(inputs: Any, lanes: Any, active: Array) -> Any:
        new = step(inputs, lanes)
        return jtu.tree_map(lambda a, b: jnp.where(_like(active, a), a, b), new, lanes)

    def one_pass(everything: Any) -> Any:
        active = going(everything)
        waiting = jnp.sum(active) > chunk
        (index,) = jnp.nonzero(active, size=chunk, fill_value=size)
        lanes = jtu.tree_map(lambda leaf: leaf.at[index].get(mode="clip"), everything)
        inputs = jtu.tree_map(
            lambda leaf, axis: leaf if axis is None else leaf.at[index].get(mode="clip"),
            consts,
            axes,
            is_leaf=lambda x: x is None,
        )
        enough = jnp.where(waiting, chunk // 2, 0)

        def unfinished(carry_: Any) -> Array:
            return jnp.sum(carry_[1]) > enough

        def body(carry_: Any) -> Any:
            now, alive = carry_
            now = advance_active(inputs, now, alive)
            return now, alive & going(now)

        lanes, _ = lax.while_loop(unfinished, body, (lanes, index < size))
        return jtu.tree_map(lambda leaf, part: leaf.at[index].set(part, mode="drop"), everything, lanes)

    return lax.while_loop(lambda everything: jnp.any(going(everything)), one_pass, carry)


def _like(active: Array, leaf: Array) -> Array:
    return active.reshape(active.shape + (1,) * (leaf.ndim - 1))
