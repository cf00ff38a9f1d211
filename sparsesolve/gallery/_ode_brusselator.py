"""The Brusselator with diffusion in time, in the form of the SciML benchmarks.

    u_t = B + u^2 v - (A + 1) u + alpha laplace(u) + f(x, y, t)
    v_t = A u - u^2 v + alpha laplace(v)

on the periodic unit square with 5-point differences on the points `linspace(0, 1, n)` (both ends are points, spacing
1 / (n - 1)), `A = 3.4, B = 1, alpha = 10`; the feed `f` is 5 inside the disk `(x - 0.3)^2 + (y - 0.6)^2 <= 0.01` from
t = 1.1 on.

References: the end values are CVODE's at tolerances 1e-11 (n = 32) and 1e-9 (n = 100), restarted at the jump;
C. Rackauckas, Q. Nie, J. Open Res. Softw. 5 (2017) 15, doi:10.5334/jors.151; E. Hairer, G. Wanner, Solving Ordinary
Differential Equations II (1996), section IV.10.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from sparsesolve.gallery._brusselator import periodic_laplacian
from sparsesolve.gallery._ode_problem import OdeProblem, error_at_probes
from sparsesolve.gallery._problem import require_size

# At `probes(2 n^2, 16)` of the raveled fields, u before v.
END = {
    32: (
        2.300168763086733,
        3.2724368575646543,
        2.3002322862771556,
        3.2722543044561996,
        3.273750489663288,
        2.3002157866396393,
        3.2724553559049574,
        2.300241395057361,
        2.3002409197788776,
        3.2761471399027924,
        2.3002551557105964,
        3.2725669736024368,
        3.2724535598884152,
        2.3001862346502406,
        3.2727546012140394,
        2.3002510817497432,
    ),
    100: (
        1.2599024911411636,
        4.039257136589691,
        1.259946207612389,
        4.03932637145057,
        4.039239438467426,
        1.2599082303455427,
        4.038996944480698,
        1.2599482652048695,
        1.259921509384,
        4.039249784415137,
        1.2599310161653623,
        4.038939945725504,
        4.039398784533266,
        1.2599061834699488,
        4.03902977499934,
        1.2599431576857463,
    ),
}


def brusselator_rhs(t: Any, y: dict[str, Any], args: Any) -> dict[str, Any]:
    """Both equations; `y` and the result are dicts of `u` and `v`, each of shape `(n, n)`."""
    u, v = y["u"], y["v"]
    n = u.shape[0]
    diffusion = args["alpha"] * (n - 1) ** 2
    autocatalysis = u**2 * v
    feed = jnp.where(t >= args["switch"], 1.0, 0.0) * args["forcing"]
    return {
        "u": args["B"] + autocatalysis - (args["A"] + 1.0) * u + diffusion * periodic_laplacian(u) + feed,
        "v": args["A"] * u - autocatalysis + diffusion * periodic_laplacian(v),
    }


def brusselator_ode(n: int, alpha: float = 10.0) -> OdeProblem:
    """The 2-D Brusselator until t = 11.5, fed inside a disk from t = 1.1 on.

    Args:
        n: points a side, `2 n^2` unknowns; end values are tabulated for 32 and 100.
        alpha: diffusivity; the tabulated values belong to 10.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.brusselator_ode(32).num_unknowns
        2048
    """
    require_size("brusselator_ode", n, 3)
    x = np.linspace(0.0, 1.0, n)
    disk = (x[:, None] - 0.3) ** 2 + (x[None, :] - 0.6) ** 2 <= 0.01
    bump = (x * (1 - x)) ** 1.5
    known = n in END and alpha == 10.0
    return OdeProblem(
        name="brusselator 2-D in time",
        rhs=brusselator_rhs,
        t0=0.0,
        t1=11.5,
        y0={
            "u": jnp.asarray(np.broadcast_to(22 * bump[None, :], (n, n))),
            "v": jnp.asarray(np.broadcast_to(27 * bump[:, None], (n, n))),
        },
        args={"A": 3.4, "B": 1.0, "alpha": float(alpha), "forcing": jnp.asarray(5.0 * disk), "switch": 1.1},
        error=error_at_probes(END[n], 2 * n * n, 1.0) if known else None,
        description=f"Brusselator on {n} x {n} points, alpha = {alpha:g}, feed inside a disk from t = 1.1 on",
        source="SciML benchmarks; CVODE at tight tolerances",
        jump_ts=(1.1,),
        scale=0.01,
        points=(x, x),
    )
