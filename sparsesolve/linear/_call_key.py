"""Recognizes a user's function from call to call without tracing it. Host-side.

Identity of the function object alone is not enough: a closure cell may be rebound, an attribute set, a global
changed in a notebook, and the old answer would be silently wrong. So the key also holds what the function refers
to: defaults, closure cells, the globals it names, attributes of a method's object, through helper functions and
objects to a small depth, all compared by identity, and NumPy arrays, which can be written to, by what they hold as
well. A miss only costs a trace.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Hashable, Iterator
from typing import Any

import jax
import jax.tree_util as jtu
import numpy as np
from jax.core import Tracer

_DEPTH = 3
_OPAQUE = (types.ModuleType, types.BuiltinFunctionType, type, str, bytes, int, float, complex, np.ndarray, jax.Array)


class Same:
    """An object compared by identity, kept alive so that the identity stays its own."""

    def __init__(self, value: Any):
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value


class _Written(Same):
    """A NumPy array and what was written in it when it was seen."""

    def __init__(self, value: np.ndarray):
        super().__init__(value)
        self.content = (value.shape, value.dtype.str, hash(value.tobytes()))

    __hash__ = Same.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Written) and super().__eq__(other) and self.content == other.content


def call_key(fn: Any, setting: Hashable) -> Hashable | None:
    """The key of a call with the function `fn` under a hashable `setting`.

    `None` when the function cannot be recognized safely: it is not a plain function or method, or it refers to
    values of an enclosing transformation.
    """
    function = getattr(fn, "__func__", fn)
    if not isinstance(function, types.FunctionType):
        return None
    held = [value for value in _referred(fn, _DEPTH) if value is not function]
    if any(isinstance(value, Tracer) for value in held):
        return None
    try:
        key = (weakref.ref(function), tuple(_seen(value) for value in held), setting)
        hash(key)
    except TypeError:
        return None
    return key


def forget_with(fn: Any, forget: Any, key: Hashable) -> None:
    """Calls `forget(key)` once the function is gone."""
    weakref.finalize(getattr(fn, "__func__", fn), forget, key).atexit = False


def _seen(value: Any) -> Same:
    return _Written(value) if isinstance(value, np.ndarray) else Same(value)


def _referred(value: Any, depth: int) -> Iterator[Any]:
    """The objects that `value` refers to and whose change could change what it computes."""
    if isinstance(value, types.MethodType):
        yield value.__self__
        yield from _referred(value.__self__, depth)
        value = value.__func__
    if isinstance(value, types.FunctionType):
        children = list(_function_parts(value))
    elif isinstance(value, _OPAQUE) or not hasattr(value, "__dict__"):
        return
    else:
        children = list(vars(value).values())
    for child in children:
        for leaf in jtu.tree_leaves(child):
            yield leaf
            if depth > 0:
                yield from _referred(leaf, depth - 1)


def _function_parts(function: types.FunctionType) -> Iterator[Any]:
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            yield cell
    module = function.__globals__
    for name in sorted(_names(function.__code__)):
        # Library functions do not change; a user's own helpers and parameters may.
        if name in module and not isinstance(module[name], _OPAQUE[:3]):
            yield module[name]


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            names |= _names(const)
    return names
