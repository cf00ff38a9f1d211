"""diffrax's `SaveAt` and its buffers: their parts, in order."""

from __future__ import annotations

from typing import Any

import diffrax as dfx
import jax.tree_util as jtu
from jaxtyping import Array

SAVE_STATE = dfx.SubSaveAt(t1=True).fn  # diffrax's default: the state itself


def parts_of(saveat: dfx.SaveAt) -> list[dfx.SubSaveAt]:
    """Its parts."""
    leaves = jtu.tree_leaves(saveat.subs, is_leaf=lambda s: isinstance(s, dfx.SubSaveAt))
    return [leaf for leaf in leaves if isinstance(leaf, dfx.SubSaveAt)]


def times_of(saveat: dfx.SaveAt) -> list[Array | None]:
    """Times saved at, for each part."""
    return [part.ts for part in parts_of(saveat)]


def is_save_state(tree: Any) -> bool:
    """Whether this is diffrax's buffer of one part."""
    return hasattr(tree, "saveat_ts_index")


def buffers_of(state: Any) -> list[Any]:
    """The buffers of all parts, in a state of diffrax's loop."""
    return jtu.tree_leaves(state.save_state, is_leaf=is_save_state)


def looks_between(saveat: dfx.SaveAt, event: dfx.Event | None) -> bool:
    """Whether anything is taken from between steps: times saved at, dense output, the place of an event."""
    located = event is not None and event.root_finder is not None
    return located or saveat.dense or any(ts is not None for ts in times_of(saveat))
