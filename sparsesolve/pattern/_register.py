"""`register_sparsity_rule`: the hook by which users say what their own primitives depend on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import scipy.sparse

from sparsesolve.pattern._convert import as_pattern
from sparsesolve.pattern._dependence import Dependence, shared_row
from sparsesolve.pattern._equation import RULES, Equation
from sparsesolve.pattern._operations import apply, union


def register_sparsity_rule(primitive: Any, rule: Callable[..., Any]) -> None:
    """Teaches `detect_sparsity` what the outputs of a primitive depend on (FFI calls, Pallas kernels, callbacks).

    Args:
        primitive: a JAX primitive, or its name as printed in a jaxpr: `"ffi_call"`, `"pallas_call"`,
            `"pure_callback"`. A later registration replaces an earlier one, also a built-in rule.
        rule: called as `rule(inputs, outputs, **params)` with tuples of `jax.ShapeDtypeStruct` and the equation's
            parameters (an FFI call has `target_name` among them). It returns one row of blocks per output, one block
            per input: `blocks[i][j]` says which elements of input j each element of output i depends on:

            * `None`: on none;
            * `"elementwise"`: on the one at the same place (shapes must agree or be scalar);
            * `"dense"`: on all;
            * a SciPy sparse matrix, `SparsityPattern` or dense array of shape `(outputs[i].size, inputs[j].size)`.

            A rule may return `None` instead of blocks to decline: then the equation is dense, with a warning.

    ??? example

        ```python
        >>> def my_kernel(inputs, outputs, *, target_name, **params):
        ...     return [["elementwise"] * len(inputs)] if target_name == "my_activation" else None
        >>> register_sparsity_rule("ffi_call", my_kernel)

        ```
    """
    name = primitive if isinstance(primitive, str) else getattr(primitive, "name", None)
    if not isinstance(name, str) or not callable(rule):
        raise TypeError(
            f"register_sparsity_rule got {primitive!r} and {rule!r}; give a JAX primitive (or its name) and a function "
            f"rule(inputs, outputs, **params) that returns a list of blocks per output."
        )

    def wrapped(equation: Equation) -> list[Dependence | None]:
        return _apply_user_rule(equation, rule)

    RULES[name] = wrapped


def _apply_user_rule(equation: Equation, rule: Callable[..., Any]) -> list[Dependence | None]:
    inputs = tuple(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.eqn.invars)
    outputs = tuple(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.eqn.outvars)
    blocks = rule(inputs, outputs, **equation.params)
    if blocks is None:
        equation.walk.note_dense(equation, "was declined by its registered rule")
        return [shared_row(equation.deps, shape) for shape in equation.out_shapes]
    return [
        union([_block(b, d, shape) for b, d in zip(row, equation.deps, strict=True)], shape)
        for row, shape in zip(blocks, equation.out_shapes, strict=True)
    ]


def _block(block: Any, dep: Dependence | None, shape: tuple[int, ...]) -> Dependence | None:
    if dep is None or block is None:
        return None
    if isinstance(block, str):
        if block == "elementwise":
            return union([dep], shape)
        if block == "dense":
            return shared_row([dep], shape)
        raise ValueError(
            f"a sparsity rule returned the block {block!r}; write None, 'elementwise', 'dense' or a matrix"
        )
    pattern = as_pattern(block, (math.prod(shape), dep.size))
    matrix = scipy.sparse.csr_matrix((np.ones(pattern.nnz, np.bool_), pattern.indices, pattern.indptr), pattern.shape)
    return apply(dep, matrix, shape)
