"""The one warning of a detection: which equations had to be taken as dense, and where they stand."""

from __future__ import annotations

import warnings
from typing import Any

from jax.extend import source_info_util


class SparsityWarning(UserWarning):
    """A sparsity pattern is valid but has more entries than needed, because an operation had to be taken as dense."""


class Notes:
    """Collects the equations that were taken as dense; one warning names those that a rule could make sparse."""

    def __init__(self) -> None:
        self._notes: dict[tuple[str, str, str], bool] = {}
        self._stack: list[Any] = []

    def enter(self, eqn: Any) -> None:
        """An equation whose rule runs now; equations inside a call may have no source line of their own."""
        self._stack.append(eqn)

    def leave(self) -> None:
        self._stack.pop()

    def add(self, eqn: Any, reason: str, warn: bool) -> None:
        lines = [source_info_util.summarize(e.source_info) for e in (eqn, *reversed(self._stack))]
        line = next(filter(None, lines), "a place JAX does not tell")
        self._notes[(eqn.primitive.name, line, reason)] = warn

    def describe(self, only_warned: bool = False, limit: int = 5) -> str:
        """`'name' at file:line (function) reason`, one after the other; empty if nothing was noted."""
        notes = [key for key, warned in self._notes.items() if warned or not only_warned]
        lines = [f"'{name}' at {line} {reason}" for name, line, reason in notes]
        more = [f"and {len(lines) - limit} more"] if len(lines) > limit else []
        return "; ".join(lines[:limit] + more)

    def warn(self, stacklevel: int) -> None:
        if any(self._notes.values()):
            warnings.warn(
                f"detect_sparsity took these primitives as dense, so the pattern is valid but may have more entries "
                f"than needed: {self.describe(only_warned=True)}. Call register_sparsity_rule(name, rule) to say what "
                f"they depend on, or pass the pattern as sparsity=.",
                SparsityWarning,
                stacklevel=stacklevel + 1,
            )
