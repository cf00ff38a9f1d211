"""Loops and branches: counted loops unroll, other loops close transitively, unknown branches unite."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.extend.core as jex
import numpy as np

from sparsesolve.pattern._closure import closure
from sparsesolve.pattern._dependence import Dependence, columns
from sparsesolve.pattern._equation import Equation, Knowledge, inner_jaxpr, rule
from sparsesolve.pattern._known import Known
from sparsesolve.pattern._operations import group_union, move, stack, union
from sparsesolve.pattern.rules._calls import flat, step_matrix, unflat

Deps = list["Dependence | None"]
_MAX_UNROLLED_MAP = 16


@rule("cond", transparent=True)
def cond(equation: Equation) -> list[Dependence | None]:
    """The taken branch if the index is known, the union of all branches if not."""
    branches, which = equation.params["branches"], equation.value(0)
    if which is not None:
        branches = [branches[int(np.clip(which, 0, len(branches) - 1))]]
    results = [equation.walk.run(branch, equation.deps[1:], equation.knowns[1:]) for branch in branches]
    if len(results) == 1:
        equation.out_knowns = results[0][1]
    outs = zip(*[deps for deps, _ in results], strict=True)
    return [union(parts, shape) for parts, shape in zip(outs, equation.out_shapes, strict=True)]


def _force(knowns: list[Knowledge]) -> list[Knowledge]:
    """Evaluates loop-carried known values, so that their history can be dropped."""
    return [known if isinstance(known, Known) and known.get() is not None else None for known in knowns]


def _closed_loop(equation: Equation, body: Any, consts: int, carry: Deps, shapes: list, extra: Deps) -> Deps:
    """What the carry can depend on after any number of steps: (I + S + S^2 + ...)(carry + what enters each step)."""
    walk = equation.walk
    knowns = [*equation.knowns[:consts], *[None] * (len(shapes) + len(extra))]
    entering, _ = walk.run(body, [*equation.deps[:consts], *[None] * len(shapes), *extra], knowns)
    start = [union(pair, shape) for *pair, shape in zip(carry, entering, shapes, strict=False)]
    live = [dep is not None for dep in start]
    while True:  # only carries that depend on anything need columns of their own
        inputs = [shape if flag else None for shape, flag in zip(shapes, live, strict=True)]
        deps = [*[None] * consts, *inputs, *[None] * len(extra)]
        reached = _reached(equation, body, deps, knowns, len(shapes))
        grown = [a or b for a, b in zip(live, reached, strict=True)]
        if grown == live:
            break
        live = grown
    chosen = [shape for shape, flag in zip(shapes, live, strict=True) if flag]
    if not chosen:
        return start
    step = step_matrix(walk, _only_outputs(body, live), knowns, deps, chosen)
    parts = iter(unflat(closure(step, flat([d for d, f in zip(start, live, strict=True) if f], chosen)), chosen))
    return [next(parts) if flag else None for flag in live]


def _reached(equation: Equation, body: Any, inputs: list, knowns: list, count: int) -> list[bool]:
    child = equation.walk.child(1)
    deps = [
        None if s is None else move(columns((1,), 0, 1), lambda a, s=s: np.broadcast_to(a[0], s), s) for s in inputs
    ]
    outs, _ = child.run(body, deps, knowns)
    return [dep is not None for dep in outs[:count]]


def _only_outputs(body: Any, live: list[bool]) -> Any:
    jaxpr, consts = inner_jaxpr(body)
    outvars = [v for v, flag in zip(jaxpr.outvars, live, strict=False) if flag]
    return _View(jaxpr, outvars, consts)


class _View:
    """A jaxpr with some of its outputs."""

    def __init__(self, jaxpr: Any, outvars: list[Any], consts: Any):
        self.eqns, self.invars, self.constvars = jaxpr.eqns, jaxpr.invars, jaxpr.constvars
        self.outvars, self.consts = outvars, consts


@rule("while")
def while_loop(equation: Equation) -> list[Dependence | None]:
    """Unrolls while the condition is known (constants come in the order: condition, body, carry); else closes."""
    p, walk = equation.params, equation.walk
    num_cond, num_body = p["cond_nconsts"], p["body_nconsts"]
    body = p["body_jaxpr"]
    start = num_cond + num_body
    deps, knowns = list(equation.deps[start:]), list(equation.knowns[start:])
    while True:
        cond_knowns = [*equation.knowns[:num_cond], *knowns]
        _, (again,) = walk.run(p["cond_jaxpr"], [None] * len(cond_knowns), cond_knowns)
        go_on = again.get() if isinstance(again, Known) else None
        if go_on is not None and not go_on:
            equation.out_knowns = knowns
            return deps
        if go_on is None or not walk.may_unroll(body, 1):
            break
        deps, knowns = walk.run(
            body, [*equation.deps[num_cond:start], *deps], [*equation.knowns[num_cond:start], *knowns]
        )
        knowns = _force(knowns)
    inner = Equation(walk, equation.eqn, equation.deps[num_cond:], equation.knowns[num_cond:])
    return _closed_loop(inner, body, num_body, list(equation.deps[start:]), equation.out_shapes, [])


def scan_counts(params: dict[str, Any]) -> tuple[int, int]:
    """Numbers of constants and carries of a `scan` equation (the parameters changed in JAX 0.11)."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()
    return len(consts), len(carry)


