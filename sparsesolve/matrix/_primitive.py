"""`sparse_product`: one primitive for all products, lowered to a compiled kernel on the CPU and to plain JAX elsewhere.

    y = A v,     bilinear in the values of A and in v

Operands: `v (members, n, columns)`, the values with a leading axis of length 1 or `members`, the index tables. `vmap`
over vectors alone adds columns, over values too adds members, so that a call stays one call. The transpose in `v` is
the product with the transposed layout, the transpose in the values is that of the plain JAX form. Programs lowered for
other devices than the CPU hold no foreign call. Sparsity detection and Jacobians look inside (`product_jaxpr`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import ClosedJaxpr, Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Inexact

from sparsesolve.matrix import _native_product
from sparsesolve.matrix._base import AbstractLayout
from sparsesolve.pattern._dependence import Dependence
from sparsesolve.pattern._equation import Equation, rule

product_p = Primitive("sparse_product")


def fast_product(
    layout: AbstractLayout, tables: Sequence[Any], values: Sequence[Array], v: Inexact[Array, "n ..."]
) -> Inexact[Array, "m ..."] | None:
    """`A v` through the primitive, or `None` where plain JAX is all there is.

    Args:
        layout: how the values lie.
        tables: its index tables.
        values: the leaves of the arranged values.
        v: a vector or a block of columns.
    """
    dtype = jnp.result_type(v, *values)
    if dtype not in _native_product.DTYPES or v.ndim > 2 or math.prod(v.shape) == 0 or not layout.has_kernel():
        return None
    if any(getattr(jax.typeof(x), "vma", None) for x in (v, *values)):
        return None  # inside shard_map, which has rules of its own for what varies over devices
    block = v.astype(dtype).reshape(1, v.shape[0], -1)
    out = _bind(layout, [block, *(x.astype(dtype)[None] for x in values)], tables)
    return out.reshape(out.shape[1], *v.shape[1:])


def _bind(layout: AbstractLayout, numbers: Sequence[Array], tables: Sequence[Any]) -> Array:
    return product_p.bind(*numbers, *tables, layout=layout, count=len(numbers))


def _plain(*operands: Any, layout: AbstractLayout, count: int) -> Array:
    """The product in plain JAX, member by member."""
    tables = operands[count:]

    def one(v: Array, *values: Array) -> Array:
        v = v[:, 0] if (single := v.shape[1] == 1) else v
        y = layout.multiply(tables, layout.nested(values), v)
        return y[:, None] if single else y

    numbers = operands[:count]
    axes = [None if x.shape[0] == 1 else 0 for x in numbers]
    if all(axis is None for axis in axes):
        return one(*(x[0] for x in numbers))[None]
    shared = [x[0] if axis is None else x for x, axis in zip(numbers, axes, strict=True)]
    return jax.vmap(one, axes)(*shared)


def _native(*operands: Any, layout: AbstractLayout, count: int) -> Array:
    return layout.kernel(operands[count:], operands[1:count], operands[0])


@functools.lru_cache(maxsize=256)
def _jaxpr(layout: AbstractLayout, count: int, avals: tuple[Any, ...]) -> ClosedJaxpr:
    return jax.make_jaxpr(functools.partial(_plain, layout=layout, count=count))(*avals)


def product_jaxpr(eqn: Any) -> ClosedJaxpr:
    """What a `sparse_product` equation computes, in plain JAX; the same inputs and outputs."""
    avals = tuple(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars)
    return _jaxpr(eqn.params["layout"], eqn.params["count"], avals)


@rule(product_p.name, transparent=True)
def _sparsity(equation: Equation) -> list[Dependence | None]:
    out, equation.out_knowns = equation.walk.run(product_jaxpr(equation.eqn), equation.deps, equation.knowns)
    return out


@functools.partial(jax.jit, static_argnames=("layout", "count"))
def _run(*operands: Any, layout: AbstractLayout, count: int) -> Array:
    return product_p.bind(*operands, layout=layout, count=count)


def _abstract(*avals: Any, layout: AbstractLayout, count: int) -> ShapedArray:
    members = max(aval.shape[0] for aval in avals[:count])
    return ShapedArray((members, layout.shape[0], avals[0].shape[2]), avals[0].dtype)


def _jvp(primals: Any, tangents: Any, *, layout: AbstractLayout, count: int) -> tuple[Any, Any]:
    numbers, tables = primals[:count], primals[count:]
    out = _bind(layout, numbers, tables)
    moved_v, *moved = tangents[:count]
    terms = [] if isinstance(moved_v, ad.Zero) else [_bind(layout, [moved_v, *numbers[1:]], tables)]
    if not all(isinstance(t, ad.Zero) for t in moved):
        terms.append(_bind(layout, [numbers[0], *map(ad.instantiate_zeros, moved)], tables))
    return out, functools.reduce(jnp.add, terms) if terms else ad.Zero(jax.typeof(out))


def _transpose(ct: Any, *operands: Any, layout: AbstractLayout, count: int) -> list[Any]:
    numbers, tables = operands[:count], operands[count:]
    nothing = [None] * len(tables)
    if isinstance(ct, ad.Zero):
        return [ad.Zero(x.aval) if ad.is_undefined_primal(x) else None for x in numbers] + nothing
    if ad.is_undefined_primal(numbers[0]):
        transposed = layout.transposed()
        if transposed is None:
            like = jax.ShapeDtypeStruct(numbers[0].aval.shape, ct.dtype)
            plain = functools.partial(_plain, layout=layout, count=count)
            (ct_v,) = jax.linear_transpose(lambda v: plain(v, *numbers[1:], *tables), like)(ct)
            return [ct_v] + [None] * (count - 1) + nothing
        ct_v = _bind(transposed, [ct, *numbers[1:]], tables)
        if numbers[0].aval.shape[0] == 1:
            ct_v = jnp.sum(ct_v, axis=0, keepdims=True)
        return [ct_v] + [None] * (count - 1) + nothing

    unknown = [i for i, x in enumerate(numbers) if ad.is_undefined_primal(x)]

    def product(*values: Array) -> Array:
        full = [numbers[0], *(jnp.zeros_like(x) if i not in unknown else None for i, x in enumerate(numbers) if i)]
        for i, value in zip(unknown, values, strict=True):
            full[i] = value
        return _plain(*full, *tables, layout=layout, count=count)

    values = [jax.ShapeDtypeStruct(numbers[i].aval.shape, numbers[i].aval.dtype) for i in unknown]
    cotangents = dict(zip(unknown, jax.linear_transpose(product, *values)(ct), strict=True))
    return [*(cotangents.get(i) for i in range(count)), *nothing]


def _batch(operands: Any, axes: Any, *, layout: AbstractLayout, count: int) -> tuple[Array, int | None]:
    numbers = operands[:count]
    # A `cond` with a batched predicate batches all it uses; tables are of the plan, so that all members are equal.
    tables = [
        x if axis is None else jnp.take(x, 0, axis) for x, axis in zip(operands[count:], axes[count:], strict=True)
    ]
    if all(axis is None for axis in axes[:count]):
        return _bind(layout, numbers, tables), None
    if all(axis is None for axis in axes[1:count]):  # more columns
        v = jnp.moveaxis(numbers[0], axes[0], 3)
        out = _bind(layout, [v.reshape(*v.shape[:2], -1), *numbers[1:]], tables)
        return out.reshape(*out.shape[:2], *v.shape[2:]), 3
    pairs = list(zip(numbers, axes[:count], strict=True))
    size = next(x.shape[axis] for x, axis in pairs if axis is not None)
    moved = [x[None] if axis is None else jnp.moveaxis(x, axis, 0) for x, axis in pairs]
    members = max(x.shape[1] for x in moved)
    out = _bind(layout, [_merge(x, size, members) for x in moved], tables)
    return out.reshape(size, members, *out.shape[1:]), 0


def _merge(x: Array, size: int, members: int) -> Array:
    """Two leading axes, each of full length or 1, as one."""
    if x.shape[:2] == (1, 1):
        return x[0]
    return jnp.broadcast_to(x, (size, members, *x.shape[2:])).reshape(size * members, *x.shape[2:])


product_p.def_impl(_run)
product_p.def_abstract_eval(_abstract)
ad.primitive_jvps[product_p] = _jvp
ad.primitive_transposes[product_p] = _transpose
batching.primitive_batchers[product_p] = _batch
mlir.register_lowering(product_p, mlir.lower_fun(_plain, multiple_results=False))
mlir.register_lowering(product_p, mlir.lower_fun(_native, multiple_results=False), platform="cpu")
