"""Nonlinear equations, stiff ODEs and least squares for plain JAX functions on sparse Jacobians, all inside `jit`.

Write a residual or a right-hand side as a plain function of a pytree; sparsity, colouring, symbolic factorization and
solver choice happen by themselves. See the README for a first example and `python -m sparsesolve` for a demonstration.
"""

from sparsesolve import gallery as gallery
from sparsesolve._cache import clear_caches as clear_caches
from sparsesolve._xla import mend_sums
from sparsesolve.coloring import check_coloring as check_coloring, color as color
from sparsesolve.ensemble import solve_ensemble as solve_ensemble
from sparsesolve.jacobian import hessian as hessian, jacobian as jacobian
from sparsesolve.least_squares import (
    SE2 as SE2,
    SE3 as SE3,
    SO2 as SO2,
    SO3 as SO3,
    Dogleg as Dogleg,
    GaussNewton as GaussNewton,
    LevenbergMarquardt as LevenbergMarquardt,
    Loss as Loss,
    ProductManifold as ProductManifold,
    covariance as covariance,
    curve_fit as curve_fit,
    graduated_non_convexity as graduated_non_convexity,
    least_squares as least_squares,
    standard_errors as standard_errors,
)
from sparsesolve.linear import (
    CG as CG,
    GMRES as GMRES,
    IDR as IDR,
    AutoSparse as AutoSparse,
    Banded as Banded,
    BiCGStab as BiCGStab,
    SparseCholesky as SparseCholesky,
    SparseLU as SparseLU,
)
from sparsesolve.matrix import SparseLinearOperator as SparseLinearOperator, SparseMatrix as SparseMatrix
from sparsesolve.nonlinear import Newton as Newton, root_find as root_find
from sparsesolve.ode import (
    BDF as BDF,
    TRBDF2 as TRBDF2,
    DiscreteAdjoint as DiscreteAdjoint,
    KenCarp47 as KenCarp47,
    Kvaerno5 as Kvaerno5,
    RadauIIA5 as RadauIIA5,
    Rodas5P as Rodas5P,
    Rosenbrock23 as Rosenbrock23,
    StageNewton as StageNewton,
    solve_ode as solve_ode,
)
from sparsesolve.pattern import (
    SparsityPattern as SparsityPattern,
    detect_sparsity as detect_sparsity,
    register_sparsity_rule as register_sparsity_rule,
)
from sparsesolve.precond import (
    AMG as AMG,
    BlockJacobi as BlockJacobi,
    Chebyshev as Chebyshev,
    FieldSplit as FieldSplit,
    Jacobi as Jacobi,
    LaggedLU as LaggedLU,
)

__all__ = [
    "AMG",
    "BDF",
    "CG",
    "GMRES",
    "IDR",
    "SE2",
    "SE3",
    "SO2",
    "SO3",
    "TRBDF2",
    "AutoSparse",
    "Banded",
    "BiCGStab",
    "BlockJacobi",
    "Chebyshev",
    "DiscreteAdjoint",
    "Dogleg",
    "FieldSplit",
    "GaussNewton",
    "Jacobi",
    "KenCarp47",
    "Kvaerno5",
    "LaggedLU",
    "LevenbergMarquardt",
    "Loss",
    "Newton",
    "ProductManifold",
    "RadauIIA5",
    "Rodas5P",
    "Rosenbrock23",
    "SparseCholesky",
    "SparseLU",
    "SparseLinearOperator",
    "SparseMatrix",
    "SparsityPattern",
    "StageNewton",
    "check_coloring",
    "clear_caches",
    "color",
    "covariance",
    "curve_fit",
    "detect_sparsity",
    "gallery",
    "graduated_non_convexity",
    "hessian",
    "jacobian",
    "least_squares",
    "register_sparsity_rule",
    "root_find",
    "solve_ensemble",
    "solve_ode",
    "standard_errors",
]

mend_sums()
