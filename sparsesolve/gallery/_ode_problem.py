"""What a time-dependent test problem is: a right-hand side, an interval, a start, and how wrong an end value is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax.tree_util as jtu
import numpy as np

GOLDEN = 0.6180339887498949


@dataclasses.dataclass(frozen=True, eq=False)
class OdeProblem:
    """An initial value problem `M dy/dt = rhs(t, y, args)` whose end value is known or was computed independently.

    Attributes:
        name: short name, e.g. `"HIRES"`.
        rhs: `rhs(t, y, args)`, a plain JAX function; the result has the structure of `y`.
        t0: start of the interval.
        t1: its end.
        y0: values at `t0`, a pytree of arrays; consistent where there is a mass matrix.
        args: what a user might vary: a dict of floats and float arrays.
        error: `error(y)`, the largest difference of end values `y` from the reference relative to it (to `floor` for
            entries smaller than that); `None` where no reference is tabulated.
        description: the equations in one line.
        source: where they and the reference come from.
        mass: the constant matrix `M`, shape `(n, n)`, on the raveled unknowns; `None` for the identity.
        jump_ts: times at which `rhs` jumps.
        scale: size below which an entry no longer matters, a number or an array for each leaf alike: absolute
            tolerances in proportion, `atol = scale * rtol`.
        reference: end values, a vector for the raveled unknowns; `None` where only some are known.
        points: for pictures: the coordinates of a grid along each axis.
    """

    name: str
    rhs: Callable[[Any, Any, Any], Any]
    t0: float
    t1: float
    y0: Any
    args: dict[str, Any]
    error: Callable[[Any], float] | None
    description: str
    source: str
    mass: np.ndarray | None = None
    jump_ts: tuple[float, ...] = ()
    scale: Any = 1.0
    reference: np.ndarray | None = None
    points: tuple[np.ndarray, ...] = ()

    @property
    def num_unknowns(self) -> int:
        """Length of the raveled unknowns."""
        return sum(math.prod(np.shape(leaf)) for leaf in jtu.tree_leaves(self.y0))

    def digits(self, y: Any) -> float:
        """Correct digits of end values: `-log10(error(y))`, at most 16."""
        if self.error is None:
            raise ValueError(f"{self.name} has no tabulated reference of this size; compare with a tight solution.")
        wrong = self.error(y)
        return 16.0 if wrong < 1e-16 else -math.log10(wrong) if math.isfinite(wrong) else -math.inf

    def __repr__(self) -> str:
        return f"OdeProblem({self.name}, {self.num_unknowns} unknowns: {self.description})"


def raveled(y: Any) -> np.ndarray:
    """The raveled leaves of a pytree one after the other, on the host."""
    return np.concatenate([np.ravel(np.asarray(leaf)) for leaf in jtu.tree_leaves(y)])


def error_against(reference: Any, floor: float = 0.0) -> Callable[[Any], float]:
    """`error(y)` of an `OdeProblem` from all end values; a `floor` of zero compares exact zeros absolutely."""
    exact = np.asarray(reference, float)
    size = np.maximum(np.abs(exact), floor)
    size = np.where(size == 0, 1.0, size)

    def error(y: Any) -> float:
        return float(np.max(np.abs(raveled(y) - exact) / size))

    return error


def probes(size: int, count: int) -> np.ndarray:
    """`count` positions spread over a vector of length `size`, shape `(count,)`: fractional parts of k times 0.618."""
    return np.floor(size * np.mod(GOLDEN * np.arange(1, count + 1), 1.0)).astype(int)


def error_at_probes(table: Any, size: int, floor: float) -> Callable[[Any], float]:
    """`error(y)` of an `OdeProblem` from end values tabulated at `probes(size, len(table))`."""
    exact = np.asarray(table, float)
    where = probes(size, exact.size)

    def error(y: Any) -> float:
        return float(np.max(np.abs(raveled(y)[where] - exact) / np.maximum(np.abs(exact), floor)))

    return error
