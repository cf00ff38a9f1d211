"""What to do with a primitive that has no rule: look at its implementation, or take it as dense.

The implementation of many primitives outside JAX's core (`jax.experimental.sparse`, equinox, lineax) is a Python
function of ordinary JAX operations. Traced on abstract values and walked, it says exactly what depends on what.
Nothing is computed with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from sparsesolve.pattern._dependence import Dependence, shared_row
from sparsesolve.pattern._equation import Equation, inner_jaxprs


def dense_rule(equation: Equation) -> list[Dependence | None]:
    """Every output element depends on everything any input depends on."""
    return [shared_row(equation.deps, shape) for shape in equation.out_shapes]


def unknown_rule(equation: Equation) -> Sequence[Dependence | None]:
    """The implementation of the primitive if it has one in other primitives; else dense, with a warning."""
    if "callback" not in equation.name and not equation.eqn.effects:
        try:
            return walk_implementation(equation)
        except Exception:
            pass  # no implementation, or one that needs concrete values: dense is always valid
    equation.walk.note_dense(equation, "has no sparsity rule")
    return dense_rule(equation)


def walk_implementation(equation: Equation) -> Sequence[Dependence | None]:
    """Walks the primitive's own implementation."""

    def implementation(*operands: jax.Array) -> list[Any]:
        out = equation.eqn.primitive.impl(*operands, **equation.params)
        return list(out) if equation.eqn.primitive.multiple_results else [out]

    return walk_traced(equation, implementation)


def walk_traced(equation: Equation, function: Callable[..., Any]) -> Sequence[Dependence | None]:
    """Walks what `function` of the equation's operands does, in place of the equation."""
    avals = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.eqn.invars]
    traced = jax.make_jaxpr(function)(*avals)
    if _contains(traced, equation.name):
        raise ValueError("it has no implementation in other primitives")
    return equation.walk.run(traced, equation.deps, equation.knowns)[0]


def _contains(jaxpr: Any, name: str) -> bool:
    return any(
        eqn.primitive.name == name or any(_contains(inner, name) for inner in inner_jaxprs(eqn)) for eqn in jaxpr.eqns
    )
