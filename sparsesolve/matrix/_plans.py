"""The cache of host-side plans that belong to a pattern: product layouts and maps of sums. Nothing here is traced."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

from sparsesolve._cache import BoundedCache
from sparsesolve.pattern import SparsityPattern

_Plan = TypeVar("_Plan")

_PLANS = BoundedCache("matrix products and sums", maxsize=64)


def cached_plan(pattern: SparsityPattern, key: Hashable, build: Callable[[], _Plan]) -> _Plan:
    """`build()`, remembered under the content of `pattern` and `key`."""
    return _PLANS.get((pattern.digest, key), build)
