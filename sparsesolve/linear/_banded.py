"""`Banded`: banded LU as a lineax solver, for operators whose entries stay near the diagonal."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
from jaxtyping import DTypeLike

from sparsesolve.direct import AbstractDirectPlan
from sparsesolve.direct._plan import Method
from sparsesolve.linear._base import AbstractDirectSolver
from sparsesolve.linear._symmetry import Use


class Banded(AbstractDirectSolver):
    """Banded LU of any square lineax operator, in the order of its unknowns.

    Memory and work are those of the band, so it pays for one-dimensional discretizations; `AutoSparse` chooses it
    there by itself.

    Attributes:
        max_refinements: most steps of iterative refinement a solve takes.
        max_linear_iterations: most steps of GMRES, preconditioned by the factors, where refinement is not enough.
        factor_dtype: type of the factors, `jnp.float32` for half the memory; that of the matrix if not given. Solutions
            have the accuracy of the matrix all the same.
        plan: symbolic factorization pinned by `prepare`; otherwise made from the operator while tracing.

    Example:
        >>> import jax.numpy as jnp, lineax as lx
        >>> from sparsesolve.linear import Banded
        >>> diagonals = jnp.full(4, 4.0), jnp.ones(3), jnp.ones(3)
        >>> operator = lx.TridiagonalLinearOperator(*diagonals)
        >>> x = lx.linear_solve(operator, jnp.ones(4), Banded()).value
        >>> bool(jnp.allclose(operator.mv(x), 1.0))
        True
    """

    max_refinements: int = eqx.field(default=3, static=True)
    max_linear_iterations: int = eqx.field(default=100, static=True)
    factor_dtype: DTypeLike | None = eqx.field(default=None, static=True)
    plan: AbstractDirectPlan | None = eqx.field(default=None, static=True)
    method: ClassVar[Method] = "banded"
    use_symmetry: ClassVar[Use] = "never"
