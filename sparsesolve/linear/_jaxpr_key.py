"""A hashable key that says when two traced functions compute the same thing. Host-side.

Tracing the same Python function twice gives two different `Jaxpr` objects, so identity cannot tell that a plan
made for the first serves the second. The key walks the equations, numbers the variables in order of appearance
and keeps primitives, parameters and constants by value. Equal keys mean equal computations; what cannot be
compared by value (a callable parameter of `custom_jvp`) is compared by identity, which can only cause a miss.
Cost: linear in the number of equations and in the bytes of the constants.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


class _ByIdentity:
    """Holds an unhashable object so that its `id` stays taken as long as the key lives."""

    def __init__(self, value: Any):
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and self.value is other.value


def jaxpr_key(jaxpr: Any) -> Hashable:
    """The key of an open jaxpr."""
    numbers: dict[Any, int] = {}

    def atom(v: Any) -> Hashable:
        if isinstance(v, jex.Literal):
            return ("literal", str(v.aval), value_key(v.val))
        return numbers.setdefault(v, len(numbers))

    def binder(v: Any) -> Hashable:
        return (numbers.setdefault(v, len(numbers)), str(v.aval))

    head = tuple(binder(v) for v in (*jaxpr.constvars, *jaxpr.invars))
    body = tuple(
        (
            eqn.primitive,
            tuple(atom(v) for v in eqn.invars),
            tuple((name, value_key(value)) for name, value in sorted(eqn.params.items())),
            tuple(binder(v) for v in eqn.outvars),
        )
        for eqn in jaxpr.eqns
    )
    return (head, body, tuple(atom(v) for v in jaxpr.outvars))


def value_key(value: Any) -> Hashable:
    """The key of a constant or an equation parameter."""
    if isinstance(value, jex.ClosedJaxpr):
        return ("closed", jaxpr_key(value.jaxpr), values_key(value.consts))
    if isinstance(value, jex.Jaxpr):
        return ("jaxpr", jaxpr_key(value))
    if isinstance(value, Tracer):
        return _ByIdentity(value)
    if isinstance(value, np.ndarray | np.generic | jax.Array) or type(value).__name__ == "TypedNdArray":
        return _array_key(value)
    if isinstance(value, tuple | list):
        return (type(value), values_key(value))
    if isinstance(value, dict):
        return ("dict", tuple(sorted(((repr(k), value_key(v)) for k, v in value.items()), key=lambda kv: kv[0])))
    try:
        hash(value)
    except TypeError:
        return _ByIdentity(value)
    return (type(value), value)


def values_key(values: Sequence[Any]) -> tuple[Hashable, ...]:
    """The keys of several values."""
    return tuple(value_key(value) for value in values)


def _array_key(value: Any) -> Hashable:
    if jnp.issubdtype(value.dtype, jax.dtypes.extended):
        return _ByIdentity(value)
    array = np.asarray(value)
    # A view of the bytes where possible: constants may be large.
    content: Any = array.reshape(-1).view(np.uint8) if array.flags.c_contiguous and array.size else array.tobytes()
    digest = hashlib.blake2b(content, digest_size=16).digest()
    return ("array", array.shape, str(array.dtype), bool(getattr(value, "weak_type", False)), digest)
