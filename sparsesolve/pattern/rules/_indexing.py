"""Gather, scatter and dynamic slices: exact where the indices are known, dense along the indexed axes where not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sparsesolve.pattern._dependence import Dependence, shared_row
from sparsesolve.pattern._equation import Equation, rule
from sparsesolve.pattern._known import Columns
from sparsesolve.pattern._operations import group_union, overlay, take, union
from sparsesolve.pattern.rules._reduction import dense_along

Starts = list["np.ndarray | None"]
_UNKNOWN = "has indices that depend on arguments, so it may touch any place"


def index_columns(equation: Equation, operand: int) -> Starts:
    """The values of each component of an index array (its last axis), `None` where they depend on arguments."""
    width = equation.in_shapes[operand][-1]
    known = equation.knowns[operand]
    if isinstance(known, Columns):
        return known.values()
    value = equation.value(operand)
    return [None] * width if value is None else [value[..., column] for column in range(width)]


def window_places(
    shape: tuple[int, ...],
    window: Sequence[int],
    out_shape: tuple[int, ...],
    starts: dict[int, np.ndarray],
    batch_axes: Sequence[int],
    window_axes: dict[int, int],
    batched: dict[int, int],
    clip: bool,
) -> np.ndarray:
    """Where in an array of `shape` each element of a gathered (or scattered) array lies; -1 if its window sticks out.

    `starts[d]` is the window's first index along axis d (over the batch axes), `window_axes[d]` the output axis that
    runs inside the window along d, and `batched[d]` the output axis that d is paired with.
    """
    places = np.zeros(out_shape, np.int64)
    outside = np.zeros(out_shape, np.bool_)

    def along(axis: int) -> np.ndarray:
        return np.arange(out_shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(out_shape))])

    for axis, size in enumerate(shape):
        index: np.ndarray = np.zeros([1] * len(out_shape), np.int64)
        if axis in starts:
            start = starts[axis].astype(np.int64)
            sizes = [1] * len(out_shape)
            for at, length in zip(batch_axes, start.shape, strict=True):
                sizes[at] = length
            start = start.reshape(sizes)
            last = size - window[axis]
            if clip:
                start = np.clip(start, 0, last)
            else:
                outside |= (start < 0) | (start > last)
                start = np.clip(start, 0, max(last, 0))
            index = index + start
        elif axis in batched:
            index = index + along(batched[axis])
        if axis in window_axes:
            index = index + along(window_axes[axis])
        places = places * size + index
    return np.where(outside, -1, places)


def _batched_axes(operand_axes: Sequence[int], index_axes: Sequence[int], batch_axes: Sequence[int]) -> dict[int, int]:
    return {axis: batch_axes[at] for axis, at in zip(operand_axes, index_axes, strict=True)}


def _clips(equation: Equation, promise_clips: bool) -> bool:
    mode = str(equation.params["mode"])
    return "CLIP" in mode or (promise_clips and "PROMISE" in mode)


@rule("gather")
def gather(equation: Equation) -> list[Dependence | None]:
    """out[b, w] = in[start[b] + w]; along an axis whose start is unknown, any element."""
    numbers, window = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    shape, out_shape = equation.in_shapes[0], equation.out_shapes[0]
    dep = equation.deps[0]
    if dep is None:
        return [None]
    batch_axes = [axis for axis in range(len(out_shape)) if axis not in numbers.offset_dims]
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [axis for axis in range(len(shape)) if axis not in gone]
    starts, dense = {}, []
    for axis, start in zip(numbers.start_index_map, index_columns(equation, 1), strict=True):
        if start is not None:
            starts[axis] = start
        elif window[axis] < shape[axis]:
            dense.append(axis)
            equation.walk.note_dense(equation, _UNKNOWN, warn=False)
    places = window_places(
        shape,
        window,
        out_shape,
        starts,
        batch_axes,
        dict(zip(kept, numbers.offset_dims, strict=True)),
        _batched_axes(numbers.operand_batching_dims, numbers.start_indices_batching_dims, batch_axes),
        _clips(equation, promise_clips=True),
    )
    return [take(dense_along(dep, dense) if dense else dep, places)]


@rule("scatter", "scatter-add", "scatter-sub", "scatter-mul", "scatter-min", "scatter-max")
def scatter(equation: Equation) -> list[Dependence | None]:
    """out[start[b] + w] collects update[b, w]; `scatter` itself overwrites where the places are known."""
    numbers = equation.params["dimension_numbers"]
    shape, updates = equation.in_shapes[0], equation.in_shapes[2]
    operand, _, update = equation.deps
    batch_axes = [axis for axis in range(len(updates)) if axis not in numbers.update_window_dims]
    gone = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    kept = [axis for axis in range(len(shape)) if axis not in gone]
    window_axes = dict(zip(kept, numbers.update_window_dims, strict=True))
    window = [updates[window_axes[axis]] if axis in window_axes else 1 for axis in range(len(shape))]
    starts, dense = {}, []
    for axis, start in zip(numbers.scatter_dims_to_operand_dims, index_columns(equation, 1), strict=True):
        if start is not None:
            starts[axis] = start
        else:
            dense.append(axis)
            equation.walk.note_dense(equation, _UNKNOWN, warn=False)
    places = window_places(
        shape,
        window,
        updates,
        starts,
        batch_axes,
        window_axes,
        _batched_axes(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, batch_axes),
        _clips(equation, promise_clips=False),
    )
    added = group_union(update, places, shape)
    if dense:
        added = dense_along(added, dense)
    elif equation.name == "scatter" and operand is not None:
        written = np.zeros(math.prod(shape), np.bool_)
        written[places[places >= 0]] = True
        return [overlay(operand, added, written.reshape(shape))]
    return [union([operand, added], shape)]


def _window(equation: Equation, first: int, window: tuple[int, ...]) -> tuple[tuple[slice, ...], list[int]]:
    """The slices of a dynamic slice (clamped as XLA does) and the axes whose start is unknown."""
    slices, unknown = [], []
    for axis, (size, length) in enumerate(zip(equation.in_shapes[0], window, strict=True)):
        start = equation.value(first + axis)
        if start is None and length < size:
            unknown.append(axis)
            equation.walk.note_dense(equation, _UNKNOWN, warn=False)
        begin = 0 if start is None else min(max(int(start), 0), size - length)
        slices.append(slice(begin, begin + length))
    return tuple(slices), unknown


def _numbers(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(math.prod(shape)).reshape(shape)


@rule("dynamic_slice")
def dynamic_slice(equation: Equation) -> list[Dependence | None]:
    """out = in[start:start + size]; dense along axes whose start is unknown."""
    slices, unknown = _window(equation, 1, equation.out_shapes[0])
    dep = dense_along(equation.deps[0], unknown) if unknown else equation.deps[0]
    return [take(dep, _numbers(equation.in_shapes[0])[slices])]


@rule("dynamic_update_slice")
def dynamic_update_slice(equation: Equation) -> list[Dependence | None]:
    """out = in with update written at start; where the start is unknown, in's entries stay and update spreads."""
    shape, window = equation.in_shapes[0], equation.in_shapes[1]
    operand, update = equation.deps[:2]
    slices, unknown = _window(equation, 2, window)
    places = np.full(shape, -1)
    places[slices] = _numbers(window)
    written = take(update, places)
    if unknown:
        return [union([operand, dense_along(written, unknown)], shape)]
    return [overlay(operand, written, places >= 0)]


@rule("get", "swap", "freeze", "addupdate")
def reference_access(equation: Equation) -> list[Dependence | None]:
    """A read of a whole mutable reference is elementwise; through indices it may see any place. The walk itself
    keeps track of what was written."""
    (reference, *_), shapes = equation.in_shapes, equation.out_shapes
    if len(equation.deps) <= 2 and all(shape == reference for shape in (*equation.in_shapes, *shapes)):
        return [union(equation.deps[:1], reference) for _ in shapes]
    equation.walk.note_dense(equation, "reads or writes a mutable reference through indices")
    return [shared_row(equation.deps[:1], shape) for shape in shapes]
