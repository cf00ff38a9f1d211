"""The Newton direction: `J d = -F`, by any lineax solver."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Bool, Inexact, Int

from sparsesolve.matrix import SparseLinearOperator, SparseMatrix


class Direction(eqx.Module):
    """A direction and what it took.

    Attributes:
        step: shape `(n,)`.
        finite: whether the Jacobian's entries are all finite.
        solved: whether the linear solver reported success.
        num_iterations: iterations of the linear solver (refinements of a direct one).
        nnz_factor: stored entries of the factors, 0 for a solver without any.
    """

    step: Inexact[Array, " n"]
    finite: Bool[Array, ""]
    solved: Bool[Array, ""]
    num_iterations: Int[Array, ""]
    nnz_factor: Int[Array, ""]


def newton_direction(
    solver: lx.AbstractLinearSolver, jacobian: SparseMatrix, residual: Inexact[Array, " n"]
) -> Direction:
    """Factorizes the Jacobian and solves for the Newton step."""
    operator = SparseLinearOperator(jacobian)
    state = solver.init(operator, {})
    # `compute` and not `lx.linear_solve`: gradients never pass here (see `_implicit.py`), statistics do.
    solution, result, stats = solver.compute(state, residual, {})
    iterations = stats.get("num_refinements", stats.get("num_steps", 0))
    return Direction(
        -solution,
        jnp.all(jnp.isfinite(jacobian.data)),
        (result == lx.RESULTS.successful) & jnp.all(jnp.isfinite(solution)),
        jnp.asarray(iterations, dtype=jnp.int32),
        jnp.asarray(stats.get("nnz_factor", 0), dtype=jnp.int32),
    )
