"""Primitives that move elements without combining them: the rearrangement acts on the index maps."""

from __future__ import annotations

import functools

import numpy as np

from sparsesolve.pattern import _fold
from sparsesolve.pattern._dependence import Dependence
from sparsesolve.pattern._equation import Equation, rule
from sparsesolve.pattern._operations import concatenate as join, move, stack as pile, take, union


@rule("reshape")
def reshape(equation: Equation) -> list[Dependence | None]:
    """out.ravel() = in.transpose(dimensions).ravel(); `dimensions` is usually None."""
    (shape,) = equation.out_shapes
    dimensions = equation.params.get("dimensions")
    return [move(equation.deps[0], lambda a: _fold.reshape(a, new_sizes=shape, dimensions=dimensions), shape)]


@rule("squeeze", "expand_dims")
def squeeze(equation: Equation) -> list[Dependence | None]:
    """Axes of length one come or go."""
    (shape,) = equation.out_shapes
    return [move(equation.deps[0], lambda a: a.reshape(shape), shape)]


@rule("transpose")
def transpose(equation: Equation) -> list[Dependence | None]:
    """out = in.transpose(permutation)."""
    return [move(equation.deps[0], lambda a: np.transpose(a, equation.params["permutation"]))]


@rule("rev")
def rev(equation: Equation) -> list[Dependence | None]:
    """Axes run backwards."""
    return [move(equation.deps[0], lambda a: np.flip(a, equation.params["dimensions"]))]


@rule("slice")
def slice_(equation: Equation) -> list[Dependence | None]:
    """out = in[start:limit:stride] along each axis."""
    p = equation.params
    window = _fold.strided(p["start_indices"], p["limit_indices"], p["strides"])
    return [move(equation.deps[0], lambda a: a[window])]


@rule("broadcast_in_dim")
def broadcast_in_dim(equation: Equation) -> list[Dependence | None]:
    """in's axes become `broadcast_dimensions` of out; the others repeat."""
    p = equation.params
    shape, axes = equation.out_shapes[0], p["broadcast_dimensions"]
    return [move(equation.deps[0], lambda a: _fold.broadcast_in_dim(a, shape=shape, broadcast_dimensions=axes))]


@rule("broadcast_to")
def broadcast_to(equation: Equation) -> list[Dependence | None]:
    """in repeats along new or unit axes."""
    (shape,) = equation.out_shapes
    return [move(equation.deps[0], lambda a: np.broadcast_to(a, shape))]


@rule("concatenate")
def concatenate(equation: Equation) -> list[Dependence | None]:
    """Operands one after the other along `dimension`."""
    return [join(equation.deps, equation.in_shapes, equation.params["dimension"])]


@rule("stack")
def stack(equation: Equation) -> list[Dependence | None]:
    """Operands one after the other along a new axis."""
    return [pile(equation.deps, equation.in_shapes[0], equation.params["axis"])]


@rule("unstack")
def unstack(equation: Equation) -> list[Dependence | None]:
    """out_k = in[k] along `axis`."""
    axis = equation.params["axis"]
    return [move(equation.deps[0], lambda a, k=k: np.take(a, k, axis)) for k in range(len(equation.out_shapes))]


@rule("split")
def split(equation: Equation) -> list[Dependence | None]:
    """Consecutive parts along `axis`."""
    axis, sizes = equation.params["axis"], equation.params["sizes"]
    stops = np.cumsum(sizes)
    return [
        move(equation.deps[0], functools.partial(np.take, indices=np.arange(stop - size, stop), axis=axis))
        for stop, size in zip(stops, sizes, strict=True)
    ]


@rule("tile")
def tile(equation: Equation) -> list[Dependence | None]:
    """out = tile(in, reps)."""
    return [move(equation.deps[0], lambda a: np.tile(a, equation.params["reps"]))]


@rule("pad")
def pad(equation: Equation) -> list[Dependence | None]:
    """out[lo + i (1 + interior)] = in[i], the padding value elsewhere; negative edges cut."""
    operand, filler = equation.deps
    (shape,) = equation.out_shapes
    positions = _padded_positions(equation.in_shapes[0], shape, equation.params["padding_config"])
    parts = [take(operand, positions)]
    if filler is not None:
        parts.append(take(filler, np.where(positions < 0, 0, -1)))
    return [union(parts, shape)]


def _padded_positions(shape: tuple[int, ...], padded: tuple[int, ...], config: tuple) -> np.ndarray:
    source = np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.int32).reshape(shape)
    positions = np.full(padded, -1, np.int32)
    targets, origins = [], []
    for (low, _, interior), size, new in zip(config, shape, padded, strict=True):
        at = low + np.arange(size) * (interior + 1)
        inside = (at >= 0) & (at < new)
        targets.append(at[inside])
        origins.append(np.flatnonzero(inside))
    if targets:
        positions[np.ix_(*targets)] = source[np.ix_(*origins)]
    else:
        positions[()] = source
    return positions
