"""The lid-driven cavity: steady incompressible flow in a square box whose lid slides, in stream function and vorticity.

    -laplace(psi) = omega,     Re (u omega_x + v omega_y) = laplace(omega),     u = psi_y,  v = -psi_x,

psi = 0 on the walls, where Thom's formula gives the vorticity, `omega = -2 psi_inner / h^2` (and `-2 lid / h` more at
the lid). Central differences on `n` inner points a side, both equations times h^2.

References: U. Ghia, K. N. Ghia, C. T. Shin, J. Comput. Phys. 48 (1982) 387-411, doi:10.1016/0021-9991(82)90058-4,
table I (the centreline profile, accurate to about 0.004); O. Botella, R. Peyret, Comput. Fluids 27 (1998) 421-433,
doi:10.1016/S0045-7930(98)00002-4 (extrema at Re = 100 by spectral collocation); A. Thom, Proc. R. Soc. A 141 (1933)
651-669.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from sparsesolve.gallery._problem import Problem, interior_points, require_size

GHIA_Y = np.array([7, 8, 9, 13, 22, 36, 58, 64, 79, 94, 109, 122, 123, 124, 125]) / 128
"""Heights at which Ghia et al. give the velocity `u` on the vertical centreline (the two walls left out)."""

_GHIA_RE_100 = (-0.03717, -0.04192, -0.04775, -0.06434, -0.10150, -0.15662, -0.21090, -0.20581, -0.13641, 0.00332)
_GHIA_RE_400 = (-0.08186, -0.09266, -0.10338, -0.14612, -0.24299, -0.32726, -0.17119, -0.11477, 0.02135, 0.16256)
GHIA_U = {
    100.0: np.array((*_GHIA_RE_100, 0.23151, 0.68717, 0.73722, 0.78871, 0.84123)),
    400.0: np.array((*_GHIA_RE_400, 0.29093, 0.55892, 0.61756, 0.68439, 0.75837)),
}
"""Velocity `u(0.5, y)` at `GHIA_Y`, by Reynolds number."""

BOTELLA_PEYRET_U_MIN = -0.2140424
"""Smallest `u` on the vertical centreline at Re = 100."""


def cavity_residual(y: dict[str, Any], args: Any) -> dict[str, Any]:
    """Both equations times h^2; `y` and the result are dicts of `psi` and `omega`, each `(n, n)`, indexed `[x, y]`."""
    n = y["psi"].shape[0]
    h = 1.0 / (n + 1)
    psi = jnp.pad(y["psi"], 1)
    omega = _with_walls(y["omega"], y["psi"], h, args["lid"])
    # Twice the velocity times h: the factors 2 h of both central differences cancel against h^2 / 4 below.
    u, v = psi[1:-1, 2:] - psi[1:-1, :-2], psi[:-2, 1:-1] - psi[2:, 1:-1]
    convection = u * (omega[2:, 1:-1] - omega[:-2, 1:-1]) + v * (omega[1:-1, 2:] - omega[1:-1, :-2])
    return {
        "psi": _minus_laplacian(psi) - h**2 * y["omega"],
        "omega": _minus_laplacian(omega) + 0.25 * args["reynolds"] * convection,
    }


def cavity(n: int, reynolds: float = 100.0) -> Problem:
    """Flow in the lid-driven cavity.

    Args:
        n: inner points a side, `2 n^2` unknowns; odd, so that a grid line is the centreline.
        reynolds: 100.0 or 400.0, for which there is a reference; vary `args["reynolds"]` freely.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.cavity(31).num_unknowns
        1922
    """
    require_size("cavity", n, 3)
    if reynolds not in GHIA_U:
        raise ValueError(
            f"cavity got reynolds={reynolds}, for which no reference is tabulated (there is one for {sorted(GHIA_U)}); "
            "build one of these and change args['reynolds']."
        )
    if n % 2 == 0:
        raise ValueError(f"cavity got n={n}, but only an odd n has a grid line at x = 1/2; write n={n + 1}.")
    x = interior_points(n)
    return Problem(
        name=f"cavity Re={reynolds:g}",
        residual=cavity_residual,
        y0={"psi": jnp.zeros((n, n)), "omega": jnp.zeros((n, n))},
        args={"reynolds": float(reynolds), "lid": 1.0},
        error=lambda y: float(np.max(np.abs(np.interp(GHIA_Y, *centreline(y)) - GHIA_U[reynolds]))),
        description=f"steady flow in a lid-driven square cavity at Re = {reynolds:g}",
        reference="velocity on the vertical centreline, Ghia et al. (1982) table I; largest difference",
        points=(x, x),
    )


def centreline(y: dict[str, Any], lid: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Heights (walls included) and velocity `u` on the line x = 1/2, from central differences of psi on the host."""
    psi = np.pad(np.asarray(y["psi"]), 1)
    n = psi.shape[0] - 2
    middle = psi[(n + 1) // 2]
    inner = (middle[2:] - middle[:-2]) * (n + 1) / 2
    return np.linspace(0, 1, n + 2), np.concatenate([[0.0], inner, [lid]])


def _with_walls(omega: Any, psi: Any, h: float, lid: Any) -> Any:
    """The vorticity with Thom's wall values around it. No equation reads the four corners."""
    left, right = -2.0 * psi[:1, :] / h**2, -2.0 * psi[-1:, :] / h**2
    bottom, top = -2.0 * psi[:, :1] / h**2, -2.0 * psi[:, -1:] / h**2 - 2.0 * lid / h
    columns = jnp.concatenate([bottom, omega, top], axis=1)
    return jnp.concatenate([jnp.pad(left, ((0, 0), (1, 1))), columns, jnp.pad(right, ((0, 0), (1, 1)))], axis=0)


def _minus_laplacian(w: Any) -> Any:
    """`-h^2 laplace(w)` at the inner points of `w`."""
    return 4.0 * w[1:-1, 1:-1] - w[:-2, 1:-1] - w[2:, 1:-1] - w[1:-1, :-2] - w[1:-1, 2:]
