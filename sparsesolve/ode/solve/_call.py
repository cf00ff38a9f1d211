"""A prepared initial value problem: plan and compiled integration, found again by content.

Two tables make a second call cheap. The first goes by the user's function object and what it refers to (see
`_call_key.py`) and answers without tracing. The second goes by the traced computation itself, so that a lambda
written anew in every call still finds its compiled code. Both are bounded (`sparsesolve._cache`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, PyTree

from sparsesolve._cache import BoundedCache
from sparsesolve._tree import StaticLeaves, Structure, fix_indices, partition
from sparsesolve.linear._call_key import call_key, forget_with
from sparsesolve.linear._pure import PureFunction, purify
from sparsesolve.ode.solve._checks import check_slope
from sparsesolve.ode.solve._watched import WatchState

problem_cache = BoundedCache("initial value problems", maxsize=32)
call_cache = BoundedCache("solve_ode calls", maxsize=64)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a compiled integration depends on besides the function: everything that is not an array.

    Attributes:
        static: the remainders of solver, controller, `saveat` and so on, without their arrays.
        max_steps: most steps.
    """

    static: Any
    max_steps: int

    def __hash__(self) -> int:
        leaves, treedef = jtu.tree_flatten(self.static)
        return hash((treedef, tuple(leaves), self.max_steps))


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A compiled integration and the operands to call it with.

    Attributes:
        run: `run(y0, times, arrays, data, captured) -> (solution, finite leaves of the first slope)`.
        field: the vector field on `(args, data, captured)`, for a look at the system outside of `run`.
        data: array leaves of the user's arguments.
        captured: values of outer transformations that the function closed over.
    """

    run: Callable[..., Any]
    data: tuple[Array, ...]
    captured: tuple[Any, ...]


def prepare_call(
    fn: Callable[[Any, Any, Any], Any], t0: Any, y0: PyTree[Array], args: Any, setting: Setting
) -> Prepared:
    """The compiled integration of a call, made or remembered."""
    args = fix_indices(args)
    data, static = partition(args)
    shapes = tuple((jnp.shape(leaf), jnp.result_type(leaf), bool(getattr(leaf, "weak_type", False))) for leaf in data)
    whole = (Structure.of(y0), static, shapes, setting, jnp.result_type(float))
    key = call_key(fn, whole)
    known = None if key is None else call_cache.lookup(key)
    if known is not None:
        return Prepared(known, tuple(data), ())
    pure, operands, captured = purify(lambda ty, a: fn(ty[0], ty[1], a), (t0, y0), args)
    check_slope(Structure.of(y0), Structure.of(pure.out))
    content: Hashable = (pure, whole)
    run = problem_cache.get(content, lambda: eqx.filter_jit(_integration(pure, static, setting)))
    if key is not None and not pure.has_captured:
        call_cache.store(key, run)
        forget_with(fn, call_cache.discard, key)
    return Prepared(run, operands, captured)


def _integration(pure: PureFunction, static: StaticLeaves, setting: Setting) -> Callable[..., Any]:
    def field(t: Any, y: Any, packed: Any) -> Any:
        _, data, captured = packed
        return pure((t, y), data, captured)

    def run(y0: Any, times: Any, arrays: Any, data: Any, captured: Any) -> Any:
        wishes = eqx.combine(arrays, setting.static)
        t0, t1, dt0 = times
        packed = (static.combine(data), data, captured)
        finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jtu.tree_leaves(jax.lax.stop_gradient(field(t0, y0, packed)))]
        solution = dfx.diffeqsolve(
            dfx.ODETerm(field),
            _mass_seen_by_user(wishes["solver"]),
            t0,
            t1,
            dt0,
            y0,
            packed,
            saveat=_seen_by_user(wishes["saveat"]),
            stepsize_controller=wishes["controller"],
            event=_event_seen_by_user(wishes["event"], jnp.where(t0 < t1, 1, -1), wishes["solver"]),
            adjoint=wishes["adjoint"],
            progress_meter=wishes["meter"],
            max_steps=setting.max_steps,
            throw=False,
        )
        return solution, jnp.stack(finite)

    return run


def _seen_by_user(saveat: dfx.SaveAt) -> dfx.SaveAt:
    """Functions in `saveat` get the user's arguments; solver and controller states are kept for the statistics."""

    def sub(part: dfx.SubSaveAt) -> dfx.SubSaveAt:
        fn = part.fn
        if fn is dfx.SubSaveAt(t1=True).fn:  # the state, which adjoints recognize
            return part
        return eqx.tree_at(lambda s: s.fn, part, lambda t, y, packed: fn(t, y, packed[0]))

    subs = jtu.tree_map(sub, saveat.subs, is_leaf=lambda s: isinstance(s, dfx.SubSaveAt))
    return dfx.SaveAt(
        subs=subs, dense=saveat.dense, solver_state=True, controller_state=True, made_jump=saveat.made_jump
    )


def _mass_seen_by_user(solver: Any) -> Any:
    mass = getattr(solver, "mass", None)
    if not callable(mass):
        return solver
    return dataclasses.replace(solver, mass=lambda t, y, packed: mass(t, y, packed[0]))


class _ForUser(dfx.AbstractTerm):
    """Terms of the compiled integration that take the user's arguments, at the times of the integration."""

    term: dfx.AbstractTerm
    packed: Any
    direction: Any

    def vf(self, t: Any, y: Any, args: Any) -> Any:
        del args
        return self.term.vf(t * self.direction, y, self.packed)

    def contr(self, t0: Any, t1: Any, **kwargs: Any) -> Any:
        return self.term.contr(t0, t1, **kwargs)

    def prod(self, vf: Any, control: Any) -> Any:
        return self.term.prod(vf, control)


def _event_seen_by_user(event: dfx.Event | None, direction: Any, solver: Any) -> dfx.Event | None:
    """Conditions get the user's arguments and times: diffrax 0.7 calls them with `-t` where it runs backwards."""
    if event is None:
        return None

    def condition(fn: Callable[..., Any]) -> Callable[..., Any]:
        def seen(t: Any, y: Any, args: Any, *, terms: Any, t0: Any, t1: Any, **others: Any) -> Any:
            times = {"t0": t0 * direction, "t1": t1 * direction}
            others = {**others, **times, "terms": _ForUser(terms, args, direction), "solver": solver}
            return fn(t * direction, y, args[0], **others)

        return seen  # diffrax calls it by these names, too

    conditions = jtu.tree_map(condition, event.cond_fn, is_leaf=callable)
    return dfx.Event(conditions, event.root_finder, event.direction)


def watch_of(controller_state: Any) -> WatchState:
    """The state of the `WatchedController`, inside that of a `ClipStepSizeController` where there are jumps."""
    found = [
        state
        for state in jtu.tree_leaves(controller_state, is_leaf=lambda s: isinstance(s, WatchState))
        if isinstance(state, WatchState)
    ]
    return found[0]
