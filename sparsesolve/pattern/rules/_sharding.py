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

from sparsesolve.pattern._dependence import Dependence, move
from sparsesolve.pattern._equation import Equation, inner_jaxpr, rule
from sparsesolve.pattern._known import Known
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


@rule("shard_map")
def shard_map(equation: Equation) -> list[Dependence | None]:
    """Blocks in, the body under `vmap` over the mesh axes, blocks out."""
    p = equation.params
    sizes = {name: size for name, size in dict(p["mesh"].shape).items() if name in p.get("manual_axes", p["mesh"].shape)}
    body, _ = inner_jaxpr(p["jaxpr"])
    function = jex.jaxpr_as_fun(jex.ClosedJaxpr(body, ())) if not hasattr(p["jaxpr"], "consts") else None
    function = jex.jaxpr_as_fun(p["jaxpr"]) if function is None else function
    lead = tuple(sizes.values())
    for name in reversed(sizes):
        function = jax.vmap(function, axis_name=name)
    avals = [jax.ShapeDtypeStruct((*lead, *v.aval.shape), v.aval.dtype) for v in body.invars]
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
