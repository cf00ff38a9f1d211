"""Preconditioners: `preconditioner(matrix)` approximates the inverse of a `SparseMatrix` as a lineax operator."""

from sparsesolve.precond._amg import AMG as AMG
from sparsesolve.precond._base import (
    AbstractApplication as AbstractApplication,
    AbstractPreconditioner as AbstractPreconditioner,
    PreconditionerOperator as PreconditionerOperator,
)
from sparsesolve.precond._block_jacobi import BlockJacobi as BlockJacobi
from sparsesolve.precond._field_split import FieldSplit as FieldSplit
from sparsesolve.precond._jacobi import Jacobi as Jacobi
from sparsesolve.precond._lagged_lu import LaggedLU as LaggedLU
from sparsesolve.precond._polynomial import Chebyshev as Chebyshev
