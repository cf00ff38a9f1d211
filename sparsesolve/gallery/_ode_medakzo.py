"""The medical Akzo Nobel problem: radio-labelled antibodies penetrate tissue infected by a tumour.

    u_t = u_xx - k u v,   v_t = -k u v   on a half line, u(t, 0) = phi(t): 2 until t = 5, then 0,

mapped to the unit interval by `zeta = x / (x + c)` and differenced on a grid of `n` points: `2 n` unknowns with a
narrow band, a moving front, and a right-hand side that jumps.

Reference: F. Mazzia, C. Magherini, Test Set for Initial Value Problem Solvers, release 2.4, University of Bari (2008).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsesolve.gallery._ode_problem import OdeProblem, error_at_probes
from sparsesolve.gallery._problem import require_size

# Both species in turn at the positions `probes(400, 24)` of the published 400 values.
END_200 = (
    0.9999999981203191,
    0.0002807993906802854,
    1.0,
    0.000203787327744006,
    0.000105288619558222,
    1.0,
    0.0003557481665387581,
    1.0,
    1.455273204279008e-08,
    0.0002156525324601176,
    1.0,
    0.0003235527293336597,
    9.968323236025642e-148,
    2.554350586347124e-18,
    0.0003169160480759169,
    1.0,
    7.740788649977312e-05,
    8.464449882759417e-148,
    1.0,
    0.0003616265691144918,
    1.0,
    6.86009563928567e-12,
    -2.501941069702609e-143,
    1.0,
)


def medical_akzo_rhs(t: Any, y: Float[Array, "n 2"], args: Any) -> Float[Array, "n 2"]:
    """Antibodies `y[:, 0]` and tumour `y[:, 1]` at `zeta = 1/n, 2/n, ..., 1`."""
    antibody, tumour = y[:, 0], y[:, 1]
    n = antibody.size
    feed = jnp.where(t <= args["switch"], args["feed"], 0.0)
    padded = jnp.concatenate([feed[None].astype(y.dtype), antibody, antibody[-1:]])
    away = jnp.asarray(np.arange(1, n + 1) / n - 1.0, y.dtype)
    drift, spread = 2 * away**3 / args["c"] ** 2, away**4 / args["c"] ** 2
    slope = (padded[2:] - padded[:-2]) * (n / 2)
    curvature = (padded[:-2] - 2 * antibody + padded[2:]) * n**2
    bound = args["k"] * antibody * tumour
    return jnp.stack([drift * slope + spread * curvature - bound, -bound], axis=-1)


def medical_akzo(n: int = 200) -> OdeProblem:
    """MEDAKZO on `n` points.

    Args:
        n: points, `2 n` unknowns; the reference is for 200.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.medical_akzo().jump_ts
        (5.0,)
    """
    require_size("medical_akzo", n, 3)
    return OdeProblem(
        name="MEDAKZO",
        rhs=medical_akzo_rhs,
        t0=0.0,
        t1=20.0,
        y0=jnp.stack([jnp.zeros(n), jnp.ones(n)], axis=-1),
        args={"k": 100.0, "c": 4.0, "feed": 2.0, "switch": 5.0},
        error=error_at_probes(END_200, 400, 0.1) if n == 200 else None,
        description=f"antibodies in tumorous tissue, 2 species on {n} points, the feed stops at t = 5",
        source="test set of Bari and CWI; accurate to 1.5e-10",
        jump_ts=(5.0,),
        scale=0.01,
        points=(np.arange(1, n + 1) / n,),
    )
