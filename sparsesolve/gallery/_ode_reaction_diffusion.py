"""Six species that react and diffuse in time: competitive enzyme inhibition on a periodic square.

    y_t = diffusivity laplace(y) + reactions(y),      E + S <-> C -> E + P,      E + I <-> D,

with the right-hand side of `reaction_diffusion` (one implicit Euler step of the same). The totals of enzyme, substrate
and inhibitor are conserved.

References: A. Cornish-Bowden, Fundamentals of Enzyme Kinetics (2012), sections 2.3 and 6.2. The tabulated end values
are SciPy's Radau at relative tolerance 1e-11 on the same difference equations.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from sparsesolve.gallery._ode_problem import OdeProblem, error_at_probes
from sparsesolve.gallery._problem import cell_centres, require_size
from sparsesolve.gallery._reaction_diffusion import (
    DIFFUSIVITY,
    RATES,
    SPECIES,
    enzyme_start,
    reaction_diffusion_rate,
)

# At `probes(600, 18)` of the raveled species in alphabetic order.
END_10 = (
    0.10160470358172613,
    0.41182714672359916,
    2.3208802058727833e-05,
    0.10375031683618802,
    1.9604940710523666e-05,
    0.9999571993231461,
    0.40125252270364103,
    2.579842301284759e-05,
    0.10272007176151285,
    0.3888741076444392,
    0.9999571993231462,
    0.09676443600917699,
    1.929960713273322e-05,
    0.09835899808072175,
    0.4025596302123935,
    2.5016829572432276e-05,
    0.09328840484872847,
    1.914930966685705e-05,
)


def reaction_diffusion_rhs(t: Any, y: dict[str, Any], args: Any) -> dict[str, Any]:
    """Diffusion and the laws of mass action; dicts of the six species, each `(n, n)`."""
    return reaction_diffusion_rate(y, args)


def reaction_diffusion_ode(n: int) -> OdeProblem:
    """Six reacting and diffusing species until t = 5.

    Args:
        n: cells a side, `6 n^2` unknowns; end values are tabulated for 10.

    Example:
        >>> from sparsesolve import gallery
        >>> sorted(gallery.reaction_diffusion_ode(10).y0)
        ['C', 'D', 'E', 'I', 'P', 'S']
    """
    require_size("reaction_diffusion_ode", n, 3)
    x = cell_centres(n)
    start = enzyme_start(x)
    return OdeProblem(
        name="reaction-diffusion, 6 species, in time",
        rhs=reaction_diffusion_rhs,
        t0=0.0,
        t1=5.0,
        y0={name: jnp.asarray(start[name]) for name in SPECIES},
        args={**RATES, "diffusivity": dict(DIFFUSIVITY)},
        error=error_at_probes(END_10, 6 * n * n, 1e-3) if n == 10 else None,
        description=f"inhibited enzyme kinetics with diffusion, periodic, {n} x {n} cells",
        source="SciPy's Radau at relative tolerance 1e-11 on the same difference equations",
        scale=1e-3,
        points=(x, x),
    )
