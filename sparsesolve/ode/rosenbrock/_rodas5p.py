"""`Rodas5P`: Steinebach's Rosenbrock method of order 5 with eight stages."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import lineax as lx
import numpy as np

from sparsesolve.ode.rosenbrock._rosenbrock_solver import AbstractRosenbrock, constant_mass
from sparsesolve.ode.rosenbrock._rosenbrock_tableau import RosenbrockTableau

GAMMA = 0.21193756319429014
_A = (
    (),
    (3.0,),
    (2.849394379747939, 0.45842242204463923),
    (-6.954028509809101, 2.489845061869568, -10.358996098473584),
    (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
    (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946),
)
_C = (
    (),
    (-14.155112264123755,),
    (-17.97296035885952, -2.859693295451294),
    (147.12150275711716, -1.41221402718213, 71.68940251302358),
    (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
    (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
    (
        *(30.91273214028599, -3.1208243349937974, 77.79954646070892, 34.28646028294783, -19.097331116725623),
        -28.087943162872662,
    ),
    (
        *(37.80277123390563, -3.2571969029072276, 112.26918849496327, 66.9347231244047, -40.06618937091002),
        *(-54.66780262877968, -9.48861652309627),
    ),
)
_TIMES = (0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664, 1.0, 1.0, 1.0)
_RATES = (GAMMA, -0.42387512638858027, -0.3384627126235924, 1.8046452872882734, 2.325825639765069, 0.0, 0.0, 0.0)
_H = (
    (
        *(25.948786856663858, -2.5579724845846235, 10.433815404888879, -2.3679251022685204, 0.524948541321073),
        *(1.1241088310450404, 0.4272876194431874, -0.17202221070155493),
    ),
    (
        *(-9.91568850695171, -0.9689944594115154, 3.0438037242978453, -24.495224566215796, 20.176138334709044),
        *(15.98066361424651, -6.789040303419874, -6.710236069923372),
    ),
    (
        *(11.419903575922262, 2.8879645146136994, 72.92137995996029, 80.12511834622643, -52.072871366152654),
        *(-59.78993625266729, -0.15582684282751913, 4.883087185713722),
    ),
)


def _tableau() -> RosenbrockTableau:
    a, C = np.zeros((8, 8)), np.zeros((8, 8))
    for i, row in enumerate(_A):
        a[i, : len(row)] = row
    for i in (6, 7):  # each of the last stages adds its predecessor
        a[i] = a[i - 1]
        a[i, i - 1] = 1.0
    for i, row in enumerate(_C):
        C[i, : len(row)] = row
    m = a[7].copy()
    m[7] = 1.0
    error = np.zeros(8)
    error[7] = 1.0
    h1, h2, h3 = np.asarray(_H)
    # y0 (1 - s) + s (y1 + (1 - s) (h1 + s (h2 + s h3))) in powers of s
    dense = np.stack([m + h1, h2 - h1, h3 - h2, -h3])
    return RosenbrockTableau(5, 5, GAMMA, a, C, np.asarray(_TIMES), np.asarray(_RATES), m, error, dense)


class Rodas5P(AbstractRosenbrock):
    """Rosenbrock method of order 5 with eight stages: small and medium stiff systems, `vmap`, index-1 DAEs.

    Stiffly accurate, A-stable (and L-stable), with an error estimate of order 4 and dense output of order 4; free of
    order reduction on linear parabolic problems. A step has a fixed amount of work and no iteration: one Jacobian, one
    factorization, eight evaluations of f, eight solves. Works in `diffrax.diffeqsolve` and `solve_ode`, forward and
    backward in time, with complex states and with a constant, possibly singular mass matrix.

    Attributes:
        linear_solver: any lineax solver; `None` means `AutoSparse()`.
        mass: constant matrix of `M y' = f` (`SparseMatrix`, SciPy or dense), possibly singular (index 1); `None` means
            the identity.
        sparsity: pattern of df/dy; detected when `None`.

    References:
        G. Steinebach, "Construction of Rosenbrock-Wanner method Rodas5P and numerical benchmarks within the Julia
        Differential Equations package", BIT Numer. Math. 63 (2023) 27, doi:10.1007/s10543-023-00967-x.

    Example:
        >>> import diffrax as dfx, jax.numpy as jnp
        >>> from sparsesolve.ode import Rodas5P
        >>> sol = dfx.diffeqsolve(
        ...     dfx.ODETerm(lambda t, y, args: -1000.0 * (y - jnp.cos(t))), Rodas5P(), 0.0, 3.0, None, jnp.ones(2),
        ...     stepsize_controller=dfx.PIDController(rtol=1e-6, atol=1e-8),
        ... )
        >>> bool(jnp.all(jnp.abs(sol.ys[0] - jnp.cos(3.0) - jnp.sin(3.0) / 1000) < 1e-5))
        True
    """

    linear_solver: lx.AbstractLinearSolver | None = None
    mass: Any = eqx.field(default=None, converter=constant_mass)
    sparsity: Any = None
    max_jacobian_age: int = eqx.field(static=True, default=0, init=False)
    tableau: ClassVar[RosenbrockTableau] = _tableau()
