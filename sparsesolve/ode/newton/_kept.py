"""`Kept`: the part of a solver's state that survives a rejected step.

diffrax restores the solver state it had before a step that it rejects. That is right for what belongs to the solution,
and wasteful for what belongs to the work: the Jacobian just evaluated at the point where the step is tried again, its
factors, and the statistics. diffrax forms the next state leaf by leaf as `where(keep_step, new, old)` from the object
that `step` was given and the one it returned, in one trace. `keep(old, new)` therefore makes `old` hold what `new`
holds, so that the choice is between equals and XLA drops it (with it a copy of the factors).

Where old and new do not belong to one trace (`step` called by hand), nothing is done: states then behave as diffrax
says, and rejected work is forgotten.
"""

from __future__ import annotations

from typing import Any

import jax.tree_util as jtu
from jax.core import Tracer


@jtu.register_pytree_with_keys_class
class Kept:
    """Holds a pytree of arrays.

    Attributes:
        value: the pytree.
    """

    def __init__(self, value: Any):
        self.value = value

    def tree_flatten_with_keys(self) -> tuple[tuple[tuple[Any, Any], ...], None]:
        return ((jtu.GetAttrKey("value"), self.value),), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: Any) -> Kept:
        del aux
        return cls(*children)


def keep(old: Kept, value: Any) -> Kept:
    """`Kept(value)`, which replaces `old` whether the step that made it is accepted or not."""
    leaves, treedef = jtu.tree_flatten(old.value)
    new, new_treedef = jtu.tree_flatten(value)
    traces = {id(getattr(leaf, "_trace", leaf)) for leaf in leaves if isinstance(leaf, Tracer)}
    traced = len(traces) == 1 and all(isinstance(leaf, Tracer) for leaf in leaves)
    here = {id(getattr(leaf, "_trace", leaf)) for leaf in new if isinstance(leaf, Tracer)}
    if traced and here <= traces and treedef == new_treedef:
        old.value = value
    return Kept(value)
