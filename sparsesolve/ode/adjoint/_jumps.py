"""Steps after a jump of a system with a mass matrix: they start from the corrected state (`_after_jump.py`).

What a step leads to is linearized in two: the correction, by the implicit function theorem, and the step from there.
Records tell which steps begin so; what they hold of states, and histories, is what was before the correction.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import equinox.internal as eqxi
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from sparsesolve.ode.adjoint._parameters import Parameters
from sparsesolve.ode.stepping._after_jump import after_jump
from sparsesolve.ode.system._system import StiffSystem


def recorded(steps: Any, system: StiffSystem, before: Any, after: Any) -> Any:
    """The record of a step, states of diffrax's loop given."""
    if not steps.corrects(system):
        return steps.record(system, before, after)
    jumped, structure = jnp.asarray(before.made_jump), system.structure
    if may_jump(after):
        x = after_jump(system, before.tprev, structure.ravel(before.y), jumped)
        before = eqx.tree_at(lambda s: s.y, before, structure.unravel(x))
    return dataclasses.replace(steps.record(system, before, after), jumped=jumped)


def may_jump(after: Any) -> bool:
    """Whether the controller ever tells of jumps, by what diffrax's loop leaves after a step."""
    return after.made_jump is not False


def without_jumps(records: Any) -> Any:
    """Records of a controller that tells of none."""
    return dataclasses.replace(records, jumped=None)


def corrected(system: StiffSystem, record: Any, x: Array) -> Array:
    """The state that a step starts from."""
    return x if record.jumped is None else after_jump(system, record.start, x, record.jumped)


def corrected_tangent(p: Parameters, record: Any, x: Array, carry: Array, moved: list[Array]) -> tuple[Array, Array]:
    """The state `x` and what a sweep carries, after the correction."""
    if record.jumped is None:
        return x, carry
    x, tangent = p.value_and_tangent(lambda system, z: corrected(system, record, z), (x,), (carry[0],), moved)
    return x, carry.at[0].set(tangent)


def corrected_cotangent(p: Parameters, record: Any, x: Array, carry: Array, sums: Any) -> tuple[Array, Any]:
    """The same backwards: before the correction, with the cotangents of the parameters added to `sums`."""
    if record.jumped is None:
        return carry, sums

    def once(loop: Any) -> Any:
        _, carry, sums = loop
        here = jnp.where(record.jumped, carry[0], 0.0)
        moved, sums = p.cotangents(lambda system, z: corrected(system, record, z), x, here, sums)
        return jnp.zeros_like(record.jumped), carry.at[0].set(jnp.where(record.jumped, moved, carry[0])), sums

    # A loop of one turn or none: unlike a condition it hands the sums through without copying them.
    _, carry, sums = lax.while_loop(lambda loop: eqxi.unvmap_any(loop[0]), once, (record.jumped, carry, sums))
    return carry, sums
