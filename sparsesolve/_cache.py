"""Bounded, inspectable caches of plans. Host-side; nothing traced is ever stored.

Detection, colouring and symbolic factorization are worth keeping between traces. Each cache is a
least-recently-used table with a fixed number of slots; `caches()` lists them with their hit counts and
`clear_caches()` empties them all.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Hashable
from typing import Any

_REGISTRY: dict[str, BoundedCache] = {}


class BoundedCache:
    """A least-recently-used table: key to plan.

    Attributes:
        name: what `caches()` calls it.
        maxsize: number of entries kept.
        hits: lookups answered from the table.
        misses: lookups that had to build.
    """

    def __init__(self, name: str, maxsize: int = 64):
        self.name = name
        self.maxsize = maxsize
        self.hits = 0
        self.misses = 0
        self._entries: collections.OrderedDict[Hashable, Any] = collections.OrderedDict()
        # Re-entrant: building one plan may look up another, and a weak reference may die meanwhile.
        self._lock = threading.RLock()
        _REGISTRY[name] = self

    def get(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """The entry of `key`, built now if there is none."""
        found = self.lookup(key)
        if found is None:
            found = build()
            self.store(key, found)
        return found

    def lookup(self, key: Hashable) -> Any:
        """The entry of `key`, or `None`."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                self.hits += 1
                return self._entries[key]
            self.misses += 1
            return None

    def store(self, key: Hashable, value: Any) -> None:
        """Adds an entry; the one unused for longest makes room."""
        with self._lock:
            self._entries[key] = value
            self._entries.move_to_end(key)
            while len(self._entries) > self.maxsize:
                self._entries.popitem(last=False)

    def discard(self, key: Hashable) -> None:
        """Forgets an entry, if there is one."""
        with self._lock:
            self._entries.pop(key, None)

    def clear(self) -> None:
        """Forgets everything, counts included."""
        with self._lock:
            self._entries.clear()
            self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"BoundedCache({self.name}: {len(self)}/{self.maxsize}, hits={self.hits}, misses={self.misses})"


def caches() -> dict[str, BoundedCache]:
    """All plan caches by name."""
    return dict(_REGISTRY)


def clear_caches() -> None:
    """Empties every plan cache: the next call of anything detects, colours, orders and compiles anew.

    Example:
        >>> import sparsesolve as ss
        >>> ss.clear_caches()
    """
    for cache in _REGISTRY.values():
        cache.clear()
