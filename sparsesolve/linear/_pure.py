"""`PureFunction`: a user function traced once, with everything it captured turned into an argument or a constant.

A residual may close over values of an outer `jit`, `vmap` or `grad`. Those must become arguments before a plan is
made from it, so that the plan holds no tracer and gradients reach them. Concrete captured arrays stay constants:
their values are known to the sparsity detection (a mesh's connectivity, say).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import equinox as eqx
import jax
import jax.tree_util as jtu
from jax.core import Tracer, eval_jaxpr

from sparsesolve._tree import fix_indices, partition
from sparsesolve.linear._identities import without_identities
from sparsesolve.linear._jaxpr_key import jaxpr_key, value_key


class PureFunction:
    """`f(y, data, captured) -> pytree`, replayed from a jaxpr. Immutable; compares by content.

    Attributes:
        key: hashable description of the computation (see `jaxpr_key`), shapes and dtypes included.
        out: pytree of `jax.ShapeDtypeStruct` that the function returns.
        has_captured: whether an outer transformation's values were captured.
    """

    def __init__(self, closed: Any, out: Any, captured: tuple[bool, ...]):
        self._jaxpr = without_identities(closed.jaxpr)
        self._consts = tuple(
            None if flag else const for const, flag in zip(closed.consts, captured, strict=True)
        )  # None: handed over at call time
        self._captured = captured
        self.out = out
        self.has_captured = any(captured)
        self._out_tree = jtu.tree_structure(out)
        consts_key = tuple(None if flag else value_key(c) for c, flag in zip(self._consts, captured, strict=True))
        self.key: Hashable = (jaxpr_key(self._jaxpr), consts_key, self._out_tree)
        self._hash = hash(self.key)

    def closed(self, captured: Any) -> tuple[Any, list[Any]]:
        """The open jaxpr on the leaves of `(y, data)`, and the values of its constants."""
        values = iter(captured)
        return self._jaxpr, [next(values) if flag else c for c, flag in zip(self._consts, self._captured, strict=True)]

    def __call__(self, y: Any, data: Any, captured: Any) -> Any:
        flat = eval_jaxpr(*self.closed(captured), *jtu.tree_leaves((y, data)))
        return jtu.tree_unflatten(self._out_tree, flat)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, PureFunction) and self.key == other.key)


def purify(
    fn: Callable[[Any, Any], Any], y: Any, args: Any
) -> tuple[PureFunction, tuple[jax.Array, ...], tuple[Any, ...]]:
    """Traces `fn(y, args)` once.

    Returns `(pure, data, captured)` such that `pure(y, data, captured)` is `fn(y, args)`: `data` are the array
    leaves of `args`, `captured` the outer tracers that `fn` closed over.
    """
    data, static = partition(args)

    def flat(y_: Any, data_: Any) -> Any:
        return fn(y_, static.combine(data_))

    closed, out = jax.make_jaxpr(flat, return_shape=True)(y, tuple(data))
    captured = tuple(isinstance(const, Tracer) for const in closed.consts)
    values = tuple(const for const, flag in zip(closed.consts, captured, strict=True) if flag)
    return PureFunction(closed, out, captured), tuple(data), values


def purify_module(call: Callable[[Any, Any], Any], module: Any, x: Any) -> tuple[PureFunction, tuple, tuple]:
    """Traces `call(x, module)` where the arrays of an equinox module are the data, its other leaves static."""
    arrays, static = eqx.partition(module, eqx.is_array)
    leaves, treedef = jtu.tree_flatten(arrays)

    def fn(x_: Any, leaves_: Any) -> Any:
        return call(x_, eqx.combine(jtu.tree_unflatten(treedef, list(leaves_)), static))

    return purify(fn, x, fix_indices(leaves))
