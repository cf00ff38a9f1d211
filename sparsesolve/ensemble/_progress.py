"""Tells how many lanes have ended, from inside compiled code. Opt-in: it calls back to Python after every pass."""

from __future__ import annotations

from collections.abc import Callable

import jax
from jaxtyping import Array


def meter(progress: bool | Callable[[int, int], None], count: int) -> Callable[[Array], None] | None:
    """What to do with the number of lanes that are still active; `None` for nothing."""
    if not progress:
        return None
    tell = _printed if progress is True else progress

    def after_pass(active: Array) -> None:
        jax.debug.callback(lambda left: tell(count - int(left), count), active)

    return after_pass


def _printed(ended: int, count: int) -> None:
    print(f"solve_ensemble: {ended} of {count} lanes have ended", flush=True)