@rule("scan")
def scan(equation: Equation) -> list[Dependence | None]:
    """Unrolls loops of moderate length exactly; in long ones the carry closes and the steps are taken all at once
    (which is exact too without a carry)."""
    num_consts, num_carry = scan_counts(equation.params)
    if num_carry == 0 and equation.params["length"] > _MAX_UNROLLED_MAP:
        return _closed_scan(equation, num_consts, num_carry)
    if equation.walk.may_unroll(equation.params["jaxpr"], equation.params["length"]):
        return _unrolled_scan(equation, num_consts, num_carry)
    return _closed_scan(equation, num_consts, num_carry)


def _unrolled_scan(equation: Equation, num_consts: int, num_carry: int) -> Deps:
    p, walk, first = equation.params, equation.walk, num_consts + num_carry
    carry, knowns = list(equation.deps[num_consts:first]), list(equation.knowns[num_consts:first])
    slices = equation.deps[first:]
    values = [equation.value(index) for index in range(first, len(equation.deps))]
    rows: list[Deps] = []
    steps = range(p["length"])
    for step in reversed(steps) if p["reverse"] else steps:
        xs = [move(dep, lambda a, step=step: a[step]) for dep in slices]
        xs_known = [None if value is None else Known.of(value[step]) for value in values]
        deps, out_knowns = walk.run(
            p["jaxpr"], [*equation.deps[:num_consts], *carry, *xs], [*equation.knowns[:num_consts], *knowns, *xs_known]
        )
        carry, knowns = deps[:num_carry], _force(out_knowns[:num_carry])
        rows.append(deps[num_carry:])
    if p["reverse"]:
        rows.reverse()
    outs = [
        stack([row[index] for row in rows], shape[1:], 0) if rows else None
        for index, shape in enumerate(equation.out_shapes[num_carry:])
    ]
    equation.out_knowns = [*knowns, *[None] * len(outs)]
    return [*carry, *outs]


def _closed_scan(equation: Equation, num_consts: int, num_carry: int) -> Deps:
    first = num_consts + num_carry
    body, length = equation.params["jaxpr"], equation.params["length"]
    shapes = equation.out_shapes[:num_carry]
    any_step = [
        None if dep is None else group_union(dep, np.tile(np.arange(dep.size // length), length), dep.shape[1:])
        for dep in equation.deps[first:]
    ]
    carry = _closed_loop(equation, body, num_consts, list(equation.deps[num_consts:first]), shapes, any_step)
    avals = [v.aval for v in inner_jaxpr(body)[0].invars]
    specs = [
        jax.ShapeDtypeStruct(((length,) if index >= first else ()) + tuple(aval.shape), aval.dtype)
        for index, aval in enumerate(avals)
    ]
    axes = [None] * first + [0] * (len(specs) - first)
    function = jex.jaxpr_as_fun(_closed(body))
    mapped = jax.make_jaxpr(jax.vmap(lambda *xs: function(*xs)[num_carry:], axes, 0, axis_size=length))(*specs)
    knowns = [*equation.knowns[:num_consts], *[None] * num_carry, *equation.knowns[first:]]
    outs, _ = equation.walk.run(mapped, [*equation.deps[:num_consts], *carry, *equation.deps[first:]], knowns)
    return [*carry, *outs]


def _closed(body: Any) -> Any:
    return body if hasattr(body, "consts") else functools.partial(jex.ClosedJaxpr, consts=())(body)
