"""Stiff chemical kinetics, small systems of the classical test sets, with their published end values.

| problem | unknowns | reaction |
|---|---|---|
| `hires` | 8 | high irradiance response of photomorphogenesis (Schaefer) |
| `rober` | 3 | Robertson's three species, rates over nine decades |
| `orego` | 3 | Oregonator: Belousov-Zhabotinskii, a relaxation oscillation |
| `e5` | 3 | pyrolysis, solutions down to 1e-290 |
| `pollu` | 20 | air pollution at the Dutch institute for public health, 25 reactions |

References: F. Mazzia, C. Magherini, Test Set for Initial Value Problem Solvers, release 2.4, University of Bari (2008);
E. Hairer, G. Wanner, Solving Ordinary Differential Equations II (1996), section IV.10, doi:10.1007/978-3-642-05221-7
(end values to many digits); J. G. Verwer, "Gauss-Seidel iteration for stiff ODEs from chemical kinetics", SIAM J. Sci.
Comput. 15 (1994) 1243-1250, doi:10.1137/0915076 (POLLU).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsesolve.gallery._ode_problem import OdeProblem, error_against
from sparsesolve.gallery._problem import require_size

_TEST_SET = "test set of Bari and CWI; end values of Hairer and Wanner"

HIRES_END = (
    0.7371312573325668e-3,
    0.1442485726316185e-3,
    0.5888729740967575e-4,
    0.1175651343283149e-2,
    0.2386356198831331e-2,
    0.6238968252742796e-2,
    0.2849998395185769e-2,
    0.2850001604814231e-2,
)
ROBER_END = (0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050)
OREGO_END = (0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3)
E5_END = (0.0, 0.8861233521288e-22, 0.0)  # the first is 1e-291
POLLU_END = (
    0.5646255480022769e-1,
    0.1342484130422339,
    0.4139734331099427e-8,
    0.5523140207484359e-2,
    0.2018977262302196e-6,
    0.1464541863493966e-6,
    0.7784249118997964e-1,
    0.3245075353396018,
    0.7494013383880406e-2,
    0.1622293157301561e-7,
    0.1135863833257075e-7,
    0.2230505975721359e-2,
    0.2087162882798630e-3,
    0.1396921016840158e-4,
    0.8964884856898295e-2,
    0.4352846369330103e-17,
    0.6899219696263405e-2,
    0.1007803037365946e-3,
    0.1772146513969984e-5,
    0.5682943292316392e-4,
)
POLLU_RATES = (
    *(0.35, 26.6, 1.23e4, 8.6e-4, 8.2e-4, 1.5e4, 1.3e-4, 2.4e4, 1.65e4, 9.0e3, 0.022, 1.2e4, 1.88),
    *(1.63e4, 4.8e6, 3.5e-4, 0.0175, 1.0e8, 4.44e11, 1.24e3, 2.1, 5.78, 0.0474, 1.78e3, 3.12),
)


def hires_rhs(t: Any, y: Float[Array, " 8"], args: Any) -> Float[Array, " 8"]:
    """Eight species; `args["light"]` is the rate of the one bimolecular reaction, `args["feed"]` the source."""
    a, b, c, d, e, f, g, h = y
    bound = args["light"] * f * h
    return jnp.stack(
        [
            -1.71 * a + 0.43 * b + 8.32 * c + args["feed"],
            1.71 * a - 8.75 * b,
            -10.03 * c + 0.43 * d + 0.035 * e,
            8.32 * b + 1.71 * c - 1.12 * d,
            -1.745 * e + 0.43 * f + 0.43 * g,
            -bound + 0.69 * d + 1.71 * e - 0.43 * f + 0.69 * g,
            bound - 1.81 * g,
            -bound + 1.81 * g,
        ]
    )


def hires() -> OdeProblem:
    """HIRES: eight species of plant physiology, moderately stiff.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.hires().t1
        321.8122
    """
    return OdeProblem(
        name="HIRES",
        rhs=hires_rhs,
        t0=0.0,
        t1=321.8122,
        y0=jnp.asarray([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057]),
        args={"light": 280.0, "feed": 0.0007},
        error=error_against(HIRES_END, 1e-4),
        description="high irradiance response of morphogenesis by phytochrome, 8 species",
        source=_TEST_SET,
        scale=1e-4,
        reference=np.asarray(HIRES_END),
    )


def rober_rhs(t: Any, y: Float[Array, "*groups 3"], args: Any) -> Float[Array, "*groups 3"]:
    """Three species along the last axis; rates in `args["k1"]`, `args["k2"]`, `args["k3"]`."""
    a, b, c = y[..., 0], y[..., 1], y[..., 2]
    first, second, third = args["k1"] * a, args["k2"] * b**2, args["k3"] * b * c
    return jnp.stack([third - first, first - third - second, second], axis=-1)


def rober() -> OdeProblem:
    """ROBER: Robertson's autocatalytic reaction over eleven decades of time.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.rober().reference.shape
        (3,)
    """
    return OdeProblem(
        name="ROBER",
        rhs=rober_rhs,
        t0=0.0,
        t1=1e11,
        y0=jnp.asarray([1.0, 0.0, 0.0]),
        args={"k1": 0.04, "k2": 3e7, "k3": 1e4},
        error=error_against(ROBER_END),
        description="a' = -k1 a + k3 b c, c' = k2 b^2, b' = -a' - c'",
        source=_TEST_SET,
        scale=np.asarray([1e-8, 1e-14, 1.0]),
        reference=np.asarray(ROBER_END),
    )


def robertson_groups(groups: int, t1: float = 1e11) -> OdeProblem:
    """Robertson's reaction in independent groups, as one system with a block-diagonal Jacobian.

    Args:
        groups: `3 groups` unknowns, shape `(groups, 3)`.
        t1: end of the interval; the reference belongs to 1e11.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.robertson_groups(100).num_unknowns
        300
    """
    require_size("robertson_groups", groups, 1)
    single = rober()
    end = np.tile(np.asarray(ROBER_END), groups) if t1 == single.t1 else None
    return OdeProblem(
        name=f"Robertson x {groups}",
        rhs=rober_rhs,
        t0=0.0,
        t1=float(t1),
        y0=jnp.tile(single.y0, (groups, 1)),
        args=single.args,
        error=None if end is None else error_against(end),
        description=f"{groups} independent groups of Robertson's reaction",
        source=_TEST_SET,
        scale=np.tile(single.scale, (groups, 1)),
        reference=end,
    )


def orego_rhs(t: Any, y: Float[Array, " 3"], args: Any) -> Float[Array, " 3"]:
    """Field and Noyes' model; parameters `s`, `w`, `q`."""
    a, b, c = y
    s, w, q = args["s"], args["w"], args["q"]
    return jnp.stack([s * (b + a * (1 - q * a - b)), (c - (1 + a) * b) / s, w * (a - c)])


