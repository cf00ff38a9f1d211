"""Known zeros of values that are otherwise unknown: `diag(k(x))` is zero off the diagonal whatever `k(x)` is.

A derivative passes through products with such values, d(A u) = A du + dA u, so their zeros matter as much as those
of constants. The mask of an equation that is a sum of products with nonnegative coefficients of its operands
(movement, products, sums) comes from evaluating it on zeros and ones: nothing can cancel there. A function
with f(0) = 0 keeps its operand's mask. All lazy: masks are computed when a product asks for them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsesolve.pattern._equation import Equation
from sparsesolve.pattern._fold import evaluate
from sparsesolve.pattern._known import Known, Mask

# Operands from this position on (or only there) steer the operation and must be known themselves.
_STEERING = {"gather": (1,), "scatter": (1,), "scatter-add": (1,), "select_n": (0,)}
_STEERED_FROM = {"dynamic_slice": 1, "dynamic_update_slice": 2}
_POSITIVE = set(
    "add add_any broadcast_in_dim concatenate cumsum dot_general dynamic_slice dynamic_update_slice expand_dims gather "
    "max mul pad reduce_sum reshape rev scatter scatter-add select_n slice split squeeze stack sub transpose "
    "unstack".split()
)
_VANISHING_AT_ZERO = set(
    "abs asin asinh atan atanh cbrt conj convert_element_type copy copy_p erf expm1 floor imag log1p neg real "
    "reduce_precision round sign sin sinh sqrt square stop_gradient tan tanh".split()
)
_TRIANGLES = {"qr": (None, np.triu)}  # the primitive `cholesky` leaves its other triangle undefined


def masks(equation: Equation) -> list[Mask | None]:
    """Where the outputs of an equation with partly known inputs can be nonzero; `None` where that is anywhere."""
    name, count = equation.name, len(equation.out_shapes)
    nothing: list[Mask | None] = [None] * count
    if name in _TRIANGLES:
        return [_triangle(cut, s) for cut, s in zip(_TRIANGLES[name], equation.out_shapes, strict=False)]
    if not any(_informative(k, s) for k, s in zip(equation.knowns, equation.in_shapes, strict=True)):
        return nothing
    if name in _VANISHING_AT_ZERO or name == "div":
        known = equation.knowns[0]
        return [known if isinstance(known, Mask) and equation.out_shapes[0] == equation.in_shapes[0] else None]
    if name not in _POSITIVE:
        return nothing
    steering = _STEERING.get(name, range(_STEERED_FROM.get(name, 99), len(equation.knowns)))
    if not all(isinstance(equation.knowns[index], Known) for index in steering):
        return nothing
    fold = functools.partial(_on_ones, equation.eqn, frozenset(steering))
    inputs = [_as_ones(equation, index, index in steering) for index in range(len(equation.knowns))]
    return [Mask(known) for known in Known.lazy(fold, inputs, count)]


def _informative(known: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(known, Mask) or (isinstance(known, Known) and shape != ())


def _triangle(cut: Any, shape: tuple[int, ...]) -> Mask | None:
    if cut is None:
        return None
    return Mask(Known.lazy(lambda _: [np.broadcast_to(cut(np.ones(shape[-2:], np.bool_)), shape)], [])[0])


def _as_ones(equation: Equation, index: int, steering: bool) -> Known:
    known, shape = equation.knowns[index], equation.in_shapes[index]
    if isinstance(known, Mask):
        return known.nonzero
    if isinstance(known, Known):
        return known if steering else Known.lazy(lambda values: [values[0] != 0], [known])[0]
    return Known.of(np.broadcast_to(np.True_, shape))


def _on_ones(eqn: Any, steering: frozenset[int], values: Sequence[Any]) -> list[np.ndarray]:
    if all(value.all() for index, value in enumerate(values) if index not in steering):
        return [np.broadcast_to(np.True_, tuple(v.aval.shape)) for v in eqn.outvars]
    operands = [
        value if index in steering else np.asarray(value).astype(v.aval.dtype)
        for index, (value, v) in enumerate(zip(values, eqn.invars, strict=True))
    ]
    if eqn.primitive.name == "sub":
        return [np.logical_or(*np.broadcast_arrays(*values))]
    return [np.asarray(out) != 0 for out in evaluate(eqn, operands)]
