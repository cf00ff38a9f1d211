"""`LevenbergMarquardt`: the solver for nonlinear least squares that `least_squares` takes by default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import optimistix as optx
from jaxtyping import Array, PyTree

from sparsesolve.least_squares.descent._descent import AbstractDescent
from sparsesolve.least_squares.descent._more import MoreRegion
from sparsesolve.least_squares.descent._nielsen import NielsenDamping
from sparsesolve.least_squares.descent._polytope import PolytopeDamping
from sparsesolve.least_squares.iteration._engine import AbstractLeastSquaresSolver
from sparsesolve.least_squares.linear_step._dense_solver import DenseSolver
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver
from sparsesolve.least_squares.linear_step._saddle_solver import SaddleSolver
from sparsesolve.least_squares.objective._objective import Objective


class LevenbergMarquardt(AbstractLeastSquaresSolver):
    """The Levenberg-Marquardt method with Marquardt's scaling.

    Each step minimises `|J d + r|^2 + mu |D d|^2`, where `D` holds the norms of the columns of `J`, so that units of
    parameters do not matter. Few unknowns: More's trust region by an SVD, with geodesic acceleration. Many: Nielsen's
    rule for `mu`, after a first Gauss-Newton step as a probe. A rejected step reuses the Jacobian.

    Attributes:
        rtol: relative length of a step, in the scale `D`, that counts as converged; `None` means eps^(2/3).
        atol: absolute length of all components of a step that counts as converged.
        ftol: predicted relative decrease of the cost that counts as converged; `None` means eps / 1000.
        linear_solver: `"auto"`, or how the linear problem of a step is solved: `"dense"` (QR), `"cholesky"` (sparse
            factorization of the normal equations), `"schur"` (the same after eliminating what is block diagonal),
            `"cg"` (conjugate gradients, no factors), `"lsmr"` and `"cgls"` (no Jacobian either: products by `jax.jvp`
            and `jax.vjp`; automatic where a Jacobian would not fit in memory or is large and nearly full).
        damping: `"auto"`, `"more"` (needs dense steps) or `"nielsen"`.
        geodesic: whether steps get half their geodesic acceleration (not with a loss); `None`: where steps are dense.
        initial_damping: `mu` of Nielsen's rule where the probe fails.
        probe: whether Nielsen's rule begins with a Gauss-Newton step.

    References:
        J. J. More, The Levenberg-Marquardt algorithm: implementation and theory, LNM 630 (1978) 105-116,
        doi:10.1007/BFb0067700. S. Agarwal, N. Snavely, S. M. Seitz, R. Szeliski, Bundle adjustment in the large, ECCV
        2010, doi:10.1007/978-3-642-15552-9_3.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsesolve.least_squares import LevenbergMarquardt, least_squares
        >>> def rosenbrock(y, args):
        ...     return jnp.stack([10.0 * (y[1] - y[0] ** 2), 1.0 - y[0]])
        >>> sol = least_squares(rosenbrock, LevenbergMarquardt(), jnp.array([-1.2, 1.0]))
        >>> sol.value
        Array([1., 1.], dtype=float64)
    """

    rtol: Any = None
    atol: Any = 0.0
    ftol: Any = None
    linear_solver: str = eqx.field(default="auto", static=True)
    damping: Literal["auto", "more", "nielsen"] = eqx.field(default="auto", static=True)
    geodesic: bool | None = eqx.field(default=None, static=True)
    initial_damping: float = eqx.field(default=1e-4, static=True)
    probe: bool = eqx.field(default=True, static=True)
    norm: Callable[[PyTree], Array] = eqx.field(default=optx.max_norm, static=True)

    def descent(self, objective: Objective, linear: AbstractDampedSolver) -> AbstractDescent:
        if isinstance(linear, SaddleSolver):
            return PolytopeDamping(NielsenDamping(self.initial_damping, self.probe), linear.constraints.matrix.shape[0])
        dense = isinstance(linear, DenseSolver)
        if self.damping == "more" and not dense:
            raise ValueError(
                "LevenbergMarquardt got damping='more', which needs singular values, with sparse steps; write "
                "damping='nielsen', or linear_solver='dense' for few unknowns."
            )
        if self.damping != "nielsen" and dense:
            return MoreRegion()
        return NielsenDamping(self.initial_damping, self.probe)

    def uses_curvature(self, linear: AbstractDampedSolver) -> bool:
        if isinstance(linear, SaddleSolver):
            return False
        return isinstance(linear, DenseSolver) if self.geodesic is None else self.geodesic
