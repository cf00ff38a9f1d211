"""A coefficient found from observations of a steady state: parameter identification with a PDE as residuals.

    -div(exp(m) grad u) = f   in the unit square, u = 0 on its boundary,     u observed at some points,

solved for the state `u` and the log-coefficient `m` at once: the residuals are the equations (5-point differences), the
misfit at the observed points, and the roughness of `m`, its second differences along each axis. The coefficient to be
found is the bilinear `m = 2 x y - y`, on which the roughness vanishes: without noise the truth has cost zero, whatever
the weights.

Reference: E. Haber, U. M. Ascher, "Preconditioned all-at-once methods for large, sparse parameter estimation
problems", Inverse Problems 17 (2001) 1847, doi:10.1088/0266-5611/17/6/319.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from sparsesolve.gallery._fit_problem import FitProblem
from sparsesolve.gallery._problem import require_size


def calibration_residual(y: dict[str, Any], args: dict[str, Any]) -> dict[str, Any]:
    """Equation, misfit (at all points; weighted zero where nothing is observed) and roughness."""
    u, m = y["u"], y["m"]
    return {
        "equation": _flow(u, m) - args["source"],
        "misfit": args["weight"] * (u - args["observed"]),
        "rough_x": args["smoothing"] * (m[2:] - 2.0 * m[1:-1] + m[:-2]),
        "rough_y": args["smoothing"] * (m[:, 2:] - 2.0 * m[:, 1:-1] + m[:, :-2]),
    }


def coefficient_calibration(n: int, spacing: int = 2, noise: float = 0.0, seed: int = 0) -> FitProblem:
    """The conductivity of a plate from the temperatures at every `spacing`-th grid point of each direction.

    Args:
        n: inner points a side: `n^2` unknowns `u` and `(n + 2)^2` unknowns `m`.
        spacing: of the observed points.
        noise: standard deviation of the observations relative to the largest; without it the least cost is 0.
        seed: of the noise.

    Returns:
        A `FitProblem` whose `error` is the largest difference of `m` from the truth.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.coefficient_calibration(10).num_unknowns
        244
    """
    require_size("coefficient_calibration", n, 3)
    x = np.linspace(0.0, 1.0, n + 2)
    m = 2.0 * x[:, None] * x[None, :] - x[None, :]
    source = np.full((n, n), 10.0 / (n + 1) ** 2)
    u = np.asarray(spla.spsolve(_flow_matrix(np.exp(m)), source.ravel())).reshape(n, n)
    watched = np.zeros((n, n), bool)
    watched[::spacing, ::spacing] = True
    seen = u + noise * np.max(u) * np.random.default_rng(seed).standard_normal((n, n))
    truth = {"u": jnp.asarray(u), "m": jnp.asarray(m)}
    return FitProblem(
        name=f"calibration {n} x {n}",
        residual=calibration_residual,
        y0={"u": jnp.asarray(np.where(watched, seen, np.mean(seen[watched]))), "m": jnp.zeros((n + 2, n + 2))},
        args={
            "source": jnp.asarray(source),
            "observed": jnp.asarray(np.where(watched, seen, 0.0)),
            "weight": jnp.asarray(watched.astype(float)),
            "smoothing": 0.01,
        },
        error=lambda y: float(np.max(np.abs(np.asarray(y["m"]) - m))),
        description=f"-div(exp(m) grad u) = f, m from u at {np.count_nonzero(watched)} points",
        source="made from m = 2 x y - y; largest difference from it",
        cost=0.0 if noise == 0 else None,
        solution=truth,
    )


def _flow(u: Any, m: Any) -> Any:
    """`h^2 (-div(exp(m) grad u))`, the coefficient of a face the mean of `exp(m)` on both sides."""
    k, v = jnp.exp(m), jnp.pad(u, 1)
    across = 0.5 * (k[1:, 1:-1] + k[:-1, 1:-1]) * (v[1:, 1:-1] - v[:-1, 1:-1])
    along = 0.5 * (k[1:-1, 1:] + k[1:-1, :-1]) * (v[1:-1, 1:] - v[1:-1, :-1])
    return -(across[1:] - across[:-1]) - (along[:, 1:] - along[:, :-1])


def _flow_matrix(k: np.ndarray) -> Any:
    """The matrix of `_flow` in `u`, written independently on the host."""
    n = len(k) - 2
    i = np.arange(n * n).reshape(n, n)
    middle = k[1:-1, 1:-1]
    rows, cols, values, diagonal = [], [], [], np.zeros((n, n))
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        face = 0.5 * (middle + np.roll(k, -step, axis)[1:-1, 1:-1])
        diagonal += face
        here = np.roll(np.pad(np.ones((n, n), bool), 1), -step, axis)[1:-1, 1:-1]  # whether the neighbour is inside
        rows.append(i[here])
        cols.append(np.roll(i, -step, axis)[here])
        values.append(-face[here])
    pairs = (np.concatenate(rows), np.concatenate(cols))
    return sp.csc_array(
        sp.coo_array((np.concatenate(values), pairs), (n * n, n * n)) + sp.diags_array(diagonal.ravel())
    )
