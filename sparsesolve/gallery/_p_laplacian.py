"""The p-Laplace equation: power-law diffusion (non-Newtonian flow, glaciers), degenerate where the gradient vanishes.

    -div(|grad u|^(p - 2) grad u) = 1   on the unit square,   u given on the boundary.

Written as its energy, `E(u) = sum over triangles of area ((|grad u|^2 + eps^2)^(p / 2) / p - u)`, with linear finite
elements on a grid of squares cut along one diagonal; the residual is `jax.grad(E)`, the Jacobian a Hessian with seven
entries a row. The radial solution `u = -(p - 1) / p 2^(-1 / (p - 1)) r^(p / (p - 1))`, `r` the distance from a point
outside the square, gives the boundary values and is the reference: there the gradient nowhere vanishes and the error
is O(h^2 + eps^2).

Reference: P. Lindqvist, Notes on the p-Laplace Equation (2006), chapter 2 (energy); J. W. Barrett, W. B. Liu, "Finite
element approximation of the p-Laplacian", Math. Comp. 61 (1993) 523-537, doi:10.2307/2153239 (regularization, order).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsesolve.gallery._problem import Problem, interior_points, largest_difference, require_size


def p_laplacian_energy(u: Float[Array, "n n"], args: Any) -> Float[Array, ""]:
    """The discrete energy of the inner values `u`, with the boundary values in `args["boundary"]`."""
    h = 1.0 / (u.shape[0] + 1)
    w = args["boundary"] + jnp.pad(u, 1)
    dx, dy = (w[1:, :] - w[:-1, :]) / h, (w[:, 1:] - w[:, :-1]) / h
    lower = dx[:, :-1] ** 2 + dy[:-1, :] ** 2  # squared gradient on the triangle below each square's diagonal
    upper = dx[:, 1:] ** 2 + dy[1:, :] ** 2
    p, eps = args["p"], args["eps"]
    density = (lower + eps**2) ** (p / 2) + (upper + eps**2) ** (p / 2)
    return 0.5 * h**2 * jnp.sum(density) / p - h**2 * jnp.sum(u)


p_laplacian_residual = jax.grad(p_laplacian_energy)


def p_laplacian(n: int, p: float = 4.0) -> Problem:
    """The p-Laplace equation on the unit square with a radial exact solution.

    Args:
        n: inner points a side, `n^2` unknowns.
        p: the exponent, above 1; 2 is the Laplacian, large values are hard.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.p_laplacian(32, p=3.0).num_unknowns
        1024
    """
    require_size("p_laplacian", n, 2)
    if not p > 1:
        raise ValueError(f"p_laplacian got p={p}, but the energy is convex only for p > 1; choose a larger exponent.")
    x = np.linspace(0.0, 1.0, n + 2)
    radius = np.hypot(x[:, None] + 0.5, x[None, :] + 0.5)
    exact = -(p - 1) / p * 2.0 ** (-1 / (p - 1)) * radius ** (p / (p - 1))
    boundary = exact.copy()
    boundary[1:-1, 1:-1] = 0.0
    inner = exact[1:-1, 1:-1]
    return Problem(
        name="p-Laplacian 2-D",
        residual=p_laplacian_residual,
        y0=jnp.asarray(_blend(exact)[1:-1, 1:-1]),
        args={"p": float(p), "eps": 1e-5, "boundary": jnp.asarray(boundary)},
        error=lambda u: largest_difference(u, inner),
        description=f"-div(|grad u|^{p - 2:g} grad u) = 1 on the unit square",
        reference="radial solution around a point outside the square; maximum norm of the error, O(h^2)",
        points=(interior_points(n),) * 2,
        solution=inner,
    )


def _blend(values: np.ndarray) -> np.ndarray:
    """Coons' patch: fills a grid from the values on its boundary. A start whose gradient does not vanish."""
    s, t = np.linspace(0, 1, values.shape[0])[:, None], np.linspace(0, 1, values.shape[1])[None, :]
    along_s = (1 - s) * values[:1, :] + s * values[-1:, :]
    along_t = (1 - t) * values[:, :1] + t * values[:, -1:]
    corners = (1 - s) * ((1 - t) * values[0, 0] + t * values[0, -1]) + s * (
        (1 - t) * values[-1, 0] + t * values[-1, -1]
    )
    return along_s + along_t - corners
