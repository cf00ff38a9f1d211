"""The one warning of a detection: which equations had to be taken as dense, and where they stand."""

from __future__ import annotations

import warnings
from typing import Any

from jax.extend import source_info_util


class SparsityWarning(UserWarning):
    """A sparsity pattern is valid but has more entries than needed, because an operation had to be taken as dense."""


class Notes:
    """Collects the equations that were taken as dense; one warning names them all."""

    def __init__(self) -> None:
        self._notes: dict[tuple[str, str, str], None] = {}

    def add(self, eqn: Any, reason: str) -> None:
        self._notes[(eqn.primitive.name, source_info_util.summarize(eqn.source_info), reason)] = None

    def describe(self, limit: int = 5) -> str:
        """`'name' at file:line (function) reason`, one after the other; empty if nothing was noted."""
        lines = [f"'{name}' at {line} {reason}" for name, line, reason in self._notes]
        more = [f"and {len(lines) - limit} more"] if len(lines) > limit else []
        return "; ".join(lines[:limit] + more)

    def warn(self, stacklevel: int) -> None:
        if self._notes:
            warnings.warn(
                f"detect_sparsity took these primitives as dense, so the pattern is valid but may have more entries "
                f"than needed: {self.describe()}. Call register_sparsity_rule(name, rule) to say what they depend on, "
                f"or pass the pattern as sparsity=.",
                SparsityWarning,
                stacklevel=stacklevel + 1,
            )
