"""Steady states of the Brusselator with diffusion, an autocatalytic reaction of two species on a periodic square.

    B + u^2 v - (A + 1) u + alpha laplace(u) + forcing = 0
    A u - u^2 v + alpha laplace(v)                     = 0

(the form of the SciML benchmarks: A is the control parameter). Cell-centred 5-point differences on an `n x n` grid with
periodic boundaries, each equation integrated over its cell (times h^2). Without forcing, `u = B, v = A / B` is the
homogeneous steady state; with it, the sum of both equations integrated over the square says that the mean of `u` is
`B` plus the mean of the forcing, on every grid, exactly.

References: I. Prigogine, R. Lefever, J. Chem. Phys. 48 (1968) 1695, doi:10.1063/1.1668896; E. Hairer, G. Wanner,
Solving Ordinary Differential Equations II (1996), section IV.10 (two dimensions).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from sparsesolve.gallery._problem import Problem, cell_centres, largest_difference, require_size


def periodic_laplacian(u: Any) -> Any:
    """`h^2 laplace(u)` by the 5-point stencil on a periodic grid."""
    return jnp.roll(u, 1, 0) + jnp.roll(u, -1, 0) + jnp.roll(u, 1, 1) + jnp.roll(u, -1, 1) - 4.0 * u


def brusselator_residual(y: dict[str, Any], args: Any) -> dict[str, Any]:
    """Both equations times h^2; `y` and the result are dicts of `u` and `v`, each of shape `(n, n)`."""
    u, v = y["u"], y["v"]
    cell = 1.0 / u.size
    a, b, alpha = args["A"], args["B"], args["alpha"]
    autocatalysis = u**2 * v
    return {
        "u": alpha * periodic_laplacian(u) + cell * (b + autocatalysis - (a + 1.0) * u + args["forcing"]),
        "v": alpha * periodic_laplacian(v) + cell * (a * u - autocatalysis),
    }


def brusselator(n: int, forcing: float = 5.0) -> Problem:
    """The steady 2-D Brusselator on the periodic unit square, forced inside a disk.

    Args:
        n: cells a side, `2 n^2` unknowns.
        forcing: feed inside the disk `(x - 0.3)^2 + (y - 0.6)^2 <= 0.01`; 0 leaves the homogeneous state.

    Example:
        >>> from sparsesolve import gallery
        >>> sorted(gallery.brusselator(16).y0)
        ['u', 'v']
    """
    require_size("brusselator", n, 3)
    a, b, alpha = 3.4, 1.0, 0.05
    x = cell_centres(n)
    disk = (x[:, None] - 0.3) ** 2 + (x[None, :] - 0.6) ** 2 <= 0.01
    feed = forcing * disk
    mean_u = b + float(feed.mean())
    exact = {"u": np.full((n, n), b), "v": np.full((n, n), a / b)} if forcing == 0.0 else None

    def error(y: Any) -> float:
        if exact is not None:
            return max(largest_difference(y[name], exact[name]) for name in exact)
        return abs(float(np.mean(np.asarray(y["u"]))) - mean_u)

    return Problem(
        name="brusselator 2-D",
        residual=brusselator_residual,
        y0={"u": jnp.full((n, n), b), "v": jnp.full((n, n), a / b + 0.5)},
        args={"A": a, "B": b, "alpha": alpha, "forcing": jnp.asarray(feed)},
        error=error,
        description=f"steady Brusselator, A={a}, B={b}, alpha={alpha}, periodic, fed {forcing:g} inside a disk",
        reference="mean(u) = B + mean(forcing) on every grid" if exact is None else "u = B, v = A / B",
        points=(x, x),
        solution=exact,
    )
