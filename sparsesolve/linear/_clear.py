"""Forgetting: one function that empties every table of plans."""

from __future__ import annotations

from sparsesolve import _cache
from sparsesolve.direct import clear_plans


def clear_caches() -> None:
    """Empties all caches of plans: prepared Jacobians, nonlinear problems with their compiled code, factorizations.

    The next call of anything detects, colours, orders and compiles anew. Nothing that is still in use is harmed.

    Example:
        >>> from sparsesolve.linear import clear_caches
        >>> clear_caches()
    """
    _cache.clear_caches()
    clear_plans()
