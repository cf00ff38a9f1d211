"""Primitives that call an inner jaxpr once: walk it in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsesolve.pattern._closure import closure
from sparsesolve.pattern._dependence import CSR, Dependence, boolean_csr, columns, to_csr
from sparsesolve.pattern._equation import Equation, Walk, rule
from sparsesolve.pattern._operations import apply, concatenate, move, take, union

_JAXPRS = ("jaxpr", "call_jaxpr", "fun_jaxpr", "callee")


def flat(dependences: Sequence[Dependence | None], shapes: Sequence[tuple[int, ...]]) -> Dependence | None:
    """The concatenation of the raveled arrays."""
    sizes = [(math.prod(shape),) for shape in shapes]
    return concatenate([move(d, np.ravel, s) for d, s in zip(dependences, sizes, strict=True)], sizes, 0)


def unflat(dependence: Dependence | None, shapes: Sequence[tuple[int, ...]]) -> list[Dependence | None]:
    """The arrays whose raveled concatenation this is."""
    out, start = [], 0
    for shape in shapes:
        stop = start + math.prod(shape)
        out.append(take(dependence, np.arange(start, stop).reshape(shape)))
        start = stop
    return out


def step_matrix(
    walk: Walk,
    jaxpr: Any,
    knowns: Sequence[Any],
    inputs: Sequence[tuple[int, ...] | None],
    out_shapes: Sequence[tuple[int, ...]],
) -> CSR:
    """The boolean matrix of a jaxpr: rows its raveled outputs, columns those raveled inputs whose shape is given."""
    total = sum(math.prod(shape) for shape in inputs if shape is not None)
    child = walk.child(total)
    deps, offset = [], 0
    for shape in inputs:
        deps.append(None if shape is None else columns(shape, offset, total))
        offset += 0 if shape is None else math.prod(shape)
    outs, _ = child.run(jaxpr, deps, knowns)
    rows = sum(math.prod(shape) for shape in out_shapes)
    indptr, indices = to_csr(flat(outs, out_shapes), rows, total)
    return boolean_csr(indices, indptr, (rows, total))


@rule(
    *"jit pjit closed_call core_call call remat remat2 checkpoint custom_jvp_call custom_vjp_call composite".split(),
    *"custom_jvp_call_jaxpr custom_vjp_call_jaxpr custom_vmap_call xla_metadata_call jaxpr_call".split(),
    *"eval_jaxpr core_closed_call custom_dce_call fused".split(),
    transparent=True,
)
def call(equation: Equation) -> list[Dependence | None]:
    """The inner jaxpr in place of the call."""
    jaxpr = next(equation.params[name] for name in _JAXPRS if name in equation.params)
    out, equation.out_knowns = equation.walk.run(jaxpr, equation.deps, equation.knowns)
    return out


@rule("custom_lin")
def custom_lin(equation: Equation) -> list[Dependence | None]:
    """The tangent of a `custom_vjp` function: the transpose of its backward rule, which maps (residuals, cotangents)
    to input cotangents."""
    p = equation.params
    num_res = p["num_res"]
    values = [equation.value(index) for index in range(num_res)]
    residuals = [
        jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) if value is None else None
        for value, v in zip(values, equation.eqn.invars, strict=False)
    ]
    cotangents = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.eqn.outvars]

    def pullback(residuals: list[Any], cotangents: list[Any]) -> list[Any]:
        # Known residuals go in as concrete arrays: a backward rule may branch on them in Python.
        merged = [r if value is None else jnp.asarray(value) for r, value in zip(residuals, values, strict=True)]
        return list(p["bwd"].call_wrapped(*merged, *cotangents))

    backward: Any = jax.make_jaxpr(pullback)(residuals, cotangents)
    shapes = [tuple(aval.shape) for aval in backward.out_avals]
    inputs = equation.in_shapes[num_res:]
    if shapes != inputs:
        raise ValueError(f"the backward rule returns shapes {shapes} for inputs of shapes {inputs}")
    unknown = sum(value is None for value in values)
    knowns = [None] * (unknown + len(cotangents))
    matrix = step_matrix(equation.walk, backward, knowns, [None] * unknown + equation.out_shapes, inputs)
    transposed = matrix.T.tocsr()
    tangents = flat(list(equation.deps[num_res:]), inputs)
    return unflat(apply(tangents, transposed, (transposed.shape[0],)), equation.out_shapes)


@rule("custom_linear_solve")
def custom_linear_solve(equation: Equation) -> list[Dependence | None]:
    """x = A^-1 b depends on whatever reaches it through A: A^-1 is a polynomial in A (Cayley-Hamilton)."""
    lengths, jaxprs = equation.params["const_lengths"], equation.params["jaxprs"]
    count = lengths.matvec
    num_consts = sum(lengths)
    shapes = equation.out_shapes
    consts, rhs = equation.deps[:count], equation.deps[num_consts:]
    knowns = [*equation.knowns[:count], *[None] * len(shapes)]
    step = step_matrix(equation.walk, jaxprs.matvec, knowns, [None] * count + shapes, shapes)
    from_matrix: list[Dependence | None] = [None] * len(shapes)
    if any(dep is not None for dep in consts):
        from_matrix, _ = equation.walk.run(jaxprs.matvec, [*consts, *[None] * len(shapes)], knowns)
    start = [union(pair, shape) for *pair, shape in zip(rhs, from_matrix, shapes, strict=True)]
    return unflat(closure(step, flat(start, shapes)), shapes)
