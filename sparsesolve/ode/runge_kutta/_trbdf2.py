"""`TRBDF2`: three stages, order 2, L-stable."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from sparsesolve.ode.newton._stage_newton import StageNewton
from sparsesolve.ode.runge_kutta._esdirk_solver import AbstractEsdirk
from sparsesolve.ode.runge_kutta._tableau import EsdirkTableau

_D = 1 - np.sqrt(0.5)
_W = np.sqrt(2) / 4
_A = np.array([[0, 0, 0], [_D, _D, 0], [_W, _W, _D]])
_EMBEDDED = np.array([(1 - _W) / 3, (3 * _W + 1) / 3, _D / 3])


class TRBDF2(AbstractEsdirk):
    """The trapezoidal rule followed by BDF2: order 2 with an error estimate of order 3, on sparse Jacobians.

    Two implicit stages share one factorization. Cheap steps for loose tolerances, 1e-2 to 1e-4.

    Attributes:
        root_finder: tolerances of the stages (those of the step-size controller by default) and linear solver.
        root_find_max_steps: most Newton updates of a stage.
        sparsity: pattern of the Jacobian between components of the state; `None` to detect it.
        mass: the matrix of `M y' = f`: constant (`SparseMatrix`, SciPy or dense) or `mass(t, y, args)`; may be
            singular (index 1). `None` means the identity.

    References:
        Bank et al., "Transient simulation of silicon devices and circuits", IEEE Trans. CAD 4 (1985) 436. Hosea and
        Shampine, "Analysis and implementation of TR-BDF2", Applied Numerical Mathematics 20 (1996) 21,
        doi:10.1016/0168-9274(95)00115-8.

    Example:
        >>> import diffrax as dfx, jax.numpy as jnp
        >>> from sparsesolve.ode import TRBDF2
        >>> sol = dfx.diffeqsolve(
        ...     dfx.ODETerm(lambda t, y, args: -1000.0 * (y - jnp.cos(t))), TRBDF2(), 0.0, 1.0, 1e-3, jnp.zeros(2),
        ...     stepsize_controller=dfx.PIDController(rtol=1e-4, atol=1e-6),
        ... )
        >>> bool(jnp.allclose(sol.ys, jnp.cos(1.0), atol=2e-3))
        True
    """

    root_finder: StageNewton = StageNewton()
    root_find_max_steps: int = 10
    sparsity: Any = None
    mass: Any = None
    tableau: ClassVar[EsdirkTableau] = EsdirkTableau(
        "TRBDF2", 2, _A, _A[2] - _EMBEDDED, dense_order=2, error_order=3, filtered=True, strictness=6.0
    )
