"""Products with `jax.experimental.sparse` matrices, and other primitives that are best taken apart.

Products with matrices without batch dimensions have a rule of their own. The other operations are traced through
their implementation in ordinary JAX primitives, on abstract values, and walked, so that known indices and
known zeros count. Nothing is computed with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.experimental.sparse as jsparse
import numpy as np
from jax import lax

from sparsesolve.pattern._dependence import MAX_PRODUCT, Dependence, selection, shared_row
from sparsesolve.pattern._equation import Equation, rule
from sparsesolve.pattern._fallback import walk_implementation, walk_traced
from sparsesolve.pattern._operations import apply, union

_EXPANDED = """
bcoo_dot_general_sampled bcoo_extract bcoo_fromdense bcoo_sort_indices bcoo_spdot_general bcoo_sum_duplicates
bcoo_todense bcoo_transpose bcsr_extract bcsr_fromdense bcsr_todense coo_fromdense coo_matmat coo_matvec coo_todense
csr_fromdense csr_matmat csr_matvec csr_todense
"""


@rule(*_EXPANDED.split())
def sparse_operation(equation: Equation) -> Sequence[Dependence | None]:
    """The primitive's own implementation by gathers, products and scatters."""
    return walk_implementation(equation)


@rule("bcoo_dot_general")
def bcoo_dot_general(equation: Equation) -> Sequence[Dependence | None]:
    """out[i, r] = sum over stored e = (i, k) of data[e] rhs[k, r]."""
    info, numbers = equation.params["lhs_spinfo"], equation.params["dimension_numbers"]
    data, indices, _ = equation.in_shapes
    known = equation.value(1)
    if len(data) == 1 and len(indices) == 2 and known is not None and not numbers[1][0]:
        return _stored_product(equation, np.asarray(known, np.int64), info.shape, numbers[0], data=0, rhs=2)

    def dense(data: jax.Array, indices: jax.Array, rhs: jax.Array) -> jax.Array:
        return lax.dot_general(jsparse.BCOO((data, indices), shape=info.shape).todense(), rhs, numbers)

    return walk_traced(equation, dense)


@rule("bcsr_dot_general")
def bcsr_dot_general(equation: Equation) -> Sequence[Dependence | None]:
    """The same with rows compressed: `indptr[i] <= e < indptr[i + 1]`."""
    info, numbers = equation.params["lhs_spinfo"], equation.params["dimension_numbers"]
    columns, indptr = equation.value(1), equation.value(2)
    if len(equation.in_shapes[0]) == 1 and columns is not None and indptr is not None and not numbers[1][0]:
        rows = np.searchsorted(indptr, np.arange(columns.size), side="right") - 1
        stored = np.stack([rows, columns], axis=1).astype(np.int64)
        return _stored_product(equation, stored, info.shape, numbers[0], data=0, rhs=3)

    def dense(data: jax.Array, columns: jax.Array, indptr: jax.Array, rhs: jax.Array) -> jax.Array:
        return lax.dot_general(jsparse.BCSR((data, columns, indptr), shape=info.shape).todense(), rhs, numbers)

    return walk_traced(equation, dense)


def _stored_product(
    equation: Equation, stored: np.ndarray, shape: tuple[int, ...], contract: Any, data: int, rhs: int
) -> list[Dependence | None]:
    """A product with a matrix whose stored places are known; entries outside the shape are padding."""
    (out_shape,), rhs_shape = equation.out_shapes, equation.in_shapes[rhs]
    keep = (stored < np.asarray(shape)[None, :]).all(axis=1)
    nonzero = equation.nonzero(data)
    if nonzero is not None:
        keep &= nonzero
    entry = np.flatnonzero(keep)
    free = [axis for axis in range(len(shape)) if axis not in contract[0]]
    free_rhs = [axis for axis in range(len(rhs_shape)) if axis not in contract[1]]
    places = np.arange(math.prod(rhs_shape)).reshape(rhs_shape).transpose([*contract[1], *free_rhs])
    contracted = [rhs_shape[axis] for axis in contract[1]]
    places = places.reshape(math.prod(contracted), -1)
    width = places.shape[1]
    if entry.size * width > MAX_PRODUCT:
        return [shared_row(equation.deps, out_shape)]
    row = _ravel(stored[entry][:, free], [shape[axis] for axis in free])
    inner = _ravel(stored[entry][:, list(contract[0])], contracted)
    rows = (row[:, None] * width + np.arange(width)[None, :]).reshape(-1)
    size = math.prod(out_shape)
    from_rhs = selection(rows, places[inner].reshape(-1), (size, math.prod(rhs_shape)))
    from_data = selection(rows, np.repeat(entry, width), (size, stored.shape[0]))
    parts = [apply(equation.deps[rhs], from_rhs, out_shape), apply(equation.deps[data], from_data, out_shape)]
    return [union(parts, out_shape)]


def _ravel(index: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    out = np.zeros(index.shape[0], np.int64)
    for axis, size in enumerate(sizes):
        out = out * size + index[:, axis]
    return out
