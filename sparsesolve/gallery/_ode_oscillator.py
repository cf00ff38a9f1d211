"""Van der Pol's oscillator in the two scalings of the test sets: slow arcs and steep jumps between them.

References: B. van der Pol, Phil. Mag. 2 (1926) 978-992, doi:10.1080/14786442608564127; E. Hairer, G. Wanner, Solving
Ordinary Differential Equations II (1996), section IV.10, doi:10.1007/978-3-642-05221-7 (end values).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsesolve.gallery._ode_problem import OdeProblem, error_against

END = (0.1706167732170483e1, -0.8928097010247975)
END_UNSCALED = (0.1706167732170469e1, -0.8928097010248125e-3)


def van_der_pol_rhs(t: Any, y: Float[Array, " 2"], args: Any) -> Float[Array, " 2"]:
    """Position and velocity: `y1' = y2, y2' = rate (damping (1 - y1^2) y2 - y1)`."""
    position, velocity = y
    force = (1 - position**2) * velocity * args["damping"] - position
    return jnp.stack([velocity, force * args["rate"]])


def van_der_pol(scaled: bool = True) -> OdeProblem:
    """VDPOL: `eps y'' = (1 - y^2) y' - y`.

    Args:
        scaled: `eps = 1e-6` on [0, 2]; otherwise time in units of the other scaling, `y'' = 1000 (1 - y^2) y' - y` on
            [0, 2000]: the same curve.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.van_der_pol().num_unknowns
        2
    """
    end = END if scaled else END_UNSCALED
    return OdeProblem(
        name="VDPOL" if scaled else "VDPOL mu=1000",
        rhs=van_der_pol_rhs,
        t0=0.0,
        t1=2.0 if scaled else 2000.0,
        y0=jnp.asarray([2.0, 0.0]),
        args={"damping": 1.0, "rate": 1e6} if scaled else {"damping": 1000.0, "rate": 1.0},
        error=error_against(end),
        description="1e-6 y'' = (1 - y^2) y' - y" if scaled else "y'' = 1000 (1 - y^2) y' - y",
        source="test set of Bari and CWI; end values of Hairer and Wanner",
        scale=1.0 if scaled else np.asarray([1.0, 1e-3]),
        reference=np.asarray(end),
    )
