"""The cache of host-side plans that belong to a pattern: product layouts and maps of sums. Nothing here is traced.

Keys are held weakly and compared by content, so a plan lives as long as one pattern equal to its key does.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from sparsesolve.pattern import SparsityPattern

_Plan = TypeVar("_Plan")

plan_cache: weakref.WeakKeyDictionary[SparsityPattern, dict[Hashable, Any]] = weakref.WeakKeyDictionary()


def cached_plan(pattern: SparsityPattern, key: Hashable, build: Callable[[], _Plan]) -> _Plan:
    """`build()`, remembered for `pattern` under `key`. The plan must not refer back to `pattern`."""
    plans = plan_cache.setdefault(pattern, {})
    if key not in plans:
        plans[key] = build()
    return plans[key]
