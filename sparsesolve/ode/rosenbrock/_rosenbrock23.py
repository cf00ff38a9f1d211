"""`Rosenbrock23`: the second-order W-method of Shampine and Reichelt, MATLAB's `ode23s`."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import equinox as eqx
import lineax as lx
import numpy as np

from sparsesolve.ode.rosenbrock._rosenbrock_solver import AbstractRosenbrock, constant_mass
from sparsesolve.ode.rosenbrock._rosenbrock_tableau import RosenbrockTableau, transformed


def _tableau() -> RosenbrockTableau:
    """Section 3.2 of the paper, in Kaps and Wanner's form: the third stage only estimates the error."""
    d = 1 / (2 + math.sqrt(2))
    e = 6 + math.sqrt(2)
    alpha = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 1.0, 0.0]])
    gamma = np.array([[d, 0.0, 0.0], [-d, d, 0.0], [(e - 2) * d, -e * d, d]])
    line = 1 / (1 - 2 * d)
    dense = np.array([[line, -2 * d * line, 0.0], [-line, line, 0.0]])
    return transformed(
        alpha,
        gamma,
        b=np.array([0.0, 1.0, 0.0]),
        error=np.array([1.0, -2.0, 1.0]) / 6,
        dense=dense,
        order=2,
        error_order=3,
        is_w=True,
        ends_with_slope=True,
    )


class Rosenbrock23(AbstractRosenbrock):
    """Rosenbrock method of order 2 with an error estimate of order 3: for loose tolerances and rough solutions.

    L-stable, two evaluations of f a step, one Jacobian, one factorization, three solves. It keeps its order with an
    inexact Jacobian (a W-method): `max_jacobian_age` lets it keep one, and its factors while the step size changes by
    less than a fifth. Works in `diffrax.diffeqsolve` and `solve_ode`.

    Attributes:
        linear_solver: any lineax solver; `None` means `AutoSparse()`.
        mass: constant matrix of `M y' = f` (`SparseMatrix`, SciPy or dense), possibly singular (index 1); `None` means
            the identity.
        sparsity: pattern of df/dy; detected when `None`.
        max_jacobian_age: steps for which a Jacobian may be kept; 0 evaluates it in every step.

    References:
        L. F. Shampine, M. W. Reichelt, "The MATLAB ODE suite", SIAM J. Sci. Comput. 18 (1997) 1-22, section 3,
        doi:10.1137/S1064827594276424.

    Example:
        >>> import diffrax as dfx, jax.numpy as jnp
        >>> from sparsesolve.ode import Rosenbrock23
        >>> sol = dfx.diffeqsolve(
        ...     dfx.ODETerm(lambda t, y, args: -1000.0 * (y - jnp.cos(t))), Rosenbrock23(), 0.0, 3.0, None, jnp.ones(2),
        ...     stepsize_controller=dfx.PIDController(rtol=1e-3, atol=1e-6),
        ... )
        >>> bool(jnp.all(jnp.abs(sol.ys[0] - jnp.cos(3.0)) < 1e-3))
        True
    """

    linear_solver: lx.AbstractLinearSolver | None = None
    mass: Any = eqx.field(default=None, converter=constant_mass)
    sparsity: Any = None
    max_jacobian_age: int = eqx.field(static=True, default=0)
    tableau: ClassVar[RosenbrockTableau] = _tableau()
