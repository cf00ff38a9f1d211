"""Convolutions: out[n, o, s] = sum_{i, k} lhs[n, g(o) I + i, place(s, k)] rhs[o, i, k]."""

from __future__ import annotations

import math

import numpy as np

from sparsesolve.pattern._dependence import MAX_PRODUCT, Dependence, selection, shared_row
from sparsesolve.pattern._equation import Equation, rule
from sparsesolve.pattern._operations import apply, move, union
from sparsesolve.pattern.rules._reduction import window_positions


@rule("conv_general_dilated")
def convolution(equation: Equation) -> list[Dependence | None]:
    """Each output unites the inputs under the kernel where the kernel is not a known zero (and the kernel likewise)."""
    p = equation.params
    lhs_spec, rhs_spec, out_spec = _specs(p["dimension_numbers"])
    lhs_shape = tuple(equation.in_shapes[0][a] for a in lhs_spec)
    rhs_shape = tuple(equation.in_shapes[1][a] for a in rhs_spec)
    out_shape = tuple(equation.out_shapes[0][a] for a in out_spec)
    ones = (1,) * (len(lhs_shape) - 2)
    taps = window_positions(
        lhs_shape[2:],
        out_shape[2:],
        rhs_shape[2:],
        p["window_strides"],
        p["padding"],
        p["lhs_dilation"] or ones,
        p["rhs_dilation"] or ones,
    )
    # Only kernel and output places matter: (taps, output places), -1 where the tap lies outside the input.
    places = np.stack([tap.reshape(-1) for tap in taps])
    parts = []
    lhs, rhs = equation.deps
    if lhs is not None:
        kernel = equation.nonzero(1)
        nonzero = np.ones(rhs_shape, np.bool_) if kernel is None else np.transpose(kernel, rhs_spec)
        canonical = move(lhs, lambda a: np.transpose(a, lhs_spec))
        parts.append(
            _from_input(canonical, nonzero, places, out_shape, p["feature_group_count"], p["batch_group_count"])
        )
    if rhs is not None:
        canonical = move(rhs, lambda a: np.transpose(a, rhs_spec))
        parts.append(_from_kernel(canonical, places, out_shape))
    back = np.argsort(out_spec)
    return [move(union(parts, out_shape), lambda a: np.transpose(a, back))]


def _specs(numbers: object) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    return tuple(numbers.lhs_spec), tuple(numbers.rhs_spec), tuple(numbers.out_spec)  # type: ignore[attr-defined]


def _from_input(
    lhs: Dependence | None,
    nonzero: np.ndarray,
    places: np.ndarray,
    out_shape: tuple[int, ...],
    groups: int,
    batches: int,
) -> Dependence | None:
    if lhs is None:
        return None
    outputs, inputs = nonzero.shape[:2]
    kernel = nonzero.reshape(outputs, inputs, -1)
    batch, spatial = out_shape[0], math.prod(out_shape[2:])
    channels, size = lhs.shape[1], math.prod(lhs.shape[2:])
    if int(kernel.sum()) * batch * spatial > MAX_PRODUCT:
        return shared_row([lhs], out_shape)
    at_o, at_i, at_k = np.nonzero(kernel)
    channel = at_o // (outputs // groups) * inputs + at_i
    place = places[at_k]  # (nonzeros, output places)
    term, at_s = np.nonzero(place >= 0)
    n = np.arange(batch)[:, None]
    source = at_o[term] // (outputs // batches) * batch + n
    rows = (n * outputs + at_o[term]) * spatial + at_s
    cols = (source * channels + channel[term]) * size + place[term, at_s]
    return apply(lhs, selection(rows.reshape(-1), cols.reshape(-1), (math.prod(out_shape), lhs.size)), out_shape)


def _from_kernel(rhs: Dependence | None, places: np.ndarray, out_shape: tuple[int, ...]) -> Dependence | None:
    if rhs is None:
        return None
    outputs, inputs = rhs.shape[:2]
    taps, spatial = places.shape
    at_k, at_s = np.nonzero(places >= 0)
    if at_k.size * outputs * inputs > MAX_PRODUCT:
        return shared_row([rhs], out_shape)
    o, i = np.arange(outputs)[:, None, None], np.arange(inputs)[None, :, None]
    rows = np.broadcast_to(o * spatial + at_s, (outputs, inputs, at_s.size))
    cols = (o * inputs + i) * taps + at_k
    out = apply(
        rhs, selection(rows.reshape(-1), cols.reshape(-1), (outputs * spatial, rhs.size)), (outputs, *out_shape[2:])
    )
    return move(out, lambda a: np.broadcast_to(a[None], out_shape))
