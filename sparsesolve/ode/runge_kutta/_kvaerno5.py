"""`Kvaerno5`: seven stages, order 5, L-stable."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from sparsesolve.ode.newton._stage_newton import StageNewton
from sparsesolve.ode.runge_kutta._esdirk_solver import AbstractEsdirk
from sparsesolve.ode.runge_kutta._tableau import EsdirkTableau

_G = 0.26
_A = np.zeros((7, 7))
_A[1, :2] = _G, _G
_A[2, :3] = 0.13, 0.84033320996790809, _G
_A[3, :4] = 0.22371961478320505, 0.47675532319799699, -0.06470895363112615, _G
_A[4, :5] = 0.16648564323248321, 0.10450018841591720, 0.03631482272098715, -0.13090704451073998, _G
_A[5, :6] = 0.13855640231268224, 0.0, -0.04245337201752043, 0.02446657898003141, 0.61943039072480676, _G
_A[6, :6] = (
    0.13659751177640291,
    0.0,
    -0.05496908796538376,
    -0.04118626728321046,
    0.62993304899016403,
    0.06962479448202728,
)
_A[6, 6] = _G


class Kvaerno5(AbstractEsdirk):
    """Kvaerno's ESDIRK method of order 5 with an error estimate of order 4, for diffrax, on sparse Jacobians.

    Six implicit stages share one factorization, kept over steps while the step size changes little. Dense output of
    order 4. Right for tolerances of 1e-5 to 1e-10. One stage lies beyond the step (c = 1.23), so where the right-hand
    side jumps in time, or is not defined beyond the end, prefer `KenCarp47`.

    Attributes:
        root_finder: tolerances of the stages (those of the step-size controller by default) and linear solver.
        root_find_max_steps: most Newton updates of a stage.
        sparsity: pattern of the Jacobian between components of the state; `None` to detect it.
        mass: the matrix of `M y' = f`: constant (`SparseMatrix`, SciPy or dense) or `mass(t, y, args)`; may be
            singular (index 1). `None` means the identity.

    References:
        Kvaerno, "Singly diagonally implicit Runge-Kutta methods with an explicit first stage", BIT 44 (2004) 489,
        doi:10.1023/B:BITN.0000046811.70614.38.

    Example:
        >>> import diffrax as dfx, jax.numpy as jnp
        >>> from sparsesolve.ode import Kvaerno5
        >>> def robertson(t, y, args):
        ...     r1, r2, r3 = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
        ...     return jnp.stack([-r1 + r2, r1 - r2 - r3, r3])
        >>> sol = dfx.diffeqsolve(
        ...     dfx.ODETerm(robertson), Kvaerno5(), 0.0, 40.0, 1e-4, jnp.array([1.0, 0.0, 0.0]),
        ...     stepsize_controller=dfx.PIDController(rtol=1e-6, atol=1e-10),
        ... )
        >>> [f"{float(v):.5g}" for v in sol.ys[0]]
        ['0.71583', '9.1855e-06', '0.28416']
    """

    root_finder: StageNewton = StageNewton()
    root_find_max_steps: int = 10
    sparsity: Any = None
    mass: Any = None
    tableau: ClassVar[EsdirkTableau] = EsdirkTableau("Kvaerno5", 5, _A, _A[6] - _A[5], dense_order=4, strictness=6.0)
