"""A traced computation mapped over lanes, like `vmap`, except that its loops run in chunks of active lanes.

The jaxpr of one lane is evaluated equation by equation. An equation that no lane's values reach is evaluated once, a
`while` goes to `loop_in_chunks`, calls that hold a `while` are entered, and everything else is batched by JAX's rules.
Derivative rules of what is entered do not matter: this is the value, and `solve_ensemble` differentiates by `vmap`.

Loops of Equinox (and so those of diffrax and Optimistix) ask `unvmap_any(going)` whether to go on, and freeze lanes
whose predicate has become false, their second carry. Asked for one lane, that predicate is the lane's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jaxtyping import Array

from sparsesolve._lanes import keep_ended, loop_in_chunks

Widths = Callable[[int, int], tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Lanes:
    """How loops are run.

    Attributes:
        count: number of lanes.
        widths: from the number of lanes and the bytes of a lane's carry to the widths of chunks.
        after_pass: gets the number of lanes that are still active, after every pass.
    """

    count: int
    widths: Widths
    after_pass: Callable[[Array], None] | None = None


def map_lanes(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any], marks: Sequence[bool], lanes: Lanes) -> list[Any]:
    """The outputs of a jaxpr for all lanes, all of them batched along the first axis.

    Args:
        jaxpr: of one lane, open.
        consts: values of its constants, the same for all lanes.
        args: values of its arguments.
        marks: which arguments have a leading axis of lanes.
        lanes: how loops are run.
    """
    outs, batched = _evaluate(jaxpr, [(const, False) for const in consts], list(zip(args, marks, strict=True)), lanes)
    return [out if mark else _spread(out, lanes.count) for out, mark in zip(outs, batched, strict=True)]


def _evaluate(jaxpr: Any, consts: list[Any], args: list[Any], lanes: Lanes) -> tuple[list[Any], list[bool]]:
    env: dict[Any, tuple[Any, bool]] = {}
    env.update(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(v: Any) -> tuple[Any, bool]:
        return (v.val, False) if isinstance(v, jex.Literal) else env[v]

    for eqn in jaxpr.eqns:
        pairs = [read(v) for v in eqn.invars]
        outs = _equation(eqn, [value for value, _ in pairs], [mark for _, mark in pairs], lanes)
        env.update(zip(eqn.outvars, outs, strict=True))
    found = [read(v) for v in jaxpr.outvars]
    return [value for value, _ in found], [mark for _, mark in found]


def _equation(eqn: Any, values: list[Any], marks: list[bool], lanes: Lanes) -> list[tuple[Any, bool]]:
    """Values of an equation's outputs, and whether they are batched."""

    def bind(*operands: Any) -> list[Any]:
        return _bind(eqn, operands)

    if not any(marks):
        return [(out, False) for out in bind(*values)]
    if eqn.primitive.name == "while":
        return _loop(eqn.params, values, marks, lanes)
    inner = called(eqn)
    if inner is not None and has_loop(inner.jaxpr):
        consts = [(const, False) for const in inner.consts]
        return list(zip(*_evaluate(inner.jaxpr, consts, list(zip(values, marks, strict=True)), lanes), strict=True))
    axes = tuple(0 if mark else None for mark in marks)
    return [(out, True) for out in jax.vmap(bind, in_axes=axes, axis_size=lanes.count)(*values)]


def _bind(eqn: Any, operands: Sequence[Any]) -> list[Any]:
    out = eqn.primitive.bind(*operands, **eqn.primitive.get_bind_params(eqn.params))
    return list(out) if eqn.primitive.multiple_results else [out]


def called(eqn: Any) -> jex.ClosedJaxpr | None:
    """The jaxpr that an equation calls once with all its operands; `None` for other equations."""
    if eqn.primitive.name not in _CALLS:
        return None
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    if isinstance(inner, jex.Jaxpr):
        inner = jex.ClosedJaxpr(inner, ())
    return inner if isinstance(inner, jex.ClosedJaxpr) and len(inner.jaxpr.invars) == len(eqn.invars) else None


_CALLS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2")


