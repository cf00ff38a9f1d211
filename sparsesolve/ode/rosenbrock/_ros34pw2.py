"""`ROS34PW2`: Rang and Angermann's W-method of order 3 with four stages."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import lineax as lx
import numpy as np

from sparsesolve.ode.rosenbrock._rosenbrock_solver import AbstractRosenbrock, constant_mass
from sparsesolve.ode.rosenbrock._rosenbrock_tableau import RosenbrockTableau, transformed

_G = 0.43586652150845900
_ALPHA = np.array(
    [
        [0.0, 0.0, 0.0, 0.0],
        [0.87173304301691801, 0.0, 0.0, 0.0],
        [0.84457060015369423, -0.11299064236484185, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
    ]
)
_GAMMA = np.array(
    [
        [_G, 0.0, 0.0, 0.0],
        [-0.87173304301691801, _G, 0.0, 0.0],
        [-0.90338057013044082, 0.054180672388095326, _G, 0.0],
        [0.24212380706095346, -1.2232505839045147, 0.54526025533510214, _G],
    ]
)
_STRICTNESS = 5.0  # digits follow tolerances, also where solutions grow
_EMBEDDED = np.array([0.37810903145819369, -0.096042292212423178, 0.5, 0.21793326075422950])


def _tableau() -> RosenbrockTableau:
    b = _ALPHA[3] + _GAMMA[3]
    conditions = np.stack([np.ones(4), _ALPHA.sum(axis=1), _GAMMA.sum(axis=1)])
    line = np.linalg.pinv(conditions) @ np.array([1.0, 0.0, 0.0])
    return transformed(
        _ALPHA,
        _GAMMA,
        b=b,
        error=_STRICTNESS * (b - _EMBEDDED),
        dense=np.stack([line, b - line]),
        order=3,
        error_order=3,
        is_w=True,
    )


class ROS34PW2(AbstractRosenbrock):
    """Rosenbrock W-method of order 3 that may keep its Jacobian: for costly Jacobians and factorizations.

    Stiffly accurate and L-stable with the exact Jacobian, order 3 with any matrix in its place: `max_jacobian_age`
    lets it keep a Jacobian, and its factors while the step size changes by less than a fifth. Four evaluations of f,
    four solves a step, error estimate and dense output of order 2. Works in `diffrax.diffeqsolve` and `solve_ode`.

    Attributes:
        linear_solver: any lineax solver; `None` means `AutoSparse()`.
        mass: constant matrix of `M y' = f` (`SparseMatrix`, SciPy or dense), possibly singular (index 1); `None` means
            the identity.
        sparsity: pattern of df/dy; detected when `None`.
        max_jacobian_age: steps for which a Jacobian may be kept; 0 evaluates it in every step.

    References:
        J. Rang, L. Angermann, "New Rosenbrock W-methods of order 3 for partial differential algebraic equations of
        index 1", BIT Numer. Math. 45 (2005) 761-787, doi:10.1007/s10543-005-0035-y.

    Example:
        >>> import diffrax as dfx, jax.numpy as jnp
        >>> from sparsesolve.ode import ROS34PW2
        >>> sol = dfx.diffeqsolve(
        ...     dfx.ODETerm(lambda t, y, args: -1000.0 * (y - jnp.cos(t))), ROS34PW2(max_jacobian_age=10), 0.0, 3.0,
        ...     None, jnp.ones(2), stepsize_controller=dfx.PIDController(rtol=1e-5, atol=1e-8),
        ... )
        >>> bool(jnp.all(jnp.abs(sol.ys[0] - jnp.cos(3.0) - jnp.sin(3.0) / 1000) < 1e-4))
        True
    """

    linear_solver: lx.AbstractLinearSolver | None = None
    mass: Any = eqx.field(default=None, converter=constant_mass)
    sparsity: Any = None
    max_jacobian_age: int = eqx.field(static=True, default=0)
    tableau: ClassVar[RosenbrockTableau] = _tableau()
