"""Many small fits: decays `a exp(-k t) + c`, each to its own short series.

As one problem its Jacobian is block diagonal; mapped by `vmap` over the leading axis of `y0` and of `args["y"]` it is
a batch of fits of three parameters each.

Reference: P. C. Hansen, V. Pereyra, G. Scherer, Least Squares Data Fitting with Applications (2013), section 8.1.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from sparsesolve.gallery._fit_problem import FitProblem


def decay_model(t: Any, amplitude: Any, rate: Any, offset: Any) -> Any:
    """`amplitude exp(-rate t) + offset`."""
    return amplitude * jnp.exp(-rate * t) + offset


def decay_residual(y: dict[str, Any], args: dict[str, Any]) -> Any:
    """For parameters of shape `(count,)` residuals `(count, m)`, for scalar parameters `(m,)`."""
    a, k, c = (y[name][..., None] for name in ("amplitude", "rate", "offset"))
    t = jnp.reshape(args["t"], (1,) * (a.ndim - 1) + (-1,))
    return decay_model(t, a, k, c) - args["y"]


def exponential_fits(count: int, points: int = 24, noise: float = 0.0, seed: int = 0) -> FitProblem:
    """`count` independent fits of an exponential decay to `points` observations each.

    Args:
        count: number of fits, `3 count` unknowns.
        points: observations of each; at least 4.
        noise: standard deviation of the observations. Without it the least cost is 0, at `solution`.
        seed: of parameters and noise.

    Raises:
        ValueError: too few points.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.exponential_fits(1000).num_unknowns
        3000
    """
    if points < 4:
        raise ValueError(f"exponential_fits got points={points}, too few for three parameters; write points=4 or more.")
    rng = np.random.default_rng(seed)
    truth = {
        "amplitude": rng.uniform(0.5, 5.0, count),
        "rate": np.exp(rng.uniform(np.log(0.3), np.log(5.0), count)),
        "offset": rng.uniform(-1.0, 1.0, count),
    }
    t = jnp.asarray(np.linspace(0.0, 3.0, points))
    exact = {key: jnp.asarray(value) for key, value in truth.items()}
    clean = decay_residual(exact, {"t": t, "y": 0.0})
    return FitProblem(
        name=f"{count} decays",
        residual=decay_residual,
        y0={"amplitude": jnp.ones(count), "rate": jnp.ones(count), "offset": jnp.zeros(count)},
        args={"t": t, "y": clean + noise * rng.standard_normal((count, points))},
        error=lambda y: max(float(np.max(np.abs(np.asarray(y[key]) - truth[key]))) for key in truth),
        description=f"a exp(-k t) + c fitted to {points} observations each",
        source="made from known parameters; largest difference from them",
        cost=noise**2 * count * (points - 3),
        solution=exact,
        model=decay_model,
    )
