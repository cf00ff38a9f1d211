"""`RadauIIA9`: five stages, order 9, for the tightest tolerances."""

from __future__ import annotations

from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import lineax as lx
import numpy as np
import optimistix as optx

from sparsesolve.ode.runge_kutta._radau_solver import AbstractRadau
from sparsesolve.ode.runge_kutta._radau_table import RadauTable, radau_table

_NODES = 0.057104196114517682193, 0.276843013638123827680, 0.583590432368916820057, 0.860240135656219447848, 1.0
RADAU9 = radau_table(np.array(_NODES), strictness=150.0, iteration_error=0.03)


class RadauIIA9(AbstractRadau):
    """Radau IIA of order 9: L-stable, for tolerances of 1e-7 and below, where `RadauIIA5` takes several times as
    many steps.

    One real and two complex factorizations of the size of the system, five right-hand sides for every Newton iteration.
    Dense output of order 5. Right-hand sides should be smooth: nine derivatives are used. Tolerances are meant as in
    Hairer's codes: errors follow them, and stiff components that follow a forcing may exceed them by factors of 10 to
    400 (Prothero and Robinson's problem); ask for two digits more there. Works in
    `diffrax.diffeqsolve` with any adaptive step size controller, from which it takes its tolerances.

    Attributes:
        linear_solver: any lineax solver that takes complex matrices; `None` means `AutoSparse()`.
        mass: the matrix of `M y' = f`: constant (`SparseMatrix`, SciPy or dense) or `mass(t, y, args)`; may be
            singular. `None` means the identity.
        sparsity: pattern of df/dy; detected when `None`.
        index: for DAEs of index 2 and 3, a pytree like the state (or an array that broadcasts against each leaf) that
            tells the index of every component, 1, 2 or 3; errors of components of index i are weighed by h^(i-1).
        root_finder: only its `rtol`, `atol` and `norm` are used; by default those of the step size controller.

    References:
        E. Hairer, G. Wanner, "Stiff differential equations solved by Radau methods", J. Comput. Appl. Math. 111 (1999)
        93, doi:10.1016/S0377-0427(99)00134-X.

    Example:
        >>> import diffrax as dfx, jax.numpy as jnp
        >>> from sparsesolve.ode import RadauIIA9
        >>> sol = dfx.diffeqsolve(
        ...     dfx.ODETerm(lambda t, y, args: -1000.0 * (y - jnp.cos(t))), RadauIIA9(), 0.0, 3.0, None,
        ...     jnp.array([0.0, 1.0]), stepsize_controller=dfx.PIDController(rtol=1e-8, atol=1e-10),
        ... )
        >>> bool(jnp.all(jnp.abs(sol.ys[0] - jnp.cos(3.0) - jnp.sin(3.0) / 1000) < 2e-6))
        True
    """

    linear_solver: lx.AbstractLinearSolver | None = None
    mass: Any = None
    sparsity: Any = None
    index: Any = None
    root_finder: optx.AbstractRootFinder = dfx.with_stepsize_controller_tols(dfx.VeryChord)()
    root_find_max_steps: int = eqx.field(static=True, default=RADAU9.max_iterations)
    table: ClassVar[RadauTable] = RADAU9
