"""The interface between the walk over a jaxpr and the rules of the primitives, and the registry of rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from sparsesolve.pattern._dependence import Dependence
from sparsesolve.pattern._known import Columns, Known, Mask

Knowledge = Known | Columns | Mask | None


class Walk(Protocol):
    """What rules with inner jaxprs may ask of the walk (see `_interpret.Analysis`)."""

    num_columns: int

    def run(
        self, jaxpr: Any, deps: Sequence[Dependence | None], knowns: Sequence[Knowledge]
    ) -> tuple[list[Dependence | None], list[Knowledge]]: ...

    def child(self, num_columns: int) -> Walk: ...

    def may_unroll(self, jaxpr: Any, length: int) -> bool: ...

    def note_dense(self, equation: Equation, reason: str, warn: bool = True) -> None: ...


@dataclasses.dataclass(slots=True)
class Equation:
    """One equation with what is known of its inputs. A rule returns the dependence of each output."""

    walk: Walk
    eqn: Any
    deps: list[Dependence | None]
    knowns: list[Knowledge]
    out_knowns: list[Knowledge] | None = None  # rules that walk an inner jaxpr leave its known outputs here

    @property
    def name(self) -> str:
        return self.eqn.primitive.name

    @property
    def params(self) -> dict[str, Any]:
        return self.eqn.params

    @property
    def in_shapes(self) -> list[tuple[int, ...]]:
        return [shape_of(v) for v in self.eqn.invars]

    @property
    def out_shapes(self) -> list[tuple[int, ...]]:
        return [shape_of(v) for v in self.eqn.outvars]

    def value(self, index: int) -> np.ndarray | None:
        """The value of an input if it is the same for all arguments."""
        known = self.knowns[index]
        return known.get() if isinstance(known, Known) and self.deps[index] is None else None

    def nonzero(self, index: int) -> np.ndarray | None:
        """Where an input that depends on nothing can be nonzero, if that is known of it and is not everywhere."""
        known = self.knowns[index]
        if self.deps[index] is not None or not isinstance(known, Known | Mask):
            return None
        value = known.get() if isinstance(known, Known) else known.nonzero.get()
        if value is None or not isinstance(value, np.ndarray) or value.all():
            return None
        return value != 0


Rule = Callable[[Equation], Sequence[Dependence | None]]
RULES: dict[str, Rule] = {}
# Primitives with an inner jaxpr that is walked even without any dependence, to carry known values through.
TRANSPARENT: set[str] = set()


def rule(*names: str, transparent: bool = False) -> Callable[[Rule], Rule]:
    """Registers a rule for primitives by name (names, not objects: some primitives exist in some versions only)."""

    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
            if transparent:
                TRANSPARENT.add(name)
        return function

    return register


def shape_of(variable: Any) -> tuple[int, ...]:
    """The shape of a variable of a jaxpr; `()` for tokens and other values without one."""
    return tuple(getattr(variable.aval, "shape", ()))


def inner_jaxpr(jaxpr: Any) -> tuple[Any, Sequence[Any]]:
    """`(jaxpr, constants)` of an open or closed jaxpr."""
    return getattr(jaxpr, "jaxpr", jaxpr), getattr(jaxpr, "consts", ())


def inner_jaxprs(eqn: Any) -> list[Any]:
    """All jaxprs among the parameters of an equation."""
    return [j for p in eqn.params.values() for j in (p if isinstance(p, tuple) else (p,)) if hasattr(j, "eqns")]
