"""`GaussNewton`: undamped steps with a line search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import optimistix as optx
from jaxtyping import Array, PyTree

from sparsesolve.least_squares.descent._descent import AbstractDescent
from sparsesolve.least_squares.descent._line_search import LineSearch
from sparsesolve.least_squares.iteration._engine import AbstractLeastSquaresSolver
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver
from sparsesolve.least_squares.objective._objective import Objective


class GaussNewton(AbstractLeastSquaresSolver):
    """The Gauss-Newton method with a line search: for residuals that are small or nearly linear at the solution.

    Attributes:
        rtol: relative length of a step that counts as converged; `None` means eps^(2/3).
        atol: absolute length of all components of a step that counts as converged.
        ftol: predicted relative decrease of the cost that counts as converged; `None` means eps / 1000.
        linear_solver: as for `LevenbergMarquardt`.

    Reference:
        J. Nocedal, S. J. Wright, Numerical Optimization, 2006, section 10.3, doi:10.1007/978-0-387-40065-5.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsesolve.least_squares import GaussNewton, least_squares
        >>> t = jnp.linspace(0.0, 1.0, 20)
        >>> decay = lambda rate, data: jnp.exp(-rate * t) - data
        >>> sol = least_squares(decay, GaussNewton(), jnp.asarray(1.0), jnp.exp(-3.0 * t))
        >>> round(float(sol.value), 12)
        3.0
    """

    rtol: Any = None
    atol: Any = 0.0
    ftol: Any = None
    linear_solver: str = eqx.field(default="auto", static=True)
    norm: Callable[[PyTree], Array] = eqx.field(default=optx.max_norm, static=True)

    def descent(self, objective: Objective, linear: AbstractDampedSolver) -> AbstractDescent:
        return LineSearch()

    def uses_curvature(self, linear: AbstractDampedSolver) -> bool:
        return False