def orego() -> OdeProblem:
    """OREGO: the Oregonator, a stiff limit cycle.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.orego().t1
        360.0
    """
    return OdeProblem(
        name="OREGO",
        rhs=orego_rhs,
        t0=0.0,
        t1=360.0,
        y0=jnp.asarray([1.0, 2.0, 3.0]),
        args={"s": 77.27, "w": 0.161, "q": 8.375e-6},
        error=error_against(OREGO_END),
        description="a' = s (b + a (1 - q a - b)), b' = (c - (1 + a) b) / s, c' = w (a - c)",
        source=_TEST_SET,
        reference=np.asarray(OREGO_END),
    )


def e5_rhs(t: Any, y: Float[Array, " 3"], args: Any) -> Float[Array, " 3"]:
    """The first, second and fourth species; the third is `y2 - y4`."""
    a, b, d = y
    c = b - d
    split, join, pair, decay = args["A"] * a, args["B"] * a * c, args["M"] * args["C"] * b * c, args["C"] * d
    return jnp.stack([-split - join, split - pair, join - decay])


def e5() -> OdeProblem:
    """E5: a pyrolysis over thirteen decades of time, with tiny solutions.

    The published form has a fourth unknown, `y3 = y2 - y4`, which is conserved only to rounding: twelve decades below
    the largest values of both, `y2 - y3` is lost, and with it all but three digits of the end (also of the published
    one: its `y2` and `y3` should be equal, and their mean is this reference to 1.7e-7).

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.e5().t1
        10000000000000.0
    """
    return OdeProblem(
        name="E5",
        rhs=e5_rhs,
        t0=0.0,
        t1=1e13,
        y0=jnp.asarray([1.76e-3, 0.0, 0.0]),
        args={"A": 7.89e-10, "B": 1.1e7, "C": 1.13e3, "M": 1e6},
        error=error_against(E5_END, 1e-23),
        description="pyrolysis of four species, solutions between 1e-3 and 1e-290",
        source="test set of Bari and CWI, one species eliminated; SciPy's Radau at relative tolerance 1e-13",
        scale=np.asarray([1e-14, 1e-23, 1e-23]),
        reference=np.asarray(E5_END),
    )


