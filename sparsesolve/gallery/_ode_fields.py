"""Scalar fields in time by the method of lines: fronts that coarsen, a shock layer, spatio-temporal chaos.

| problem | unknowns | equation |
|---|---|---|
| `allen_cahn` | n^2 | `u_t = eps^2 laplace(u) + u - u^3` on a periodic square |
| `burgers` | n | `u_t = -(u^2 / 2)_x + nu u_xx` on the unit interval, `u = 0` at both ends |
| `kuramoto_sivashinsky` | n | `u_t = -u u_x - u_xx - u_xxxx`, periodic, length 22 |

Central differences of second order. The tabulated end values are those of the difference equations (not of the partial
differential equations): SciPy's Radau at relative tolerance 1e-11.

References: S. M. Allen, J. W. Cahn, Acta Metall. 27 (1979) 1085-1095, doi:10.1016/0001-6160(79)90196-2; J. M. Burgers,
Adv. Appl. Mech. 1 (1948) 171-199, doi:10.1016/S0065-2156(08)70100-5; A.-K. Kassam, L. N. Trefethen, SIAM J. Sci.
Comput. 26 (2005) 1214-1233, doi:10.1137/S1064827502410633 (stiff partial differential equations).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsesolve.gallery._brusselator import periodic_laplacian
from sparsesolve.gallery._ode_problem import OdeProblem, error_at_probes
from sparsesolve.gallery._problem import cell_centres, interior_points, require_size

_SOURCE = "SciPy's Radau at relative tolerance 1e-11 on the same difference equations"

# At `probes(size, 12)` of the raveled field.
ALLEN_CAHN_END_24 = (
    -0.9056642679796982,
    0.6805134138236298,
    -0.6121824423114701,
    0.4128698733383594,
    -0.0044446259917368626,
    -0.5452640353964155,
    0.6848446651899092,
    -0.9321192324107933,
    0.9791473760177781,
    -0.9745653037914354,
    0.9708481024394677,
    -0.9293113918138711,
)
BURGERS_END_128 = (
    0.5295843551920483,
    0.20615517639843828,
    0.7240257883633379,
    0.40475509710313157,
    0.07985230801669685,
    0.6013405593094341,
    0.2791303562690634,
    0.7858922697286035,
    0.4771439955491714,
    0.15965167611667738,
    0.6790459050245122,
    0.3585475988612083,
)
KURAMOTO_SIVASHINSKY_END_64 = (
    0.8001758614272422,
    0.532567518767586,
    -1.5842718479969826,
    0.19594810073842803,
    0.12786366293827373,
    1.5496912883672411,
    -1.4673911798791395,
    -0.2513537785060307,
    0.18334134290912926,
    1.4689627026563148,
    -1.5496912883672187,
    -0.3403663682604777,
)


def allen_cahn_rhs(t: Any, u: Float[Array, "n n"], args: Any) -> Float[Array, "n n"]:
    """Diffusion within phases -1 and 1."""
    return (args["eps"] * u.shape[0]) ** 2 * periodic_laplacian(u) + u - u**3


def allen_cahn(n: int, eps: float = 0.05) -> OdeProblem:
    """The Allen-Cahn equation: two phases that separate and coarsen.

    Args:
        n: cells a side, `n^2` unknowns; end values are tabulated for 24.
        eps: width of the fronts.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.allen_cahn(24).num_unknowns
        576
    """
    require_size("allen_cahn", n, 3)
    x = cell_centres(n)
    waves = np.sin(2 * np.pi * x)[:, None] * np.cos(4 * np.pi * x)[None, :] + 0.3 * np.cos(2 * np.pi * (x[:, None] + x))
    known = n == 24 and eps == 0.05
    return OdeProblem(
        name="Allen-Cahn",
        rhs=allen_cahn_rhs,
        t0=0.0,
        t1=20.0,
        y0=jnp.asarray(0.5 * waves),
        args={"eps": float(eps)},
        error=error_at_probes(ALLEN_CAHN_END_24, n * n, 0.1) if known else None,
        description=f"u_t = {eps:g}^2 laplace(u) + u - u^3, periodic, {n} x {n} cells",
        source=_SOURCE,
        scale=0.1,
        points=(x, x),
    )


def burgers_rhs(t: Any, u: Float[Array, " n"], args: Any) -> Float[Array, " n"]:
    """Conservative central differences at inner points."""
    n = u.size + 1
    padded = jnp.pad(u, 1)
    flux = 0.5 * padded**2
    return (flux[:-2] - flux[2:]) * (n / 2) + args["nu"] * n**2 * (padded[2:] - 2 * u + padded[:-2])


def burgers(n: int, nu: float = 0.01) -> OdeProblem:
    """The viscous Burgers equation: a wave that steepens to a layer at the wall.

    Args:
        n: inner points, all unknown; end values are tabulated for 128.
        nu: viscosity.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.burgers(128).num_unknowns
        128
    """
    require_size("burgers", n, 3)
    x = interior_points(n)
    known = n == 128 and nu == 0.01
    return OdeProblem(
        name="Burgers",
        rhs=burgers_rhs,
        t0=0.0,
        t1=1.0,
        y0=jnp.asarray(np.sin(np.pi * x) + 0.5 * np.sin(2 * np.pi * x)),
        args={"nu": float(nu)},
        error=error_at_probes(BURGERS_END_128, n, 0.1) if known else None,
        description=f"u_t = -(u^2 / 2)_x + {nu:g} u_xx, {n} points",
        source=_SOURCE,
        scale=0.1,
        points=(x,),
    )


def kuramoto_sivashinsky_rhs(t: Any, u: Float[Array, " n"], args: Any) -> Float[Array, " n"]:
    """Conservative central differences, five points wide."""
    h = args["length"] / u.size
    right, left = jnp.roll(u, -1), jnp.roll(u, 1)
    second = right - 2 * u + left
    fourth = jnp.roll(second, -1) - 2 * second + jnp.roll(second, 1)
    return (left**2 - right**2) / (4 * h) - second / h**2 - fourth / h**4


def kuramoto_sivashinsky(n: int) -> OdeProblem:
    """The Kuramoto-Sivashinsky equation on a short period, long enough to leave its start, too short to forget it.

    Args:
        n: points, all unknown; end values are tabulated for 64.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.kuramoto_sivashinsky(64).t1
        20.0
    """
    require_size("kuramoto_sivashinsky", n, 5)
    length = 22.0
    x = length * np.arange(n) / n
    phase = 2 * np.pi * x / length
    return OdeProblem(
        name="Kuramoto-Sivashinsky",
        rhs=kuramoto_sivashinsky_rhs,
        t0=0.0,
        t1=20.0,
        y0=jnp.asarray(np.cos(phase) * (1 + np.sin(phase)) + 0.1 * np.cos(3 * phase)),
        args={"length": length},
        error=error_at_probes(KURAMOTO_SIVASHINSKY_END_64, n, 1.0) if n == 64 else None,
        description=f"u_t = -u u_x - u_xx - u_xxxx, period {length:g}, {n} points",
        source=_SOURCE,
        scale=0.1,
        points=(x,),
    )
