"""Two differential-algebraic systems of index 1, `M dy/dt = f(t, y)` with a constant singular mass matrix.

`transistor_amplifier` has a matrix of rank 5 whose capacitors couple neighbouring nodes; `chemical_akzo` has a diagonal
one with a single zero.

Reference: F. Mazzia, C. Magherini, Test Set for Initial Value Problem Solvers, release 2.4, University of Bari (2008);
E. Hairer, C. Lubich, M. Roche, The Numerical Solution of Differential-Algebraic Systems by Runge-Kutta Methods (1989),
doi:10.1007/BFb0093947 (the amplifier).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsesolve.gallery._ode_problem import OdeProblem, error_against

_TEST_SET = "test set of Bari and CWI"

TRANSISTOR_END = (
    -0.5562145012262709e-2,
    0.3006522471903042e1,
    0.2849958788608128e1,
    0.2926422536206241e1,
    0.2704617865010554e1,
    0.2761837778393145e1,
    0.4770927631616772e1,
    0.1236995868091548e1,
)
CHEMICAL_AKZO_END = (
    0.1150794920661702,
    0.1203831471567715e-2,
    0.1611562887407974,
    0.3656156421249283e-3,
    0.1708010885264404e-1,
    0.4873531310307455e-2,
)


def transistor_amplifier_rhs(t: Any, y: Float[Array, " 8"], args: Any) -> Float[Array, " 8"]:
    """Kirchhoff's current law at the eight nodes, with `args["amplitude"]` of the signal fed in."""
    operating, alpha, r0, r = args["operating"], args["alpha"], args["r0"], args["r"]
    signal = args["amplitude"] * jnp.sin(200.0 * jnp.pi * t)

    def current(voltage: Any) -> Any:
        return args["beta"] * jnp.expm1(voltage / args["thermal"])

    first, second = current(y[1] - y[2]), current(y[4] - y[5])
    return jnp.stack(
        [
            (y[0] - signal) / r0,
            (2 * y[1] - operating) / r + (1 - alpha) * first,
            y[2] / r - first,
            (y[3] - operating) / r + alpha * first,
            (2 * y[4] - operating) / r + (1 - alpha) * second,
            y[5] / r - second,
            (y[6] - operating) / r + alpha * second,
            y[7] / r,
        ]
    )


def transistor_amplifier() -> OdeProblem:
    """A two-stage transistor amplifier driven by a sine of 100 Hz: eight node voltages, five capacitors.

    Example:
        >>> from sparsesolve import gallery
        >>> import numpy as np
        >>> int(np.linalg.matrix_rank(gallery.transistor_amplifier().mass))
        5
    """
    mass = np.zeros((8, 8))
    for capacity, (a, b) in zip((1e-6, 3e-6, 5e-6), ((0, 1), (3, 4), (6, 7)), strict=True):
        mass[[a, b], [a, b]] = -capacity
        mass[[a, b], [b, a]] = capacity
    mass[[2, 5], [2, 5]] = -2e-6, -4e-6
    operating = 6.0
    return OdeProblem(
        name="transistor amplifier",
        rhs=transistor_amplifier_rhs,
        t0=0.0,
        t1=0.2,
        y0=jnp.asarray([0.0, 0.5, 0.5, 1.0, 0.5, 0.5, 1.0, 0.0]) * operating,
        args={
            "operating": operating,
            "thermal": 0.026,
            "alpha": 0.99,
            "beta": 1e-6,
            "r0": 1000.0,
            "r": 9000.0,
            "amplitude": 0.1,
        },
        error=error_against(TRANSISTOR_END, 1.0),
        description="two-stage transistor amplifier, index 1, mass matrix of rank 5",
        source=_TEST_SET,
        mass=mass,
        scale=0.01,
        reference=np.asarray(TRANSISTOR_END),
    )


def chemical_akzo_rhs(t: Any, y: Float[Array, " 6"], args: Any) -> Float[Array, " 6"]:
    """Five reactions with carbon dioxide blown in, and the equilibrium of a complex as the last equation."""
    a, b, c, d, e, f = y
    k1, k2, k3, k4 = args["k"]
    r1, r2, r3 = k1 * a**4 * jnp.sqrt(b), k2 * c * d, k2 / args["K"] * a * e
    r4, r5 = k3 * a * d**2, k4 * f**2 * jnp.sqrt(b)
    inflow = args["transfer"] * (args["pressure"] / args["henry"] - b)
    return jnp.stack(
        [
            -2 * r1 + r2 - r3 - r4,
            -0.5 * r1 - r4 - 0.5 * r5 + inflow,
            r1 - r2 + r3,
            -r2 + r3 - 2 * r4,
            r2 - r3 + r5,
            args["equilibrium"] * a * d - f,
        ]
    )


def chemical_akzo() -> OdeProblem:
    """The chemical Akzo Nobel problem: two species mixed while carbon dioxide is added.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.chemical_akzo().t1
        180.0
    """
    equilibrium = 115.83
    return OdeProblem(
        name="chemical Akzo Nobel",
        rhs=chemical_akzo_rhs,
        t0=0.0,
        t1=180.0,
        y0=jnp.asarray([0.444, 0.00123, 0.0, 0.007, 0.0, equilibrium * 0.444 * 0.007]),
        args={
            "k": jnp.asarray([18.7, 0.58, 0.09, 0.42]),
            "K": 34.4,
            "transfer": 3.3,
            "pressure": 0.9,
            "henry": 737.0,
            "equilibrium": equilibrium,
        },
        error=error_against(CHEMICAL_AKZO_END, 1e-3),
        description="five reactions and an equilibrium, index 1",
        source=_TEST_SET,
        mass=np.diag([1.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
        scale=1e-3,
        reference=np.asarray(CHEMICAL_AKZO_END),
    )
