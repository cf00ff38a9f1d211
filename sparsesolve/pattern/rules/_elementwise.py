"""Elementwise primitives: out[e] depends on what in_k[e] depends on, for every operand k."""

from __future__ import annotations

import numpy as np

from sparsesolve.pattern._dependence import Dependence
from sparsesolve.pattern._equation import Equation, rule
from sparsesolve.pattern._operations import mask, move, overlay, union

_UNION = """
abs acos acosh add add_any asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt clz complex conj copy copy_p cos
cosh device_put digamma erf erf_inv erfc exp exp2 expm1 igamma igamma_grad_a igammac imag integer_pow lgamma log log1p
log2 logistic max min mulhi multiple_of name neg nextafter not one_minus_square polygamma polynomial population_count
pow random_gamma real reciprocal reduce_precision regularized_incomplete_beta rem rsqrt sharding_constraint
layout_constraint shift_left shift_right_arithmetic shift_right_logical sin sinh sqrt square sub tan tanh zeta and or
xor new_ref pvary pcast preduced reshard relayout reduced_vary_cast reduced_vary_cast_p vary_unreduced_cast
vary_unreduced_cast_p with_memory_space_constraint pin unpin annotate to_edtype from_edtype copy_to_host_async
"""

# Piecewise constant: the derivative is zero wherever it exists, and JAX's is zero everywhere.
_CONSTANT = """
argmax argmin ceil eq eq_to floor ge gt is_finite le le_to lt lt_to ne round sign stop_gradient reduce_and reduce_or
reduce_xor iota rng_uniform zeros_like empty after_all create_token
"""


@rule(*_UNION.split())
def elementwise(equation: Equation) -> list[Dependence | None]:
    """out[e] depends on in_0[e], in_1[e], ..."""
    return [union(equation.deps, shape) for shape in equation.out_shapes]


@rule(*_CONSTANT.split())
def piecewise_constant(equation: Equation) -> list[Dependence | None]:
    """The derivative is zero: no dependence."""
    return [None] * len(equation.out_shapes)


@rule("convert_element_type", "convert_element_type_p")
def convert_element_type(equation: Equation) -> list[Dependence | None]:
    """Between floats out[e] depends on in[e]; a conversion to integers or booleans is piecewise constant."""
    kind = np.dtype(equation.params["new_dtype"]).kind
    return [None] if kind in "biu" else list(equation.deps)


@rule("mul", "dot")
def multiply(equation: Equation) -> list[Dependence | None]:
    """d(c x) = c dx: no dependence where the factor c is known to be zero."""
    (shape,) = equation.out_shapes
    deps = list(equation.deps)
    for index, other in ((0, 1), (1, 0)):
        if deps[index] is not None and deps[other] is None:
            nonzero = equation.nonzero(other)
            if nonzero is not None:
                deps[index] = _masked(deps[index], nonzero, shape)
    return [union(deps, shape)]


@rule("div")
def divide(equation: Equation) -> list[Dependence | None]:
    """d(x / c) = dx / c."""
    return [union(equation.deps, shape) for shape in equation.out_shapes]


@rule("select_n")
def select_n(equation: Equation) -> list[Dependence | None]:
    """out[e] = case_{which[e]}[e]: the chosen case where `which` is known, else the union of all cases."""
    (shape,) = equation.out_shapes
    cases = equation.deps[1:]
    which = equation.value(0)
    if which is None:
        return [union(cases, shape)]
    chosen = union(cases[:1], shape)
    for number, case in enumerate(cases[1:], start=1):
        chosen = overlay(chosen, union([case], shape), np.broadcast_to(which == number, shape))
    return [chosen]


@rule("clamp")
def clamp(equation: Equation) -> list[Dependence | None]:
    """out[e] is low, x[e] or high."""
    return [union(equation.deps, shape) for shape in equation.out_shapes]


@rule("optimization_barrier", "tie", "copy_multiple")
def identity(equation: Equation) -> list[Dependence | None]:
    """out_k = in_k."""
    return list(equation.deps)


@rule("bitcast_convert_type")
def bitcast_convert_type(equation: Equation) -> list[Dependence | None]:
    """Bits move within an element; a change of width adds or takes a last axis."""
    (old,), (new,) = equation.in_shapes, equation.out_shapes
    dep = equation.deps[0]
    if len(new) > len(old):
        return [move(dep, lambda array: np.broadcast_to(array[..., None], new), new)]
    if len(new) < len(old):
        parts = [move(dep, lambda array, k=k: array[..., k], new) for k in range(old[-1])]
        return [union(parts, new)]
    return [dep]


def _masked(dependence: Dependence | None, keep: np.ndarray, shape: tuple[int, ...]) -> Dependence | None:
    return mask(union([dependence], shape), np.broadcast_to(keep, shape))