def pollu_rhs(t: Any, y: Float[Array, " 20"], args: Any) -> Float[Array, " 20"]:
    """Twenty species, twenty-five reactions by the laws of mass action with rates `args["k"]`, shape `(25,)`."""
    k = args["k"]
    y1, y2, y3, y4, y5, y6, y7, _, y9, y10, y11, _, y13, y14, _, y16, y17, _, y19, y20 = y
    partners = (
        *(y1, y2 * y4, y5 * y2, y7, y7, y7 * y6, y9, y9 * y6, y11 * y2, y11 * y1, y13, y10 * y2, y14),
        *(y1 * y6, y3, y4, y4, y16, y16, y17 * y6, y19, y19, y1 * y4, y19 * y1, y20),
    )
    r = [None, *(k[i] * partner for i, partner in enumerate(partners))]
    return jnp.stack(
        [
            -r[1] - r[10] - r[14] - r[23] - r[24] + r[2] + r[3] + r[9] + r[11] + r[12] + r[22] + r[25],
            -r[2] - r[3] - r[9] - r[12] + r[1] + r[21],
            -r[15] + r[1] + r[17] + r[19] + r[22],
            -r[2] - r[16] - r[17] - r[23] + r[15],
            -r[3] + 2 * r[4] + r[6] + r[7] + r[13] + r[20],
            -r[6] - r[8] - r[14] - r[20] + r[3] + 2 * r[18],
            -r[4] - r[5] - r[6] + r[13],
            r[4] + r[5] + r[6] + r[7],
            -r[7] - r[8],
            -r[12] + r[7] + r[9],
            -r[9] - r[10] + r[8] + r[11],
            r[9],
            -r[11] + r[10],
            -r[13] + r[12],
            r[14],
            -r[18] - r[19] + r[16],
            -r[20],
            r[20],
            -r[21] - r[22] - r[24] + r[23] + r[25],
            -r[25] + r[24],
        ]
    )


def pollu() -> OdeProblem:
    """POLLU: the chemistry of an air pollution model, twenty species.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.pollu().num_unknowns
        20
    """
    start = np.zeros(20)
    start[[1, 3, 6, 7, 8, 16]] = 0.2, 0.04, 0.1, 0.3, 0.01, 0.007
    return OdeProblem(
        name="POLLU",
        rhs=pollu_rhs,
        t0=0.0,
        t1=60.0,
        y0=jnp.asarray(start),
        args={"k": jnp.asarray(POLLU_RATES)},
        error=error_against(POLLU_END, 1e-8),
        description="air pollution, 20 species and 25 reactions",
        source="test set of Bari and CWI (Verwer 1994)",
        scale=1e-8,
        reference=np.asarray(POLLU_END),
    )
