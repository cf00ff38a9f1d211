"""The walk over a jaxpr: dependence and known values of every variable, equation by equation.

Every equation with a dependent input goes to the rule of its primitive, every equation with known inputs only is
folded lazily, and each variable is dropped after its last use. A primitive without a rule, or a rule that fails,
makes every output dense in every dependent input: a superset, so no entry is ever missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import numpy as np

from sparsesolve.pattern._dependence import Dependence, shared_row
from sparsesolve.pattern._equation import RULES, TRANSPARENT, Equation, Knowledge, Walk, inner_jaxpr
from sparsesolve.pattern._fold import as_value, fold
from sparsesolve.pattern._known import Columns, Known
from sparsesolve.pattern._warnings import Notes
from sparsesolve.pattern._zeros import masks

# Loops unroll while the equations walked stay below this; beyond, they go to a closed form (a superset).
MAX_EQUATIONS = 100_000


class Analysis:
    """One detection: the number of columns, notes for the warning, and a budget for unrolling."""

    def __init__(self, num_columns: int, notes: Notes | None = None):
        self.num_columns = num_columns
        self.notes = Notes() if notes is None else notes
        self.budget = MAX_EQUATIONS
        self._last_use: dict[int, tuple[Any, list[list[Any]], int]] = {}

    def child(self, num_columns: int) -> Walk:
        """An analysis with other columns that shares notes and the remaining budget."""
        child = Analysis(num_columns, self.notes)
        child.budget = self.budget
        return child

    def note_dense(self, equation: Equation, reason: str) -> None:
        self.notes.add(equation.eqn, reason)

    def may_unroll(self, jaxpr: Any, length: int) -> bool:
        """Whether a loop body may be walked `length` times; if so, takes it off the budget."""
        cost = length * (1 + self._plan(inner_jaxpr(jaxpr)[0])[1])
        if cost > self.budget:
            return False
        self.budget -= cost
        return True

    def run(
        self, jaxpr: Any, deps: Sequence[Dependence | None], knowns: Sequence[Knowledge]
    ) -> tuple[list[Dependence | None], list[Knowledge]]:
        """Dependence and known values of the outputs of a jaxpr (open or closed) from those of its inputs."""
        jaxpr, consts = inner_jaxpr(jaxpr)
        env: dict[Any, tuple[Dependence | None, Knowledge]] = {}
        for variable, const in zip(jaxpr.constvars, consts, strict=False):
            env[variable] = (None, known_constant(const))
        for variable, dep, known in zip(jaxpr.invars, deps, knowns, strict=True):
            env[variable] = (dep, known if dep is None else None)
        dead, _ = self._plan(jaxpr)
        for eqn, unused in zip(jaxpr.eqns, dead, strict=True):
            if unused is None:
                continue
            inputs = [_read(env, v) for v in eqn.invars]
            outs = self._equation(eqn, [dep for dep, _ in inputs], [known for _, known in inputs])
            env.update(zip(eqn.outvars, outs, strict=True))
            _update_references(env, eqn, inputs, outs)
            for variable in unused:
                env.pop(variable, None)
        results = [_read(env, v) for v in jaxpr.outvars]
        return [dep for dep, _ in results], [known for _, known in results]

    def _equation(
        self, eqn: Any, deps: list[Dependence | None], knowns: list[Knowledge]
    ) -> list[tuple[Dependence | None, Knowledge]]:
        name, nothing = eqn.primitive.name, [None] * len(eqn.outvars)
        equation = Equation(self, eqn, deps, knowns)
        if any(map(_is_reference, eqn.invars)) and name not in _REFERENCE_ACCESS:
            return [(dep, None) for dep in dense_rule(equation)]
        if all(dep is None for dep in deps):
            if name in TRANSPARENT and not all(known is None for known in knowns):
                self._rule(equation, RULES[name])
                out = equation.out_knowns or nothing
            elif all(isinstance(known, Known) for known in knowns):
                out = fold(eqn, [known for known in knowns if isinstance(known, Known)])
            else:
                out = _index_columns(equation) or masks(equation)
            return [(None, known) for known in out]
        function = RULES.get(name)
        if function is None:
            self.note_dense(equation, "has no sparsity rule")
            function = dense_rule
        out_deps = self._rule(equation, function)
        out_knowns = equation.out_knowns or nothing
        return [(d, k if d is None else None) for d, k in zip(out_deps, out_knowns, strict=True)]

    def _rule(self, equation: Equation, function: Callable[[Equation], Sequence[Dependence | None]]) -> Any:
        try:
            return function(equation)
        except Exception as error:
            self.note_dense(equation, f"could not be analysed ({_first_line(error)})")
            equation.out_knowns = None
            return dense_rule(equation)

    def _plan(self, jaxpr: Any) -> tuple[list[Any], int]:
        """Per equation the variables that are dead after it, or `None` if nothing needs it; and its weight."""
        cached = self._last_use.get(id(jaxpr))
        if cached is None:
            dead, weight = _liveness(jaxpr)
            cached = self._last_use[id(jaxpr)] = (jaxpr, dead, weight)
        return cached[1], cached[2]


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:100]}" if text else type(error).__name__


def dense_rule(equation: Equation) -> list[Dependence | None]:
    """Every output element depends on everything any input depends on."""
    return [shared_row(equation.deps, shape) for shape in equation.out_shapes]


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


def _read(env: dict[Any, Any], variable: Any) -> tuple[Dependence | None, Knowledge]:
    if isinstance(variable, jex.Literal):
        if isinstance(variable.val, jax.Array | np.ndarray):
            return None, known_constant(variable.val)
        return None, Known.of(np.asarray(variable.val, getattr(variable.aval, "dtype", None)))
    return env.get(variable, (None, None))


def _index_columns(equation: Equation) -> list[Knowledge]:
    """A concatenation of integers along the last axis with some known operands (see `Columns`)."""
    (variable,) = equation.eqn.outvars[:1]
    if equation.name != "concatenate" or np.dtype(variable.aval.dtype).kind not in "iu":
        return []
    if equation.params["dimension"] != len(equation.out_shapes[0]) - 1:
        return []
    known = [known if isinstance(known, Known) else None for known in equation.knowns]
    return [Columns([(shape[-1], part) for shape, part in zip(equation.in_shapes, known, strict=True)])]


_REFERENCE_ACCESS = {"addupdate", "freeze", "get", "swap"}


def _is_reference(variable: Any) -> bool:
    return hasattr(variable.aval, "inner_aval")


def _update_references(env: dict[Any, Any], eqn: Any, inputs: list[Any], outs: list[Any]) -> None:
    """An equation that takes mutable references may write any of its inputs into any of them."""
    references = [v for v in eqn.invars if not isinstance(v, jex.Literal) and _is_reference(v)]
    if references:
        for variable in references:
            row = shared_row([dep for dep, _ in (*inputs, *outs)], tuple(variable.aval.shape))
            env[variable] = (row, None)


def _liveness(jaxpr: Any) -> tuple[list[list[Any] | None], int]:
    needed = {v for v in jaxpr.outvars if not isinstance(v, jex.Literal)}
    dead: list[list[Any] | None] = []
    weight = 0
    for eqn in reversed(jaxpr.eqns):
        outs = [v for v in eqn.outvars if not isinstance(v, jex.DropVar)]
        if not eqn.effects and not any(v in needed for v in outs):
            dead.append(None)
            continue
        ins = {v for v in eqn.invars if not isinstance(v, jex.Literal)}
        dead.append([*(ins - needed), *(v for v in outs if v not in needed)])
        needed |= ins
        weight += 1 + sum(_liveness(inner_jaxpr(sub)[0])[1] for sub in _inner(eqn))
    return dead[::-1], weight


def _inner(eqn: Any) -> list[Any]:
    return [j for p in eqn.params.values() for j in (p if isinstance(p, tuple) else (p,)) if hasattr(j, "eqns")]
