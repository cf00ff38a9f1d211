"""Six species that react and diffuse: one implicit Euler step of competitive enzyme inhibition on a periodic square.

    E + S <-> C -> E + P,      E + I <-> D,      laws of mass action, each species with its own diffusivity:
    (y - y_old) / dt = diffusivity laplace(y) + reactions(y).

Cell-centred 5-point differences on an `n x n` grid, each equation times dt. Whatever the values, the step conserves
the totals of enzyme `E + C + D`, substrate `S + C + P` and inhibitor `I + D`, on every grid, exactly.

Reference: A. Cornish-Bowden, Fundamentals of Enzyme Kinetics (2012), sections 2.3 and 6.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from sparsesolve.gallery._brusselator import periodic_laplacian
from sparsesolve.gallery._problem import Problem, cell_centres, require_size

SPECIES = ("C", "D", "E", "I", "P", "S")
CONSERVED = (("E", "C", "D"), ("S", "C", "P"), ("I", "D"))
RATES = {"bind": 30.0, "unbind": 1.0, "catalyse": 5.0, "inhibit": 20.0, "release": 0.5}
DIFFUSIVITY = {"C": 0.002, "D": 0.002, "E": 0.003, "I": 0.01, "P": 0.02, "S": 0.02}


def reaction_diffusion_rate(y: dict[str, Any], args: Any) -> dict[str, Any]:
    """`diffusivity laplace(y) + reactions(y)`; dicts of the six species, each `(n, n)`."""
    n = y["E"].shape[0]
    binding = args["bind"] * y["E"] * y["S"] - args["unbind"] * y["C"]
    catalysis = args["catalyse"] * y["C"]
    inhibition = args["inhibit"] * y["E"] * y["I"] - args["release"] * y["D"]
    reactions = {
        "C": binding - catalysis,
        "D": inhibition,
        "E": catalysis - binding - inhibition,
        "I": -inhibition,
        "P": catalysis,
        "S": -binding,
    }
    return {name: args["diffusivity"][name] * n**2 * periodic_laplacian(y[name]) + reactions[name] for name in SPECIES}


def reaction_diffusion_residual(y: dict[str, Any], args: Any) -> dict[str, Any]:
    """`y - y_old - dt (diffusivity laplace(y) + reactions(y))`; dicts of the six species, each `(n, n)`."""
    rate = reaction_diffusion_rate(y, args)
    return {name: y[name] - args["previous"][name] - args["dt"] * rate[name] for name in SPECIES}


def reaction_diffusion(n: int, dt: float = 0.1) -> Problem:
    """One implicit Euler step of six reacting and diffusing species.

    Args:
        n: cells a side, `6 n^2` unknowns.
        dt: the step.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.reaction_diffusion(10).num_unknowns
        600
    """
    require_size("reaction_diffusion", n, 3)
    x = cell_centres(n)
    previous = enzyme_start(x)
    error = change_of_totals(previous)
    arrays = {name: jnp.asarray(previous[name]) for name in SPECIES}
    return Problem(
        name="reaction-diffusion, 6 species",
        residual=reaction_diffusion_residual,
        y0=arrays,
        args={**RATES, "dt": float(dt), "diffusivity": dict(DIFFUSIVITY), "previous": arrays},
        error=error,
        description=f"an implicit Euler step of {dt:g} of inhibited enzyme kinetics with diffusion, periodic",
        reference="totals of enzyme, substrate and inhibitor are conserved exactly; largest relative change",
        points=(x, x),
    )


def change_of_totals(start: dict[str, np.ndarray]) -> Callable[[Any], float]:
    """`error(y)`: largest relative violation of the three conservation laws."""
    totals = [sum(float(start[name].sum()) for name in names) for names in CONSERVED]

    def error(y: Any) -> float:
        now = [sum(float(np.sum(np.asarray(y[name]))) for name in names) for names in CONSERVED]
        return max(abs(a / b - 1) for a, b in zip(now, totals, strict=True))

    return error


def enzyme_start(x: np.ndarray) -> dict[str, np.ndarray]:
    """Substrate on the left, enzyme everywhere, inhibitor in two waves across; no complexes, no product."""
    n = x.size
    ones, zeros = np.ones((n, n)), np.zeros((n, n))
    left = 0.5 * (1 + np.cos(2 * np.pi * x))
    waves = 0.5 * (1 + np.sin(4 * np.pi * x))
    return {
        "C": zeros,
        "D": zeros,
        "E": 0.5 * ones,
        "I": waves[None, :] * ones,
        "P": zeros,
        "S": 2.0 * left[:, None] * ones,
    }
