"""`Dogleg`: Powell's trust-region method, one factorization an iterate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import optimistix as optx
from jaxtyping import Array, PyTree

from sparsesolve.least_squares.descent._descent import AbstractDescent
from sparsesolve.least_squares.descent._dogleg_region import DoglegRegion
from sparsesolve.least_squares.iteration._engine import AbstractLeastSquaresSolver
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver
from sparsesolve.least_squares.objective._objective import Objective


class Dogleg(AbstractLeastSquaresSolver):
    """Powell's dogleg: steps between the scaled gradient and the Gauss-Newton step, within a trust region.

    A rejected step needs no new factorization, which pays where factorizations dominate.

    Attributes:
        rtol: relative length of a step that counts as converged; `None` means eps^(2/3).
        atol: absolute length of all components of a step that counts as converged.
        ftol: predicted relative decrease of the cost that counts as converged; `None` means eps / 1000.
        linear_solver: as for `LevenbergMarquardt`.
        subspace: minimise over the plane of both directions instead of along the path.

    Reference:
        M. I. A. Lourakis, A. A. Argyros, Is Levenberg-Marquardt the most efficient optimization algorithm for
        implementing bundle adjustment?, ICCV 2005, doi:10.1109/ICCV.2005.128.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsesolve.least_squares import Dogleg, least_squares
        >>> def rosenbrock(y, args):
        ...     return jnp.stack([10.0 * (y[1] - y[0] ** 2), 1.0 - y[0]])
        >>> sol = least_squares(rosenbrock, Dogleg(), jnp.array([-1.2, 1.0]))
        >>> sol.value
        Array([1., 1.], dtype=float64)
    """

    rtol: Any = None
    atol: Any = 0.0
    ftol: Any = None
    linear_solver: str = eqx.field(default="auto", static=True)
    subspace: bool = eqx.field(default=False, static=True)
    norm: Callable[[PyTree], Array] = eqx.field(default=optx.max_norm, static=True)

    def descent(self, objective: Objective, linear: AbstractDampedSolver) -> AbstractDescent:
        return DoglegRegion(self.subspace)

    def uses_curvature(self, linear: AbstractDampedSolver) -> bool:
        return False
