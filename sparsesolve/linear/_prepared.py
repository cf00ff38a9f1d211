"""Prepared Jacobians of traced functions, kept by content, so that tracing again costs a trace and no detection."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from sparsesolve._cache import BoundedCache
from sparsesolve.jacobian import SparseJacobian, jacobian
from sparsesolve.linear._pure import PureFunction
from sparsesolve.pattern import SparsityPattern

jacobian_cache = BoundedCache("jacobians", maxsize=64)


def prepared_jacobian(
    pure: PureFunction,
    x: Any,
    data: Any,
    captured: Any,
    sparsity: SparsityPattern | None = None,
    square: bool = False,
) -> SparseJacobian:
    """The `SparseJacobian` of `pure(x, data, captured)` with respect to `x`.

    Unless `square` asks for it, the diagonal is not added to the pattern: where it is structurally zero (saddle
    points), a factorization has to know. A detected pattern needs shapes alone; one that was given is compared with
    the function along random directions, where there are values to do it with.
    """
    values = (x, tuple(data), tuple(captured))
    structs = jtu.tree_map(_shape_of, values)
    described = tuple((s.shape, str(s.dtype), bool(s.weak_type)) for s in jtu.tree_leaves(structs))
    key = (pure, described, jtu.tree_structure(structs), sparsity, square, jnp.result_type(float))
    examples = structs if sparsity is None else values
    return jacobian_cache.get(key, lambda: jacobian(pure, *examples, sparsity=sparsity, square=square))


def _shape_of(leaf: Any) -> jax.ShapeDtypeStruct:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf), weak_type=getattr(leaf, "weak_type", False))
