"""The walk over a jaxpr: dependence and known values of every variable, equation by equation.

Every equation with a dependent input goes to the rule of its primitive, every equation with known inputs only is
folded lazily, and each variable is dropped after its last use. A primitive without a rule, or a rule that fails,
makes every output dense in every dependent input: a superset, so no entry is ever missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparsesolve.pattern._dependence import Dependence, shared_row
from sparsesolve.pattern._equation import RULES, TRANSPARENT, Equation, Knowledge, Walk, inner_jaxpr
from sparsesolve.pattern._fallback import dense_rule, unknown_rule
from sparsesolve.pattern._fold import fold
from sparsesolve.pattern._known import Columns, Known
from sparsesolve.pattern._operations import union
from sparsesolve.pattern._plan import Plan, Step, known_constant, literal as _literal
from sparsesolve.pattern._warnings import Notes
from sparsesolve.pattern._zeros import masks

Entry = tuple[Dependence | None, Knowledge]
Env = dict[Any, Entry]
_NOTHING: Entry = (None, None)
_REFERENCE_ACCESS = {"addupdate", "freeze", "get", "swap"}
# Loops unroll while the equations walked stay below this; beyond, they go to a closed form (a superset).
MAX_EQUATIONS = 400_000


class Analysis:
    """One detection: the number of columns, notes for the warning, and a budget for unrolling."""

    def __init__(self, num_columns: int, notes: Notes | None = None, budget: int = MAX_EQUATIONS):
        self.num_columns = num_columns
        self.notes = Notes() if notes is None else notes
        self.budget = budget
        self._plans: dict[int, Plan] = {}

    def child(self, num_columns: int) -> Walk:
        """An analysis with other columns that shares the notes and gets the remaining budget."""
        return Analysis(num_columns, self.notes, self.budget)

    def note_dense(self, equation: Equation, reason: str, warn: bool = True) -> None:
        self.notes.add(equation.eqn, reason, warn)

    def may_unroll(self, jaxpr: Any, length: int) -> bool:
        """Whether a loop body may be walked `length` times; if so, takes it off the budget."""
        cost = length * (1 + self._plan(inner_jaxpr(jaxpr)[0]).weight)
        if cost > self.budget:
            return False
        self.budget -= cost
        return True

    def run(
        self, jaxpr: Any, deps: Sequence[Dependence | None], knowns: Sequence[Knowledge]
    ) -> tuple[list[Dependence | None], list[Knowledge]]:
        """Dependence and known values of the outputs of a jaxpr (open or closed) from those of its inputs."""
        jaxpr, consts = inner_jaxpr(jaxpr)
        env: Env = {}
        for variable, const in zip(jaxpr.constvars, consts, strict=False):
            env[variable] = (None, known_constant(const))
        for variable, dep, known in zip(jaxpr.invars, deps, knowns, strict=True):
            env[variable] = (dep, known if dep is None else None)
        for step in self._plan(jaxpr).steps:
            inputs = [env.get(v, _NOTHING) if literal is None else literal for v, literal in step.inputs]
            outs = self._equation(step, [dep for dep, _ in inputs], [known for _, known in inputs])
            for variable, out in zip(step.eqn.outvars, outs, strict=True):
                env[variable] = out
            if step.references:
                _update_references(env, step, inputs, outs)
            for variable in step.dead:
                env.pop(variable, None)
        results = [_literal(v) or env.get(v, _NOTHING) for v in jaxpr.outvars]
        return [dep for dep, _ in results], [known for _, known in results]

    def _equation(self, step: Step, deps: list[Dependence | None], knowns: list[Knowledge]) -> list[Entry]:
        nothing: list[Knowledge] = [None] * len(step.eqn.outvars)
        equation = Equation(self, step.eqn, deps, knowns)
        if step.references and step.name not in _REFERENCE_ACCESS:
            return [(dep, None) for dep in dense_rule(equation)]
        if all(dep is None for dep in deps):
            return [(None, known) for known in self._without_dependence(step, equation) or nothing]
        self.notes.enter(step.eqn)
        out_deps = self._rule(equation, RULES.get(step.name, unknown_rule))
        self.notes.leave()
        out_knowns = equation.out_knowns or nothing
        return [(d, k if d is None else None) for d, k in zip(out_deps, out_knowns, strict=True)]

    def _without_dependence(self, step: Step, equation: Equation) -> Sequence[Knowledge] | None:
        knowns = equation.knowns
        if step.name in TRANSPARENT and any(known is not None for known in knowns):
            self._rule(equation, RULES[step.name])
            return equation.out_knowns
        if all(isinstance(known, Known) for known in knowns):
            return fold(step.eqn, [known for known in knowns if isinstance(known, Known)]) if step.foldable else None
        return _index_columns(equation) or masks(equation)

    def _rule(self, equation: Equation, function: Callable[[Equation], Sequence[Dependence | None]]) -> Any:
        try:
            out = list(function(equation))
            if [None if d is None else d.shape for d in out] != [
                None if d is None else shape for d, shape in zip(out, equation.out_shapes, strict=True)
            ]:
                raise ValueError("its rule returned other shapes than the equation has")
            return out
        except Exception as error:
            self.note_dense(equation, f"could not be analysed ({_first_line(error)})")
            equation.out_knowns = None
            return dense_rule(equation)

    def _plan(self, jaxpr: Any) -> Plan:
        plan = self._plans.get(id(jaxpr))
        if plan is None:
            plan = self._plans[id(jaxpr)] = Plan.of(jaxpr)
        return plan


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:100]}" if text else type(error).__name__


def _index_columns(equation: Equation) -> list[Knowledge]:
    """A concatenation of integers along the last axis with some known operands (see `Columns`)."""
    (variable,) = equation.eqn.outvars[:1]
    if equation.name != "concatenate" or np.dtype(variable.aval.dtype).kind not in "iu":
        return []
    if equation.params["dimension"] != len(equation.out_shapes[0]) - 1:
        return []
    known = [known if isinstance(known, Known) else None for known in equation.knowns]
    return [Columns([(shape[-1], part) for shape, part in zip(equation.in_shapes, known, strict=True)])]


def _update_references(env: Env, step: Step, inputs: list[Entry], outs: list[Entry]) -> None:
    """A write through an index, or by a call, may put any operand into any place of any reference it is given."""
    if step.name in ("get", "freeze"):
        return
    deps = [dep for dep, _ in (*inputs, *outs)]
    for variable in step.references:
        shape = tuple(variable.aval.shape)
        whole = step.name in _REFERENCE_ACCESS and len(inputs) == 2 and all(d is None or d.shape == shape for d in deps)
        env[variable] = (union(deps, shape) if whole else shared_row(deps, shape), None)
