"""The Bratu (Gelfand) problem: steady combustion, the classic of nonlinear PDE solvers.

    -laplace(u) = lam exp(u) + source   in the unit interval, square or cube,    u = 0 on the boundary.

Second-order central differences on `n` inner points a side, each equation integrated over its cell (times h^2), so
that rounding in the residual is of the size of rounding in `u`. Without a source there are two solutions below a
critical `lam`, one at it, none above: 3.513830719 in 1-D, 6.808124423 in 2-D, 9.902574 in 3-D. Newton from zero finds
the lower one, in more and more steps as `lam` nears the fold.

References: G. Bratu, Bull. Soc. Math. France 42 (1914) 113-142 (the closed form in 1-D); A. Mohsen, "A simple solution
of the Bratu problem", Comput. Math. Appl. 67 (2014) 26-33, doi:10.1016/j.camwa.2013.10.003 (the fold in 2-D);
M. McGough, "Numerical continuation and the Gelfand problem", Appl. Math. Comput. 89 (1998) 225-239 (3-D). The maxima
in `LOWER_MAXIMUM_2D` and `LOWER_MAXIMUM_3D` were computed by Chebyshev collocation; a test computes them again.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, Float

from sparsesolve.gallery._problem import Problem, interior_points, largest_difference, require_size

CRITICAL_LAM = {1: 3.513830719, 2: 6.808124423, 3: 9.902574}
"""Where the two solutions meet, by dimension."""

LOWER_MAXIMUM_2D = {1.0: 0.0781010227, 6.0: 0.7971090628, 6.8: 1.3234520210}
"""`max(u)` of the lower solution on the square, by `lam`."""

LOWER_MAXIMUM_3D = {1.0: 0.0585560546, 6.0: 0.4642260595, 9.0: 0.9830623400}
"""`max(u)` of the lower solution on the cube, by `lam`."""


def bratu_1d_residual(u: Float[Array, " n"], args: Any) -> Float[Array, " n"]:
    """`h^2 (-u'' - lam exp(u))` at the inner points."""
    h = 1.0 / (u.shape[0] + 1)
    v = jnp.pad(u, 1)
    return 2.0 * u - v[:-2] - v[2:] - h**2 * args["lam"] * jnp.exp(u)


def bratu_2d_residual(u: Float[Array, "n n"], args: Any) -> Float[Array, "n n"]:
    """`h^2 (-laplace(u) - lam exp(u) - source)` at the inner points, by the 5-point stencil."""
    h = 1.0 / (u.shape[0] + 1)
    v = jnp.pad(u, 1)
    neighbours = v[:-2, 1:-1] + v[2:, 1:-1] + v[1:-1, :-2] + v[1:-1, 2:]
    return 4.0 * u - neighbours - h**2 * (args["lam"] * jnp.exp(u) + args["source"])


def bratu_3d_residual(u: Float[Array, "n n n"], args: Any) -> Float[Array, "n n n"]:
    """`h^2 (-laplace(u) - lam exp(u))` at the inner points, by the 7-point stencil."""
    h = 1.0 / (u.shape[0] + 1)
    v = jnp.pad(u, 1)
    neighbours = v[:-2, 1:-1, 1:-1] + v[2:, 1:-1, 1:-1] + v[1:-1, :-2, 1:-1] + v[1:-1, 2:, 1:-1]
    neighbours = neighbours + v[1:-1, 1:-1, :-2] + v[1:-1, 1:-1, 2:]
    return 6.0 * u - neighbours - h**2 * args["lam"] * jnp.exp(u)


def bratu_1d(n: int, lam: float = 1.0) -> Problem:
    """Bratu on the unit interval, with the closed form of its lower solution.

    `u(x) = -2 log(cosh((x - 1/2) theta / 2) / cosh(theta / 4))` with `theta = sqrt(2 lam) cosh(theta / 4)`.

    Args:
        n: number of inner points.
        lam: strength of the reaction, at most 3.5138.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.bratu_1d(100).num_unknowns
        100
    """
    require_size("bratu_1d", n, 1)
    _require_below_fold("bratu_1d", lam, 1)
    x = interior_points(n)
    # The lower solution has the smaller root; the two meet where the derivative of the equation vanishes.
    theta: Any = scipy.optimize.brentq(lambda t: t - np.sqrt(2 * lam) * np.cosh(t / 4), 0.0, 4.7987, xtol=1e-15)
    exact = -2.0 * np.log(np.cosh((x - 0.5) * theta / 2) / np.cosh(theta / 4))
    return Problem(
        name="bratu 1-D",
        residual=bratu_1d_residual,
        y0=jnp.zeros(n),
        args={"lam": float(lam)},
        error=lambda u: largest_difference(u, exact),
        description=f"-u'' = {lam:g} exp(u) on the unit interval, u = 0 at both ends",
        reference="closed form of the lower solution (Bratu 1914); maximum norm of the error",
        points=(x,),
        solution=exact,
    )


def bratu_2d(n: int, lam: float = 6.0) -> Problem:
    """Bratu on the unit square, lower solution.

    Args:
        n: number of inner points a side, `n^2` unknowns.
        lam: 1.0, 6.0 or 6.8, for which the maximum is known; vary `args["lam"]` freely.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.bratu_2d(64)
        Problem(bratu 2-D, 4096 unknowns: -laplace(u) = 6 exp(u) on the unit square, u = 0 on its boundary)
    """
    return _lower_solution("bratu_2d", bratu_2d_residual, n, lam, 2, LOWER_MAXIMUM_2D)


def bratu_3d(n: int, lam: float = 6.0) -> Problem:
    """Bratu on the unit cube, lower solution.

    Args:
        n: number of inner points a side, `n^3` unknowns.
        lam: 1.0, 6.0 or 9.0, for which the maximum is known; vary `args["lam"]` freely.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.bratu_3d(8).num_unknowns
        512
    """
    return _lower_solution("bratu_3d", bratu_3d_residual, n, lam, 3, LOWER_MAXIMUM_3D)


def bratu_2d_manufactured(n: int, lam: float = 1.0) -> Problem:
    """Bratu on the unit square with the source that makes `u = sin(pi x) sin(2 pi y)` the solution.

    Args:
        n: number of inner points a side, `n^2` unknowns.
        lam: strength of the reaction.

    Example:
        >>> from sparsesolve import gallery
        >>> problem = gallery.bratu_2d_manufactured(32)
        >>> problem.error(problem.solution)
        0.0
    """
    require_size("bratu_2d_manufactured", n, 1)
    x = interior_points(n)
    exact = np.sin(np.pi * x)[:, None] * np.sin(2 * np.pi * x)[None, :]
    source = 5 * np.pi**2 * exact - lam * np.exp(exact)
    return Problem(
        name="bratu 2-D, manufactured",
        residual=bratu_2d_residual,
        y0=jnp.zeros((n, n)),
        args={"lam": float(lam), "source": jnp.asarray(source)},
        error=lambda u: largest_difference(u, exact),
        description=f"-laplace(u) = {lam:g} exp(u) + source on the unit square, u = 0 on its boundary",
        reference="manufactured solution sin(pi x) sin(2 pi y); maximum norm of the error, O(h^2)",
        points=(x, x),
        solution=exact,
    )


def _lower_solution(
    name: str, residual: Any, n: int, lam: float, dimension: int, maxima: dict[float, float]
) -> Problem:
    require_size(name, n, 1)
    if lam not in maxima:
        raise ValueError(
            f"{name} got lam={lam}, for which no reference is tabulated (there is one for {sorted(maxima)}); build one "
            f"of these and change args['lam'], which must stay below {CRITICAL_LAM[dimension]:.6g}."
        )
    domain = {2: "square", 3: "cube"}[dimension]
    return Problem(
        name=f"bratu {dimension}-D",
        residual=residual,
        y0=jnp.zeros((n,) * dimension),
        args={"lam": float(lam), "source": 0.0} if dimension == 2 else {"lam": float(lam)},
        error=lambda u: abs(float(np.max(np.asarray(u))) - maxima[lam]),
        description=f"-laplace(u) = {lam:g} exp(u) on the unit {domain}, u = 0 on its boundary",
        reference=f"maximum of the lower solution, {maxima[lam]:.10f} (Chebyshev collocation); O(h^2)",
        points=(interior_points(n),) * dimension,
    )


def _require_below_fold(name: str, lam: float, dimension: int) -> None:
    if not 0 < lam <= CRITICAL_LAM[dimension]:
        raise ValueError(
            f"{name} got lam={lam}, but there are solutions only for 0 < lam <= {CRITICAL_LAM[dimension]:.9g}."
        )
