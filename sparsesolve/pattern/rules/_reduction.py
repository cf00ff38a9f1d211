"""Reductions, cumulative operations, windows, sorting: unions over groups of elements."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from sparsesolve.pattern._dependence import MAX_PRODUCT, Dependence, selection
from sparsesolve.pattern._equation import Equation, rule
from sparsesolve.pattern._operations import apply, group_union, move, take, union


def axis_groups(shape: tuple[int, ...], axes: Sequence[int]) -> np.ndarray:
    """The number of the group of each element when `axes` are reduced."""
    kept = [1 if axis in axes else size for axis, size in enumerate(shape)]
    return np.broadcast_to(np.arange(math.prod(kept)).reshape(kept), shape)


def dense_along(dependence: Dependence | None, axes: Sequence[int]) -> Dependence | None:
    """Every element depends on all elements that differ from it along `axes` only."""
    if dependence is None:
        return None
    groups = axis_groups(dependence.shape, axes)
    count = int(groups.size and groups.reshape(-1)[-1] + 1)
    return take(group_union(dependence, groups, (count,)), groups)


def reduce_axes(dependence: Dependence | None, axes: Sequence[int]) -> Dependence | None:
    """Unites over `axes`, which stay with length one."""
    if dependence is None or not axes:
        return dependence
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(dependence.shape))
    return group_union(dependence, axis_groups(dependence.shape, axes), kept)


@rule("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or")
def reduce(equation: Equation) -> list[Dependence | None]:
    """out[k] unites in[k, j] over the reduced axes j."""
    (shape,) = equation.out_shapes
    axes = tuple(equation.params["axes"])
    if not axes:
        return [equation.deps[0]]
    return [group_union(equation.deps[0], axis_groups(equation.in_shapes[0], axes), shape)]


@rule("reduce")
def variadic_reduce(equation: Equation) -> list[Dependence | None]:
    """A reduction by a function of several operands: every output unites all operands over the reduced axes."""
    axes = tuple(equation.params["dimensions"])
    shape, half = equation.out_shapes[0], len(equation.deps) // 2
    parts = [group_union(d, axis_groups(equation.in_shapes[0], axes), shape) for d in equation.deps[:half]]
    return [union([*parts, *equation.deps[half:]], shape)] * len(equation.out_shapes)


@rule("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
def cumulative(equation: Equation) -> list[Dependence | None]:
    """out[i] unites in[j] for j <= i along the axis (j >= i if reversed)."""
    length = equation.in_shapes[0][equation.params["axis"]]
    below = np.tri(length, dtype=np.bool_) if length**2 <= MAX_PRODUCT else np.ones((1, 1), np.bool_)
    return [along_axis(equation, 0, below.T if equation.params["reverse"] else below, equation.params["axis"])]


def along_axis(equation: Equation, operand: int, matrix: np.ndarray, axis: int) -> Dependence | None:
    """out[.., i, ..] unites in[.., j, ..] where `matrix[i, j]`, every line along `axis` for itself.

    Dense along the axis, with a warning, if the matrix is too large to be built.
    """
    dep, shape = equation.deps[operand], equation.in_shapes[operand]
    if dep is None:
        return None
    rows, cols = np.nonzero(matrix)
    count = dep.size // max(shape[axis], 1)
    if matrix.shape[0] != shape[axis] or rows.size * count > MAX_PRODUCT:
        equation.walk.note_dense(equation, f"is too long ({shape[axis]} along its axis) to be resolved")
        return dense_along(dep, (axis,))
    lines = np.moveaxis(np.arange(dep.size).reshape(shape), axis, 0).reshape(shape[axis], -1)
    return apply(dep, selection(lines[rows].reshape(-1), lines[cols].reshape(-1), (dep.size, dep.size)), shape)


@rule("sort")
def sort(equation: Equation) -> list[Dependence | None]:
    """A sorted operand mixes its own elements along the axis (the order itself is piecewise constant)."""
    return [dense_along(dep, (equation.params["dimension"],)) for dep in equation.deps]


@rule("top_k", "approx_top_k")
def top_k(equation: Equation) -> list[Dependence | None]:
    """Each of the k values may be any element along the axis; their indices are piecewise constant."""
    (shape,) = equation.in_shapes
    axis = equation.params.get("axis", equation.params.get("reduction_dimension", len(shape) - 1)) % len(shape)
    out = equation.out_shapes[0]
    dense = dense_along(equation.deps[0], (axis,))
    values = move(dense, lambda a: np.broadcast_to(np.take(a, [0], axis), out)) if shape[axis] else None
    return [values, *[None] * (len(equation.out_shapes) - 1)]


def window_positions(
    shape: tuple[int, ...],
    out_shape: tuple[int, ...],
    window: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    base_dilation: Sequence[int],
    window_dilation: Sequence[int],
) -> list[np.ndarray]:
    """Per offset in the window, the position of the operand's element under it for every output, -1 if none."""
    spans = []
    for axis, size in enumerate(shape):
        at = np.arange(out_shape[axis])[None, :] * strides[axis] - padding[axis][0]
        at = at + np.arange(window[axis])[:, None] * window_dilation[axis]
        inside = (at >= 0) & (at % base_dilation[axis] == 0) & (at // base_dilation[axis] < size)
        spans.append(np.where(inside, at // base_dilation[axis], -1))
    out = []
    for offsets in itertools.product(*map(range, window)):
        lines = [span[offset] for span, offset in zip(spans, offsets, strict=True)]
        position = np.zeros(out_shape, np.int64)
        outside = np.zeros(out_shape, np.bool_)
        for axis, line in enumerate(lines):
            across = line.reshape([-1 if a == axis else 1 for a in range(len(shape))])
            position = position * shape[axis] + across
            outside = outside | (across < 0)
        out.append(np.where(outside, -1, position))
    return out


def _windows(equation: Equation, shape: tuple[int, ...], out_shape: tuple[int, ...]) -> list[np.ndarray]:
    p, ones = equation.params, (1,) * len(shape)
    base, dilation = p.get("base_dilation") or ones, p.get("window_dilation") or ones
    return window_positions(shape, out_shape, p["window_dimensions"], p["window_strides"], p["padding"], base, dilation)


def _over_windows(dependence: Dependence | None, windows: list[np.ndarray]) -> Dependence | None:
    if dependence is None:
        return None
    shape = windows[0].shape
    members = np.stack([window.reshape(-1) for window in windows], axis=1)
    rows, offsets = np.nonzero(members >= 0)
    return apply(dependence, selection(rows, members[rows, offsets], (members.shape[0], dependence.size)), shape)


@rule("reduce_window_sum", "reduce_window_max", "reduce_window_min", "reduce_window")
def reduce_window(equation: Equation) -> list[Dependence | None]:
    """out[i] unites the elements under the window at i (and the initial values)."""
    count = len(equation.out_shapes)
    shape, out = equation.in_shapes[0], equation.out_shapes[0]
    windows = _windows(equation, shape, out)
    parts = [_over_windows(dep, windows) for dep in equation.deps[:count]]
    if count == 1:
        return [union([*parts, *equation.deps[1:]], out)]
    return [union([*parts, *equation.deps[count:]], out)] * count


@rule("select_and_gather_add")
def select_and_gather_add(equation: Equation) -> list[Dependence | None]:
    """The tangent under the window at the place of the largest (or smallest) operand; the operand only selects."""
    windows = _windows(equation, equation.in_shapes[0], equation.out_shapes[0])
    return [_over_windows(equation.deps[0], windows)]


@rule("select_and_scatter_add", "select_and_scatter")
def select_and_scatter(equation: Equation) -> list[Dependence | None]:
    """Each source element is added to one operand place under its window: in[j] unites sources whose window has j."""
    source, operand = equation.in_shapes[0], equation.in_shapes[1]
    if equation.name == "select_and_scatter":
        source, operand = equation.in_shapes[1], equation.in_shapes[0]
    dep = equation.deps[0 if equation.name == "select_and_scatter_add" else 1]
    windows = np.stack([w.reshape(-1) for w in _windows(equation, operand, source)], axis=1)
    sources, offsets = np.nonzero(windows >= 0)
    size = (math.prod(operand), math.prod(source))
    spread = apply(dep, selection(windows[sources, offsets], sources, size), operand)
    initial = equation.deps[2:] if equation.name == "select_and_scatter" else []
    return [union([spread, *initial], operand)]
