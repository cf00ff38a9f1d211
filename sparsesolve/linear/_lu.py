"""`SparseLU`: multifrontal LU as a lineax solver, whatever the pattern."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
from jaxtyping import DTypeLike

from sparsesolve.direct import AbstractDirectPlan
from sparsesolve.direct._plan import Method
from sparsesolve.linear._base import AbstractDirectSolver
from sparsesolve.linear._symmetry import Use


class SparseLU(AbstractDirectSolver):
    """Multifrontal sparse LU of any square lineax operator, never a specialised banded or diagonal method.

    The numeric factors are arrays in lineax's `state`: they survive in loop carries and serve the transposed and
    the conjugated operator.

    Attributes:
        max_refinements: most steps of iterative refinement a solve takes.
        max_linear_iterations: most steps of GMRES, preconditioned by the factors, where refinement is not enough.
        factor_dtype: type of the factors, `jnp.float32` for half the memory; that of the matrix if not given. Solutions
            have the accuracy of the matrix all the same.
        plan: symbolic factorization pinned by `prepare`; otherwise made from the operator while tracing.

    Example:
        >>> import jax.numpy as jnp, lineax as lx
        >>> from sparsesolve.linear import SparseLU
        >>> from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
        >>> A = SparseMatrix.from_dense(jnp.array([[4.0, 1.0], [2.0, 3.0]]))
        >>> lx.linear_solve(SparseLinearOperator(A), jnp.array([5.0, 5.0]), SparseLU()).value
        Array([1., 1.], dtype=float64)
    """

    max_refinements: int = eqx.field(default=3, static=True)
    max_linear_iterations: int = eqx.field(default=100, static=True)
    factor_dtype: DTypeLike | None = eqx.field(default=None, static=True)
    plan: AbstractDirectPlan | None = eqx.field(default=None, static=True)
    method: ClassVar[Method] = "multifrontal"
    use_symmetry: ClassVar[Use] = "never"
