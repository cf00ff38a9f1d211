"""Which equations of a program are linear in the unknowns, and which merely move elements. Plan side.

An equation is *linear* when its outputs are a linear function of the operands that depend on the unknowns, plus
something that does not, for all values of the parameters: `u - v`, `nu * u`, `u / h`, `K @ u`, `zeros.at[tri].add(e)`.
It is an *index map* when moreover every output element is one element of one dependent operand, or does not depend on
the unknowns at all: `u[1:]`, `jnp.roll(u, 1)`, `u[triangles]`, `jnp.pad(u, 1)`. Indices must be known to the plan,
since the pattern of the pieces rests on them; weights may be parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

_MOVES = frozenset(
    "reshape squeeze expand_dims transpose rev slice broadcast_in_dim copy concatenate pad stack unstack split "
    "sharding_constraint".split()
)
_LINEAR = _MOVES | frozenset("neg reduce_sum add sub add_any cumsum".split())
_BILINEAR = frozenset({"mul", "dot_general", "conv_general_dilated"})
# Primitive: operands that hold indices or a predicate.
_INDEXED = {
    "gather": slice(1, 2),
    "dynamic_slice": slice(1, None),
    "dynamic_update_slice": slice(2, None),
    "scatter": slice(1, 2),
    "scatter-add": slice(1, 2),
    "select_n": slice(0, 1),
}


def is_linear(eqn: JaxprEqn, depends: Callable[[Any], bool], known: Callable[[Any], bool]) -> bool:
    """Whether `eqn` is linear in its operands that depend on the unknowns."""
    flags = [depends(v) for v in eqn.invars]
    if not _inexact([v for v, flag in zip(eqn.invars, flags, strict=True) if flag] + list(eqn.outvars)):
        return False
    name = eqn.primitive.name
    if name in _LINEAR:
        return True
    if name in _BILINEAR:
        return sum(flags) == 1
    if name == "div":
        return not flags[1]
    if name == "convert_element_type":
        return _same_field(eqn)
    if name in _INDEXED:
        at = _INDEXED[name]
        # A predicate only switches weights between 0 and 1; an index decides where entries are.
        return not any(flags[at]) and (name == "select_n" or all(known(v) for v in eqn.invars[at]))
    return False


def is_index_map(eqn: JaxprEqn, depends: Callable[[Any], bool], known: Callable[[Any], bool]) -> bool:
    """Whether every element that `eqn` writes is an element it read, at a place known to the plan."""
    if not is_linear(eqn, depends, known):
        return False
    name = eqn.primitive.name
    if name in _MOVES or name == "convert_element_type":
        return True
    return name in _INDEXED and name != "scatter-add" and all(known(v) for v in eqn.invars[_INDEXED[name]])


def _inexact(atoms: Sequence[Any]) -> bool:
    return all(np.issubdtype(_dtype(v), np.inexact) or _dtype(v).name == "bfloat16" for v in atoms)


def _dtype(atom: Any) -> np.dtype:
    return np.dtype(getattr(atom.aval, "dtype", np.bool_))


def _same_field(eqn: JaxprEqn) -> bool:
    """Real to real or complex to complex; dropping an imaginary part is not complex-linear."""
    return (_dtype(eqn.invars[0]).kind == "c") == (_dtype(eqn.outvars[0]).kind == "c")
