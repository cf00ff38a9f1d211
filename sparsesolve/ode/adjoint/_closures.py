"""Functions of the user whose surroundings become arrays of their own: what they close over is differentiated, too."""

from __future__ import annotations

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax.tree_util as jtu
from jax.core import Tracer

from sparsesolve.ode.adjoint._saveat import SAVE_STATE
from sparsesolve.ode.system._system import StiffSystem


class Condition(eqx.Module):
    """A condition of an event as a function of time, state and arguments alone.

    Attributes:
        fn: with all else that it looks at as arrays.
    """

    fn: Any

    def __call__(self, t: Any, y: Any, args: Any, **others: Any) -> Any:
        """For diffrax, which hands it more than it needs."""
        del others
        return self.fn(t, y, args)


def closes_over_tracers(system: StiffSystem) -> bool:
    """Whether right-hand side or mass matrix make use of values of an outer transformation."""
    parts = (system.rhs, system.explicit, system.mass)
    captured = [getattr(part, "captured", ()) for part in parts]
    return any(isinstance(leaf, Tracer) for leaf in jtu.tree_leaves(captured))


def closed_equations(call: dict[str, Any]) -> dict[str, Any]:
    """The call of diffrax's loop with right-hand side and mass matrix that close over nothing."""

    def term(term: Any) -> Any:
        if not isinstance(term, dfx.ODETerm):
            return term
        return eqx.tree_at(lambda t: t.vector_field, term, _converted(term.vector_field, call))

    terms = jtu.tree_map(term, call["terms"], is_leaf=lambda t: isinstance(t, dfx.ODETerm))
    solver = call["solver"]
    if callable(solver.mass):
        solver = eqx.tree_at(lambda s: s.mass, solver, _converted(solver.mass, call))
    return {**call, "terms": terms, "solver": solver}


def closed_observers(call: dict[str, Any]) -> dict[str, Any]:
    """The call with functions in `saveat` and conditions of an event that close over nothing."""

    def observer(sub: dfx.SubSaveAt) -> dfx.SubSaveAt:
        if sub.fn is SAVE_STATE:
            return sub
        return eqx.tree_at(lambda s: s.fn, sub, _converted(sub.fn, call))

    names = ("terms", "solver", "t0", "t1", "dt0", "saveat", "stepsize_controller", "max_steps")
    others = {name: call[name] for name in names}

    def condition(fn: Any) -> Condition:
        return Condition(_converted(lambda t, y, args: fn(t, y, args, **others), call))

    saveat, event = call["saveat"], call["event"]
    subs = jtu.tree_map(observer, saveat.subs, is_leaf=lambda s: isinstance(s, dfx.SubSaveAt))
    if event is not None:
        conditions = jtu.tree_map(condition, event.cond_fn, is_leaf=callable)
        event = eqx.tree_at(lambda e: e.cond_fn, event, conditions)
    return {**call, "saveat": eqx.tree_at(lambda s: s.subs, saveat, subs), "event": event}


def _converted(fn: Any, call: dict[str, Any]) -> Any:
    return eqx.filter_closure_convert(fn, call["t0"], call["init_state"].y, call["args"])
