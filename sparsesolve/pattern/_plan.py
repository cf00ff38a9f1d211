"""What the walk needs of a jaxpr beyond its equations, computed once: liveness, constants, what can be folded.

Dead equations are left out, and each step names the variables that no later step reads, so that their index
maps are freed at once.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.core
import jax.extend.core as jex
import numpy as np

from sparsesolve.pattern._equation import inner_jaxpr, inner_jaxprs
from sparsesolve.pattern._fold import as_value, foldable
from sparsesolve.pattern._known import Known


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Step:
    """One live equation; `inputs` pairs each operand with what is known of it if it is a literal."""

    eqn: Any
    name: str
    inputs: tuple[tuple[Any, tuple[None, Known | None] | None], ...]
    dead: tuple[Any, ...]
    foldable: bool
    references: tuple[Any, ...]


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """The live steps of a jaxpr and their number, counting those of inner jaxprs too."""

    jaxpr: Any  # kept alive: plans are found by identity
    steps: tuple[Step, ...]
    weight: int

    @classmethod
    def of(cls, jaxpr: Any) -> Plan:
        needed = {v for v in jaxpr.outvars if not isinstance(v, jex.Literal)}
        steps, weight = [], 0
        for eqn in reversed(jaxpr.eqns):
            outs = [v for v in eqn.outvars if not isinstance(v, jex.DropVar)]
            if not eqn.effects and not any(v in needed for v in outs):
                continue
            ins = {v for v in eqn.invars if not isinstance(v, jex.Literal)}
            dead = (*(ins - needed), *(v for v in outs if v not in needed))
            needed |= ins
            references = tuple(v for v in ins if hasattr(v.aval, "inner_aval"))
            inputs = tuple((v, literal(v)) for v in eqn.invars)
            steps.append(Step(eqn, eqn.primitive.name, inputs, dead, foldable(eqn), references))
            weight += 1 + sum(Plan.of(inner_jaxpr(sub)[0]).weight for sub in inner_jaxprs(eqn))
        return cls(jaxpr, tuple(steps[::-1]), weight)


def literal(variable: Any) -> tuple[None, Known | None] | None:
    """What the environment would hold for a literal; `None` for a variable."""
    if not isinstance(variable, jex.Literal):
        return None
    if isinstance(variable.val, jax.Array | np.ndarray):
        return None, known_constant(variable.val)
    return None, Known.of(np.asarray(variable.val, getattr(variable.aval, "dtype", None)))


def known_constant(const: Any) -> Known | None:
    """A constant of a jaxpr: known if it is an array, unknown if it is a tracer of an outer transformation."""
    if isinstance(const, jax.core.Tracer):
        return None
    if isinstance(const, jax.Array):
        # Fetched only when asked for: it may live on a device, and most constants are never looked at.
        return Known.lazy(lambda _: [as_value(const)], [])[0] if const.is_fully_addressable else None
    if isinstance(const, np.ndarray | np.generic | int | float | complex | bool):
        return Known.of(np.asarray(const))
    return None