def has_loop(jaxpr: Any) -> bool:
    """Whether a `while` is reached through calls."""
    return any(
        eqn.primitive.name == "while" or ((inner := called(eqn)) is not None and has_loop(inner.jaxpr))
        for eqn in jaxpr.eqns
    )


def _loop(params: dict[str, Any], values: list[Any], marks: list[bool], lanes: Lanes) -> list[tuple[Any, bool]]:
    condition, body = params["cond_jaxpr"], params["body_jaxpr"]
    first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    count = len(values) - second
    # What the body hands on unchanged and is the same for all lanes stays outside of the chunks.
    constant = [
        not marks[second + i] and body.jaxpr.outvars[i] is body.jaxpr.invars[second - first + i] for i in range(count)
    ]
    moving = [i for i in range(count) if not constant[i]]
    held = [*values[:second], *(values[second + i] if constant[i] else None for i in range(count))]
    axes = [0 if mark else None for mark in marks[:second]] + [None] * count
    carry = [values[second + i] if marks[second + i] else _spread(values[second + i], lanes.count) for i in moving]

    def whole(consts: list[Any], lane: list[Any]) -> list[Any]:
        out = list(consts[second:])
        for i, leaf in zip(moving, lane, strict=True):
            out[i] = leaf
        return out

    def proceed(consts: list[Any], lane: list[Any]) -> Array:
        return _ask(condition, [*consts[:first], *whole(consts, lane)])

    def advance(consts: list[Any], lane: list[Any]) -> list[Any]:
        out = jex.jaxpr_as_fun(body)(*consts[first:second], *whole(consts, lane))
        return [out[i] for i in moving]

    step = jax.vmap(advance, in_axes=(axes, 0))
    freezes = _freezes_itself(condition, body) and 1 in moving
    chunk_step = _freezing(step, moving.index(1)) if freezes else keep_ended(step)
    widths = lanes.widths(lanes.count, sum(leaf.size * leaf.dtype.itemsize for leaf in carry) // lanes.count)
    done = iter(loop_in_chunks(proceed, chunk_step, held, axes, carry, widths, lanes.after_pass))
    return [(values[second + i], False) if constant[i] else (next(done), True) for i in range(count)]


def _ask(condition: Any, operands: list[Any]) -> Array:
    """The predicate of one lane, without looking at the others."""
    env: dict[Any, Any] = dict(zip(condition.jaxpr.constvars, condition.consts, strict=True))
    env.update(zip(condition.jaxpr.invars, operands, strict=True))

    def read(v: Any) -> Any:
        return v.val if isinstance(v, jex.Literal) else env[v]

    for eqn in condition.jaxpr.eqns:
        values = [read(v) for v in eqn.invars]
        inner = called(eqn)
        if eqn.primitive.name in _ACROSS_LANES:
            outs = values[:1]
        elif inner is not None and _looks_across(inner.jaxpr):
            outs = [_ask(inner, values)]
        else:
            outs = _bind(eqn, values)
        env.update(zip(eqn.outvars, outs, strict=True))
    return read(condition.jaxpr.outvars[0])


_ACROSS_LANES = ("unvmap_any", "nonbatchable")


def _looks_across(jaxpr: Any) -> bool:
    return any(
        eqn.primitive.name in _ACROSS_LANES or ((inner := called(eqn)) is not None and _looks_across(inner.jaxpr))
        for eqn in jaxpr.eqns
    )


def _freezes_itself(condition: Any, body: Any) -> bool:
    """Whether a loop is Equinox's: carry `(step, going, went, ...)`."""
    carry = [v.aval for v in body.jaxpr.outvars[:3]]
    flags = len(carry) == 3 and all(aval.dtype == jnp.bool_ and aval.shape == () for aval in carry[1:])
    return flags and _looks_across(condition.jaxpr)


def _freezing(step: Any, going: int) -> Any:
    """A step of lanes that leave their carry alone where their own predicate is false."""

    def advance(consts: Any, lanes: list[Any], alive: Array) -> list[Any]:
        marked = list(lanes)
        marked[going] = lanes[going] & alive
        return step(consts, marked)

    return advance


def _spread(value: Any, count: int) -> Array:
    return jnp.broadcast_to(value, (count, *jnp.shape(value)))
