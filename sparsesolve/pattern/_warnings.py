"""The one warning of a detection: which equations had to be taken as dense, and where they stand."""

from __future__ import annotations

import itertools
import pathlib
import warnings
from typing import Any

from jax.extend import source_info_util

_LIBRARIES = {"jax", "jaxlib", "equinox", "lineax", "optimistix", "diffrax"}
_THIS_PACKAGE = str(pathlib.Path(__file__).resolve().parents[1])


def _user_line(eqn: Any) -> str:
    """The innermost line outside Python's library, JAX, its libraries and this package; empty if there is none."""
    for frame in getattr(eqn.source_info.traceback, "frames", None) or ():
        if not _is_library(frame.file_name):
            return f"{frame.file_name}:{frame.line_num} ({frame.function_name})"
    return ""


def _is_library(file: str) -> bool:
    if file.startswith((_THIS_PACKAGE, "<frozen")):
        return True
    parts = pathlib.PurePath(file).parts
    installed = [b for a, b in itertools.pairwise(parts) if a in ("site-packages", "dist-packages")]
    if installed:
        return installed[0] in _LIBRARIES
    return any(a == "lib" and b.startswith("python3") for a, b in itertools.pairwise(parts))


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
        equations = (eqn, *reversed(self._stack))
        lines = [*map(_user_line, equations), *(source_info_util.summarize(e.source_info) for e in equations)]
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
