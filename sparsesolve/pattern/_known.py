"""Values that are the same for all arguments: constants and what is computed from them, folded only when asked.

A `Known` is a node of a small graph. Its value is computed on first request, iteratively (an unrolled loop makes
chains of thousands of nodes, which recursion would not survive). A fold that fails leaves the value unknown: `None`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Fold = Callable[[list[Any]], Sequence[Any]]


class _Node:
    """One folded equation: inputs, function, and after evaluation its outputs (`None` when the fold failed)."""

    __slots__ = ("done", "fold", "inputs", "outputs")

    def __init__(self, fold: Fold | None, inputs: Sequence[Known], outputs: Sequence[Any] | None = None):
        self.fold = fold
        self.inputs = inputs
        self.outputs = outputs
        self.done = fold is None

    def finish(self) -> None:
        """Evaluates the node; all its inputs are evaluated already."""
        values = [known.peek() for known in self.inputs]
        if self.fold is not None and all(value is not None for value in values):
            try:
                self.outputs = list(self.fold(values))
            except Exception:
                # Whatever goes wrong in a fold (no CPU backend, an unbound axis name), "unknown" is always valid.
                self.outputs = None
        self.fold, self.inputs, self.done = None, (), True


class Known:
    """A value that does not depend on any argument. `get()` is the NumPy array, or `None` if it cannot be had."""

    __slots__ = ("_index", "_node")

    def __init__(self, node: _Node, index: int):
        self._node = node
        self._index = index

    @classmethod
    def of(cls, value: Any) -> Known:
        return cls(_Node(None, (), [value]), 0)

    @classmethod
    def lazy(cls, fold: Fold, inputs: Sequence[Known], num_outputs: int = 1) -> list[Known]:
        """The outputs of `fold(input values)`, not yet computed."""
        node = _Node(fold, tuple(inputs))
        return [cls(node, index) for index in range(num_outputs)]

    def peek(self) -> Any:
        return None if self._node.outputs is None else self._node.outputs[self._index]

    def get(self) -> Any:
        pending = [self._node]
        while pending:
            node = pending[-1]
            waiting = [known._node for known in node.inputs if not known._node.done]
            if node.done or not waiting:
                pending.pop()
                if not node.done:
                    node.finish()
            else:
                pending += waiting
        return self.peek()


class Columns:
    """An array that is a concatenation along its last axis of parts, some known and some not.

    JAX builds the indices of `x[arange(n), k]` like that; a gather then needs only the unknown columns dense.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: Sequence[tuple[int, Known | None]]):
        self.parts = tuple(parts)

    def values(self) -> list[np.ndarray | None]:
        """Each column's known values, or `None`."""
        out: list[np.ndarray | None] = []
        for width, known in self.parts:
            value = None if known is None else known.get()
            out += [None if value is None else value[..., index] for index in range(width)]
        return out


class Mask:
    """An unknown value that is known to be zero in places: `nonzero` is a boolean array of its shape."""

    __slots__ = ("nonzero",)

    def __init__(self, nonzero: Known):
        self.nonzero = nonzero
