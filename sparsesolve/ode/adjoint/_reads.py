"""Cotangents of large tables of which a function reads a few entries: added where they were read, never as a table.

Reverse mode turns every `table[index]` into a table of zeros with a few entries added, once a step of an integration.
`Reads` finds the entries of a traced function that read (`gather`, `dynamic_slice`, `slice`) one of its operands, and
makes each of them a value of its own, so that a cotangent belongs to what was read and is then added into one
accumulator in place. Operands that are only read cost as much as what is read of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jax import lax
from jax.core import eval_jaxpr
from jaxtyping import Array

_READS = ("gather", "dynamic_slice", "slice")


class Reads:
    """What a function `f(*operands)` reads of some of its operands. Host-side.

    Attributes:
        whole: for each operand, whether it is used otherwise than by reading.
    """

    def __init__(self, f: Callable[..., Any], operands: list[Any]):
        self._closed = _inlined(jax.make_jaxpr(f)(*operands), operands)
        self._sites: list[tuple[Any, int]] = []
        self.whole = [False] * len(operands)
        _inspect(self._closed.jaxpr, self._sites, self.whole)

    def add_cotangents(
        self, operands: list[Array], wanted: list[bool], cotangent: Array, sums: list[Array]
    ) -> list[Array]:
        """`sums` with the cotangents of the wanted operands added, one sum for each of them.

        Args:
            operands: of the function.
            wanted: for which of them.
            cotangent: of its value.
            sums: accumulators of the wanted operands.
        """
        places = [k for k, flag in enumerate(wanted) if flag]
        dense = [k for k in places if self.whole[k]]
        sites = [(eqn, k) for eqn, k in self._sites if wanted[k]]
        deltas = [jnp.zeros(eqn.outvars[0].aval.shape, eqn.outvars[0].aval.dtype) for eqn, _ in sites]

        def moved(parts: list[Array], deltas: list[Array]) -> tuple[Array, list[Any]]:
            full = list(operands)
            for k, part in zip(dense, parts, strict=True):
                full[k] = part
            found: list[Any] = []
            waiting = {id(eqn): (delta, operands[k]) for (eqn, k), delta in zip(sites, deltas, strict=True)}
            out = _evaluate(self._closed.jaxpr, self._closed.consts, full, waiting, found)
            return out[0], found

        _, pull, indices = jax.vjp(moved, [operands[k] for k in dense], deltas, has_aux=True)
        parts, moves = pull(cotangent)
        out = dict(zip(places, sums, strict=True))
        for k, part in zip(dense, parts, strict=True):
            out[k] = out[k] + part
        for (eqn, k), move, index in zip(sites, moves, indices, strict=True):
            out[k] = _added(eqn, out[k], move, index)
        return [out[k] for k in places]


def _inlined(closed: Any, operands: list[Any]) -> Any:
    """The same computation without nested `jit`, so that each equation stands for one use."""

    def run(jaxpr: Any, consts: Any, args: list[Any]) -> list[Any]:
        values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
        values.update(zip(jaxpr.invars, args, strict=True))
        for eqn in jaxpr.eqns:
            inputs = [_value(values, v) for v in eqn.invars]
            inner = eqn.params.get("jaxpr")
            if eqn.primitive.name == "jit" and isinstance(inner, jex.ClosedJaxpr):
                out = run(inner.jaxpr, inner.consts, inputs)
            else:
                out = _bound(jaxpr, eqn, inputs)
            values.update(zip(eqn.outvars, out, strict=True))
        return [_value(values, v) for v in jaxpr.outvars]

    return jax.make_jaxpr(lambda *args: run(closed.jaxpr, closed.consts, list(args)))(*operands)


def _value(values: dict[Any, Any], v: Any) -> Any:
    return v.val if isinstance(v, jex.Literal) else values[v]


def _bound(jaxpr: Any, eqn: Any, inputs: list[Any]) -> list[Any]:
    """One equation of a jaxpr, evaluated."""
    pairs = {v: x for v, x in zip(eqn.invars, inputs, strict=True) if not isinstance(v, jex.Literal)}
    names = jaxpr.debug_info._replace(arg_names=None, result_paths=None)
    one = jaxpr.replace(
        constvars=[], invars=list(pairs), outvars=list(eqn.outvars), eqns=[eqn], effects=eqn.effects, debug_info=names
    )
    return eval_jaxpr(one, [], *pairs.values())


def _inspect(jaxpr: Any, sites: list[tuple[Any, int]], whole: list[bool]) -> None:
    known = {v: k for k, v in enumerate(jaxpr.invars)}
    for eqn in jaxpr.eqns:
        for place, v in enumerate(eqn.invars):
            k = None if isinstance(v, jex.Literal) else known.get(v)
            if k is None:
                continue
            if place == 0 and eqn.primitive.name in _READS:
                sites.append((eqn, k))
            else:
                whole[k] = True
    for v in jaxpr.outvars:
        if not isinstance(v, jex.Literal) and v in known:
            whole[known[v]] = True


def _evaluate(
    jaxpr: Any, consts: Any, args: list[Any], deltas: dict[int, tuple[Array, Array]], found: list[Any]
) -> list[Any]:
    """The outputs, with `deltas` added to what the equations with these ids read of tables; `found` gets where."""
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    values.update(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        inputs = [_value(values, v) for v in eqn.invars]
        if id(eqn) in deltas:
            delta, table = deltas[id(eqn)]
            out = [_bound(jaxpr, eqn, [table, *inputs[1:]])[0] + delta]
            found.append(inputs[1:])
        else:
            out = _bound(jaxpr, eqn, inputs)
        values.update(zip(eqn.outvars, out, strict=True))
    return [_value(values, v) for v in jaxpr.outvars]


def _added(eqn: Any, table: Array, move: Array, index: list[Array]) -> Array:
    """The table with the cotangent of what was read added where it was read."""
    params = eqn.params
    if eqn.primitive.name == "slice":
        strides = params["strides"] or (1,) * table.ndim
        cut = tuple(
            slice(a, b, c) for a, b, c in zip(params["start_indices"], params["limit_indices"], strides, strict=True)
        )
        return table.at[cut].add(move)
    if eqn.primitive.name == "dynamic_slice":
        old = lax.dynamic_slice(table, index, params["slice_sizes"])
        return lax.dynamic_update_slice(table, old + move, index)
    numbers = params["dimension_numbers"]
    dimensions = lax.ScatterDimensionNumbers(
        update_window_dims=numbers.offset_dims,
        inserted_window_dims=numbers.collapsed_slice_dims,
        scatter_dims_to_operand_dims=numbers.start_index_map,
        operand_batching_dims=numbers.operand_batching_dims,
        scatter_indices_batching_dims=numbers.start_indices_batching_dims,
    )
    return lax.scatter_add(
        table,
        index[0],
        move,
        dimensions,
        indices_are_sorted=params["indices_are_sorted"],
        unique_indices=params["unique_indices"],
        mode=params["mode"],
    )
