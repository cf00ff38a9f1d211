"""`SparseCholesky`: Cholesky and LDL^T as a lineax solver, for symmetric and Hermitian matrices."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
from jaxtyping import DTypeLike

from sparsesolve.direct import AbstractDirectPlan
from sparsesolve.direct._plan import Method
from sparsesolve.linear._base import AbstractDirectSolver
from sparsesolve.linear._symmetry import Use


class SparseCholesky(AbstractDirectSolver):
    """Sparse factorization of one triangle of a lineax operator: about half the work and memory of `SparseLU`.

    The operator's tags say which: `lx.positive_semidefinite_tag` and `lx.negative_semidefinite_tag` (Hermitian) get a
    Cholesky factorization `L L^H`, `lx.symmetric_tag` (`A = A^T`) an `L D L^T` with pivots of one and two, which takes
    indefinite matrices such as saddle points. Without a tag the matrix is taken to be positive definite. The operator
    has both triangles; one is factorized, the other serves the check of the residual. So a matrix that is not symmetric
    is told by the result and never gives a wrong solution silently.

    A matrix that is not definite as promised has result `singular` and a finite `value`. `stats` says
    `positive_definite` (or `negative_definite`), for `L D L^T` `num_negative_pivots`, which is the number of negative
    eigenvalues (-1 where it is not known: complex symmetric matrices, and plain JAX instead of compiled kernels), and
    `num_perturbed_pivots`: those that vanished within rounding.

    Attributes:
        max_refinements: most steps of iterative refinement a solve takes.
        max_linear_iterations: most steps of GMRES, preconditioned by the factors, where refinement is not enough.
        factor_dtype: type of the factors, `jnp.float32` for half the memory; that of the matrix if not given. Solutions
            have the accuracy of the matrix all the same.
        plan: symbolic factorization pinned by `prepare`; otherwise made from the operator while tracing.

    Example:
        >>> import jax.numpy as jnp, lineax as lx
        >>> from sparsesolve.linear import SparseCholesky
        >>> from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
        >>> A = SparseMatrix.from_dense(jnp.array([[4.0, 1.0], [1.0, 3.0]]))
        >>> operator = SparseLinearOperator(A, lx.positive_semidefinite_tag)
        >>> solution = lx.linear_solve(operator, jnp.array([5.0, 4.0]), SparseCholesky())
        >>> solution.value, bool(solution.stats["positive_definite"])
        (Array([1., 1.], dtype=float64), True)
    """

    max_refinements: int = eqx.field(default=3, static=True)
    max_linear_iterations: int = eqx.field(default=100, static=True)
    factor_dtype: DTypeLike | None = eqx.field(default=None, static=True)
    plan: AbstractDirectPlan | None = eqx.field(default=None, static=True)
    method: ClassVar[Method] = "multifrontal"
    use_symmetry: ClassVar[Use] = "always"
