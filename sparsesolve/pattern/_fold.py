"""Folding of equations whose inputs are all known.

Cheap and common primitives are evaluated by NumPy (an XLA compilation costs milliseconds), the others by
binding the primitive on concrete arrays on the CPU, outside every trace that may be active.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsesolve.pattern._known import Known

# Values that depend on where the program runs, not on constants alone: never known.
_NOT_CONSTANT = {
    "axis_index",
    "custom_lin",
    "debug_callback",
    "ffi_call",
    "io_callback",
    "pallas_call",
    "platform_index",
    "program_id",
    "pure_callback",
    "rng_bit_generator",
    "rng_uniform",
}


def foldable(eqn: Any) -> bool:
    """Whether the outputs of an equation are constants when its inputs are.

    Not with effects or mutable references, nor with random keys of other generators than threefry (their numbers
    differ between devices).
    """
    if eqn.primitive.name in _NOT_CONSTANT or eqn.effects:
        return False
    avals = [v.aval for v in (*eqn.invars, *eqn.outvars)]
    if any(hasattr(aval, "inner_aval") for aval in avals):
        return False
    dtypes = [str(getattr(aval, "dtype", "")) for aval in avals]
    return all(dtype == "key<fry>" or not dtype.startswith("key<") for dtype in dtypes)


def fold(eqn: Any, knowns: Sequence[Known]) -> list[Known]:
    """The outputs of a foldable equation on known inputs, evaluated on request."""
    return Known.lazy(functools.partial(evaluate, eqn), knowns, len(eqn.outvars))


def evaluate(eqn: Any, values: list[Any]) -> list[Any]:
    """The values of an equation's outputs from those of its inputs (NumPy arrays, or JAX arrays of random keys)."""
    function = _NUMPY.get(eqn.primitive.name)
    if function is not None and all(isinstance(value, np.ndarray) for value in values):
        aval = eqn.outvars[0].aval
        with np.errstate(all="ignore"):
            out = np.asarray(function(*values, **eqn.params))
        if out.shape == tuple(aval.shape) and out.dtype == aval.dtype:
            return [out]
    return _bind(eqn, values)


def _portable(eqn: Any) -> bool:
    """No mutable references; random keys only of threefry (other generators differ between devices)."""
    avals = [v.aval for v in (*eqn.invars, *eqn.outvars)]
    if any(hasattr(aval, "inner_aval") for aval in avals):
        return False
    dtypes = [str(getattr(aval, "dtype", "")) for aval in avals]
    return all(dtype in ("key<fry>", "") or not dtype.startswith("key<") for dtype in dtypes)


def _bind(eqn: Any, values: list[Any]) -> list[Any]:
    with jax.ensure_compile_time_eval(), _host():
        params = eqn.primitive.get_bind_params(eqn.params)
        functions, params = params if isinstance(params, tuple) else ((), params)
        out = eqn.primitive.bind(*functions, *map(jnp.asarray, values), **params)
        return [as_value(x) for x in (out if eqn.primitive.multiple_results else [out])]


def _host() -> Any:
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:
        return contextlib.nullcontext()


def as_value(array: Any) -> Any:
    """A NumPy array; arrays of random keys stay as they are."""
    return array if jnp.issubdtype(array.dtype, jax.dtypes.extended) else np.asarray(array)


def _iota(*, dtype: Any, shape: tuple[int, ...], dimension: int, **_: Any) -> np.ndarray:
    column = np.arange(shape[dimension]).astype(dtype).reshape([-1] + [1] * (len(shape) - dimension - 1))
    return np.broadcast_to(column, shape)


def broadcast_in_dim(x: Any, *, shape: tuple[int, ...], broadcast_dimensions: Sequence[int], **_: Any) -> np.ndarray:
    """A view of `x` with its axes at `broadcast_dimensions` of `shape`."""
    sizes = [1] * len(shape)
    for axis, size in zip(broadcast_dimensions, np.shape(x), strict=True):
        sizes[axis] = size
    return np.broadcast_to(np.reshape(x, sizes), shape)


def reshape(x: Any, *, new_sizes: tuple[int, ...], dimensions: tuple[int, ...] | None = None, **_: Any) -> np.ndarray:
    """`lax.reshape`, which may transpose by `dimensions` first."""
    return np.reshape(x if dimensions is None else np.transpose(x, dimensions), new_sizes)


def strided(start_indices: Any, limit_indices: Any, strides: Any) -> tuple[slice, ...]:
    """The index expression of `lax.slice`."""
    strides = strides or (1,) * len(start_indices)
    return tuple(slice(*triple) for triple in zip(start_indices, limit_indices, strides, strict=True))


def _select_n(which: Any, *cases: Any, **_: Any) -> Any:
    if len(cases) == 2:
        return np.where(which, cases[1], cases[0])
    return np.choose(np.asarray(which).astype(np.intp), cases)


# Only exactly rounded operations: their values agree with XLA's to the last bit.
_NUMPY: dict[str, Callable[..., Any]] = {
    "abs": lambda x, **_: np.abs(x),
    "add": lambda x, y, **_: np.add(x, y),
    "and": lambda x, y, **_: np.bitwise_and(x, y),
    "broadcast_in_dim": broadcast_in_dim,
    "clamp": lambda low, x, high, **_: np.minimum(np.maximum(x, low), high),
    "concatenate": lambda *xs, dimension, **_: np.concatenate(xs, dimension),
    "convert_element_type": lambda x, *, new_dtype, **_: np.asarray(x).astype(new_dtype),
    "eq": lambda x, y, **_: np.equal(x, y),
    "expand_dims": lambda x, *, dimensions, **_: np.expand_dims(x, dimensions),
    "floor": lambda x, **_: np.floor(x),
    "ge": lambda x, y, **_: np.greater_equal(x, y),
    "gt": lambda x, y, **_: np.greater(x, y),
    "iota": _iota,
    "le": lambda x, y, **_: np.less_equal(x, y),
    "lt": lambda x, y, **_: np.less(x, y),
    "max": lambda x, y, **_: np.maximum(x, y),
    "min": lambda x, y, **_: np.minimum(x, y),
    "mul": lambda x, y, **_: np.multiply(x, y),
    "ne": lambda x, y, **_: np.not_equal(x, y),
    "neg": lambda x, **_: np.negative(x),
    "not": lambda x, **_: np.invert(x),
    "or": lambda x, y, **_: np.bitwise_or(x, y),
    "pcast": lambda x, **_: x,
    "pvary": lambda x, **_: x,
    "reduce_and": lambda x, *, axes, **_: np.all(x, tuple(axes)),
    "reduce_or": lambda x, *, axes, **_: np.any(x, tuple(axes)),
    "reshape": reshape,
    "reshard": lambda x, **_: x,
    "rev": lambda x, *, dimensions, **_: np.flip(x, dimensions),
    "select_n": _select_n,
    "sharding_constraint": lambda x, **_: x,
    "slice": lambda x, *, start_indices, limit_indices, strides, **_: x[strided(start_indices, limit_indices, strides)],
    "square": lambda x, **_: np.square(x),
    "squeeze": lambda x, *, dimensions, **_: np.squeeze(x, tuple(dimensions)),
    "stack": lambda *xs, axis, **_: np.stack(xs, axis),
    "stop_gradient": lambda x, **_: x,
    "sub": lambda x, y, **_: np.subtract(x, y),
    "transpose": lambda x, *, permutation, **_: np.transpose(x, permutation),
}
