"""`AutoSparse`: the direct linear solver that looks at the pattern and chooses."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
from jaxtyping import DTypeLike

from sparsesolve.direct import AbstractDirectPlan
from sparsesolve.direct._plan import Method
from sparsesolve.linear._base import AbstractDirectSolver
from sparsesolve.linear._symmetry import Use


class AutoSparse(AbstractDirectSolver):
    """Sparse direct solution of any square lineax operator; the method follows from the sparsity pattern.

    Diagonal, block-diagonal, tridiagonal and banded matrices, tiny dense ones, and everything else by a
    multifrontal LU, or Cholesky or LDL^T where lineax tags say that the operator is definite or symmetric.
    `AutoSparse().explain(pattern)` prints the choice with its cost.

    Give it to `lx.linear_solve`, to optimistix (`optx.Newton(..., linear_solver=AutoSparse())`), or to diffrax
    (`dfx.VeryChord(..., linear_solver=AutoSparse())`): the pattern of their Jacobians is detected, the columns are
    coloured and the entries are read from a few products. Solves are refined and their true residual is checked; a
    solve that fails the check has `result` `singular`.

    Attributes:
        max_refinements: most steps of iterative refinement a solve takes.
        max_linear_iterations: most steps of GMRES, preconditioned by the factors, where refinement is not enough.
        factor_dtype: type of the factors, `jnp.float32` for half the memory; that of the matrix if not given. Solutions
            have the accuracy of the matrix all the same.
        plan: symbolic factorization pinned by `prepare`; otherwise made from the operator while tracing.

    Example:
        >>> import jax.numpy as jnp, lineax as lx
        >>> from sparsesolve.linear import AutoSparse
        >>> def residual(u, args):
        ...     return 2.0 * u - jnp.roll(u, 1) * jnp.sin(u)
        >>> u = jnp.linspace(0.0, 1.0, 5)
        >>> operator = lx.JacobianLinearOperator(residual, u)
        >>> x = lx.linear_solve(operator, jnp.ones(5), AutoSparse()).value
        >>> bool(jnp.allclose(operator.mv(x), 1.0))
        True
    """

    max_refinements: int = eqx.field(default=3, static=True)
    max_linear_iterations: int = eqx.field(default=100, static=True)
    factor_dtype: DTypeLike | None = eqx.field(default=None, static=True)
    plan: AbstractDirectPlan | None = eqx.field(default=None, static=True)
    method: ClassVar[Method] = "auto"
    use_symmetry: ClassVar[Use] = "where tagged"
