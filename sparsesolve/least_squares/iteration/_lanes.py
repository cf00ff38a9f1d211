"""Loops that many problems share: under `vmap`, lanes that have ended make room (see `sparsesolve/_lanes.py`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool

from sparsesolve._lanes import keep_ended, loop_in_chunks

_CORE = 64  # lanes of a chunk on a processor: enough to share the fixed cost of a step, few for a straggler to drag on
_WIDE = 512  # and where they run side by side


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
    chunk = min(size, _CORE if jax.default_backend() == "cpu" else max(_WIDE, -(-size // 8)))
    step = keep_ended(jax.vmap(advance, in_axes=(axes, 0)))

    def going(_: Any, lane: Any) -> Array:
        return proceed(lane)

    return loop_in_chunks(going, step, consts, axes, carry, (chunk,))
