"""`shard_map`: its body is walked once, with the devices of each mesh axis as an extra batch axis.

`vmap` with a named axis gives collectives their meaning (a psum becomes a sum over that axis), so the body of
a `shard_map` is traced under nested `vmap`s over its mesh axes, and the blocks are taken from and put back into
the global arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.extend.core as jex
import numpy as np
from jax.extend.core.primitives import psum_p

from sparsesolve.pattern._dependence import Dependence
from sparsesolve.pattern._equation import Equation, inner_jaxpr, rule
from sparsesolve.pattern._known import Known
from sparsesolve.pattern._operations import move
from sparsesolve.pattern.rules._reduction import reduce_axes


def _axes_of(entry: Any) -> tuple[str, ...]:
    return () if entry is None else entry if isinstance(entry, tuple) else (entry,)


def _split(array: np.ndarray, spec: Sequence[Any], sizes: dict[str, int]) -> np.ndarray:
    """Global array -> (mesh axes in order of `sizes`, block)."""
    shape, mesh_axes = [], {}
    for axis, length in enumerate(array.shape):
        names = _axes_of(spec[axis]) if axis < len(spec) else ()
        for name in names:
            mesh_axes[name] = len(shape)
            shape.append(sizes[name])
        shape.append(length // math.prod(sizes[name] for name in names))
    array = array.reshape(shape)
    used = [name for name in sizes if name in mesh_axes]
    local = [a for a in range(len(shape)) if a not in mesh_axes.values()]
    array = array.transpose([mesh_axes[name] for name in used] + local)
    for position, name in enumerate(sizes):
        if name not in mesh_axes:
            array = np.expand_dims(array, position)
    return np.broadcast_to(array, (*sizes.values(), *array.shape[len(sizes) :]))


def _join(array: np.ndarray, spec: Sequence[Any], sizes: dict[str, int]) -> np.ndarray:
    """(mesh axes, block) -> global array; mesh axes that the specification does not name have length one."""
    order, shape = [], []
    names = list(sizes)
    unnamed = [names.index(name) for name in names if all(name not in _axes_of(entry) for entry in spec)]
    for axis in range(array.ndim - len(sizes)):
        entry = _axes_of(spec[axis]) if axis < len(spec) else ()
        order += [*(names.index(name) for name in entry), len(sizes) + axis]
        shape.append(math.prod(sizes[name] for name in entry) * array.shape[len(sizes) + axis])
    return array.transpose([*unnamed, *order]).reshape(shape)


def _without_invariance(jaxpr: Any) -> Any:
    """A body whose `psum_invariant` (a psum that also checks device variance) is plain `psum`, which vmap knows."""
    inner, _ = inner_jaxpr(jaxpr)
    eqns = [_plain(eqn) for eqn in inner.eqns]
    if all(new is old for new, old in zip(eqns, inner.eqns, strict=True)):
        return jaxpr
    return jaxpr.replace(jaxpr=inner.replace(eqns=eqns)) if inner is not jaxpr else jaxpr.replace(eqns=eqns)


def _plain(eqn: Any) -> Any:
    if eqn.primitive.name == "psum_invariant":
        return eqn.replace(primitive=psum_p, params={"axis_index_groups": None, **eqn.params})
    params = {}
    for name, value in eqn.params.items():
        if hasattr(value, "eqns"):
            params[name] = _without_invariance(value)
        elif isinstance(value, tuple) and any(hasattr(item, "eqns") for item in value):
            params[name] = tuple(_without_invariance(item) for item in value)
    changed = {name: value for name, value in params.items() if value is not eqn.params[name]}
    return eqn.replace(params={**eqn.params, **changed}) if changed else eqn


@rule("shard_map")
def shard_map(equation: Equation) -> list[Dependence | None]:
    """Blocks in, the body under `vmap` over the mesh axes, blocks out."""
    p = equation.params
    manual = p.get("newly_manual_axes", p.get("manual_axes", p["mesh"].axis_names))
    sizes = {name: size for name, size in dict(p["mesh"].shape).items() if name in manual}
    body = _without_invariance(p["jaxpr"])
    function = jex.jaxpr_as_fun(body if hasattr(body, "consts") else jex.ClosedJaxpr(body, ()))
    for name in reversed(sizes):
        function = jax.vmap(function, axis_name=name)
    avals = [jax.ShapeDtypeStruct((*sizes.values(), *v.aval.shape), v.aval.dtype) for v in inner_jaxpr(body)[0].invars]
    mapped = jax.make_jaxpr(function)(*avals)
    deps = [move(d, lambda a, s=s: _split(a, s, sizes)) for d, s in zip(equation.deps, p["in_specs"], strict=True)]
    knowns = [
        Known.lazy(lambda values, s=s: [_split(values[0], s, sizes)], [known])[0] if isinstance(known, Known) else None
        for known, s in zip(equation.knowns, p["in_specs"], strict=True)
    ]
    outs, _ = equation.walk.run(mapped, deps, knowns)
    return [_global(out, spec, sizes) for out, spec in zip(outs, p["out_specs"], strict=True)]


def _global(dep: Dependence | None, spec: Any, sizes: dict[str, int]) -> Dependence | None:
    named = {name for entry in spec for name in _axes_of(entry)}
    unnamed = [axis for axis, name in enumerate(sizes) if name not in named]
    dep = reduce_axes(dep, unnamed)
    return move(dep, lambda a: _join(a, spec, sizes))


@rule("psum", "pmax", "pmin")
def collective_sum(equation: Equation) -> list[Dependence | None]:
    """A reduction over array axes (what `vmap` makes of a mesh axis); over a named axis of an outer context, every
    device sees at least its own operand, elementwise."""
    axes = tuple(axis for axis in equation.params["axes"] if isinstance(axis, int))
    return [
        move(reduce_axes(dep, axes), lambda a, shape=shape: a.reshape(shape), shape)
        for dep, shape in zip(equation.deps, equation.out_shapes, strict=True)
    ]


@rule("ppermute")
def permute_devices(equation: Equation) -> list[Dependence | None]:
    """Over a named axis of an outer context a device may receive its own operand."""
    return list(equation.deps)
