"""What a test problem is: a residual as a user would write it, where to start, and how wrong an answer is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax.tree_util as jtu
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A nonlinear system `residual(y, args) = 0` whose answer is known or was computed independently.

    Attributes:
        name: short name, e.g. `"bratu 2-D"`.
        residual: `residual(y, args)`, a plain JAX function; the result has the structure of `y`.
        y0: where an iteration starts, a pytree of arrays.
        args: what a user might vary: a dict of floats and float arrays.
        error: `error(y)`, how far `y` is from the reference: one figure that goes to zero (or, where the reference
            is itself approximate, to its accuracy) as the mesh is refined.
        description: the equation in one line.
        reference: what `error` compares with, and its source.
        points: for pictures: the coordinates of a grid along each axis, or `(nodes, triangles)` of a mesh.
        solution: the exact solution at the unknowns, where there is one in closed form.
    """

    name: str
    residual: Callable[[Any, Any], Any]
    y0: Any
    args: dict[str, Any]
    error: Callable[[Any], float]
    description: str
    reference: str
    points: tuple[np.ndarray, ...]
    solution: Any = None

    @property
    def num_unknowns(self) -> int:
        """Length of the raveled unknowns."""
        return sum(math.prod(np.shape(leaf)) for leaf in jtu.tree_leaves(self.y0))

    def __repr__(self) -> str:
        return f"Problem({self.name}, {self.num_unknowns} unknowns: {self.description})"


def interior_points(n: int) -> np.ndarray:
    """The `n` inner points of a uniform grid on the unit interval with `n + 2` points, shape `(n,)`."""
    return np.linspace(0.0, 1.0, n + 2)[1:-1]


def cell_centres(n: int) -> np.ndarray:
    """The centres of `n` equal cells of the unit interval, shape `(n,)`."""
    return (np.arange(n) + 0.5) / n


def largest_difference(y: Any, exact: Any) -> float:
    """The maximum norm of the difference of two arrays, on the host."""
    return float(np.max(np.abs(np.asarray(y) - np.asarray(exact))))


def require_size(name: str, n: int, smallest: int) -> None:
    """Refuses grids on which the discretization makes no sense."""
    if n < smallest:
        raise ValueError(f"{name} got n={n}, too few points for its stencil; write n={smallest} or more.")
