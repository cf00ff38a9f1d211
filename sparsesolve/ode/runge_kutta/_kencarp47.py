"""`KenCarp47`: seven stages, order 4, L-stable, with an explicit companion for split right-hand sides."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from sparsesolve.ode.newton._stage_newton import StageNewton
from sparsesolve.ode.runge_kutta._esdirk_solver import AbstractEsdirk
from sparsesolve.ode.runge_kutta._tableau import EsdirkTableau

_G = 1235 / 10000
_B3, _B4 = 9164257142617 / 17756377923965, -10812980402763 / 74029279521829
_B5, _B6 = 1335994250573 / 5691609445217, 2273837961795 / 8368240463276
_B = np.array([0.0, 0.0, _B3, _B4, _B5, _B6, _G])
_EMBEDDED = np.array(
    [
        0.0,
        0.0,
        4469248916618 / 8635866897933,
        -621260224600 / 4094290005349,
        696572312987 / 2942599194819,
        1532940081127 / 5565293938103,
        2441 / 20000,
    ]
)
_A = np.zeros((7, 7))
_A[1, :2] = _G, _G
_A[2, :3] = 624185399699 / 4186980696204, 624185399699 / 4186980696204, _G
_A[3, :3] = 1258591069120 / 10082082980243, 1258591069120 / 10082082980243, -322722984531 / 8455138723562
_A[4, :3] = -436103496990 / 5971407786587, -436103496990 / 5971407786587, -2689175662187 / 11046760208243
_A[4, 3] = 4431412449334 / 12995360898505
_A[5, :3] = -2207373168298 / 14430576638973, -2207373168298 / 14430576638973, 242511121179 / 3358618340039
_A[5, 3:5] = 3145666661981 / 7780404714551, 5882073923981 / 14490790706663
_A[6] = _B
_A[[3, 4, 5], [3, 4, 5]] = _G
_E = np.zeros((7, 7))
_E[1, 0] = 247 / 1000
_E[2, :2] = 247 / 4000, 2694949928731 / 7487940209513
_E[3, :3] = 464650059369 / 8764239774964, 878889893998 / 2444806327765, -952945855348 / 12294611323341
_E[4, :3] = 476636172619 / 8159180917465, -1271469283451 / 7793814740893, -859560642026 / 4356155882851
_E[4, 3] = 1723805262919 / 4571918432560
_E[5, :3] = 6338158500785 / 11769362343261, -4970555480458 / 10924838743837, 3326578051521 / 2647936831840
_E[5, 3:5] = -880713585975 / 1841400956686, -1428733748635 / 8843423958496
_E[6, :3] = 760814592956 / 3276306540349, 760814592956 / 3276306540349, -47223648122716 / 6934462133451
_E[6, 3:6] = 71187472546993 / 9669769126921, -13330509492149 / 9695768672337, 11565764226357 / 8513123442827


class KenCarp47(AbstractEsdirk):
    """Kennedy and Carpenter's ARK4(3)7L[2]SA: ESDIRK of order 4 with an explicit companion, on sparse Jacobians.

    With `diffrax.MultiTerm(explicit, implicit)` the first term is integrated explicitly and needs no Jacobian
    (advection beside stiff diffusion); with one term all of it is implicit. Stages lie inside the step. Dense output
    of order 3.

    Attributes:
        root_finder: tolerances of the stages (those of the step-size controller by default) and linear solver.
        root_find_max_steps: most Newton updates of a stage.
        sparsity: pattern of the implicit part's Jacobian between components of the state; `None` to detect it.
        mass: the matrix of `M y' = f`: constant (`SparseMatrix`, SciPy or dense) or `mass(t, y, args)`; may be
            singular (index 1). `None` means the identity.

    References:
        Kennedy and Carpenter, "Higher-order additive Runge-Kutta schemes for ordinary differential equations", Applied
        Numerical Mathematics 136 (2019) 183, doi:10.1016/j.apnum.2018.10.007.

    Example:
        >>> import diffrax as dfx, jax.numpy as jnp
        >>> from sparsesolve.ode import KenCarp47
        >>> slow = dfx.ODETerm(lambda t, y, args: jnp.cos(t) * jnp.ones_like(y))
        >>> fast = dfx.ODETerm(lambda t, y, args: -1000.0 * (y - jnp.sin(t)))
        >>> sol = dfx.diffeqsolve(
        ...     dfx.MultiTerm(slow, fast), KenCarp47(), 0.0, 1.0, 1e-3, jnp.zeros(2),
        ...     stepsize_controller=dfx.PIDController(rtol=1e-6, atol=1e-8),
        ... )
        >>> bool(jnp.allclose(sol.ys, jnp.sin(1.0), atol=1e-5))
        True
    """

    root_finder: StageNewton = StageNewton()
    root_find_max_steps: int = 10
    sparsity: Any = None
    mass: Any = None
    tableau: ClassVar[EsdirkTableau] = EsdirkTableau(
        "KenCarp47", 4, _A, _B - _EMBEDDED, explicit=_E, dense_order=3, strictness=32.0
    )
