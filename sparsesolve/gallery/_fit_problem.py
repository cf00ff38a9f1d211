"""What a fitting problem is: residuals as a user would write them, where to start, and the known answer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax.tree_util as jtu
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class FitProblem:
    """A sum of squares `sum |residual(y, args)|^2` to be made least, whose minimum is known or was computed elsewhere.

    Attributes:
        name: short name, e.g. `"Misra1a, start 1"`.
        residual: `residual(y, args)`, a plain JAX function; a pytree of arrays of any shapes.
        y0: where an iteration starts, a pytree of arrays.
        args: what a user might vary: a dict of floats and float arrays.
        error: `error(y)`, how far `y` is from the reference: one figure, zero at the known answer.
        description: the model in one line.
        source: where data and reference come from.
        cost: the least sum of squares (not halved), where it is known.
        solution: the minimiser, where it is known.
        standard_errors: of the parameters (scaled by the residual variance), where they are known.
        model: `model(x, *parameters)` for problems that are curve fits, with `args["x"]` and `args["y"]`.
        retract: `retract(y, delta)`, for parameters on a manifold; `retract.tangent(y)` is a `delta` of zeros.
    """

    name: str
    residual: Callable[[Any, Any], Any]
    y0: Any
    args: dict[str, Any]
    error: Callable[[Any], float]
    description: str
    source: str
    cost: float | None = None
    solution: Any = None
    standard_errors: Any = None
    model: Callable[..., Any] | None = None
    retract: Any = None

    @property
    def num_unknowns(self) -> int:
        """Length of the raveled parameters, as they are stored."""
        return sum(math.prod(np.shape(leaf)) for leaf in jtu.tree_leaves(self.y0))

    def sum_of_squares(self, y: Any) -> float:
        """The cost at `y`, on the host."""
        return float(sum(np.sum(np.square(np.asarray(r))) for r in jtu.tree_leaves(self.residual(y, self.args))))

    def __repr__(self) -> str:
        return f"FitProblem({self.name}, {self.num_unknowns} parameters: {self.description})"


def root_mean_square(residual: Any) -> float:
    """Of all entries of a pytree of arrays, on the host."""
    leaves = [np.ravel(np.asarray(leaf)) for leaf in jtu.tree_leaves(residual)]
    return float(np.sqrt(np.mean(np.square(np.concatenate(leaves)))))
