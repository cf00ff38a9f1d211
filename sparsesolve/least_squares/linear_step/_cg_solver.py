"""Damped least squares without factors: conjugate gradients on the normal equations, which are never formed.

Preconditioned by the diagonal of `J^T J + diag(shift)`, in products with `J` and `J^T` only (CGLS). The solution is
inexact: the residual of the normal equations falls by a factor of a hundred, which costs Levenberg-Marquardt few of its
steps (the forcing term of a truncated Newton method).

References: M. R. Hestenes, E. Stiefel, J. Res. Nat. Bur. Standards 49 (1952) 409-436. S. J. Wright, J. N. Holt, An
inexact Levenberg-Marquardt method for large sparse nonlinear least squares, J. Aust. Math. Soc. B 26 (1985) 387-403,
doi:10.1017/S0334270000004604. Cost: two products with `J` an iteration; memory: `J` and six vectors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from sparsesolve.krylov import cg
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver, Solved
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern

_REDUCTION = 1e-2  # of the residual, for steps
_TIGHT = 1e-10  # for derivatives


class Diagonals(NamedTuple):
    """Squares of the damping, and the inverse diagonal of the damped normal equations."""

    shift: Float[Array, " n"]
    inverse: Float[Array, " n"]


class CGSolver(AbstractDampedSolver):
    """Conjugate gradients with a diagonal preconditioner."""

    name = "conjugate gradients"
    num_factorizations = 0
    nnz_factor = 0
    direct = False

    def __init__(self, pattern: SparsityPattern, max_steps: int = 5000):
        self.pattern = pattern
        self.max_steps = max_steps

    def prepare(self, data: Inexact[Array, " nnz"]) -> Inexact[Array, " nnz"]:
        return data

    def diagonal(self, prepared: Inexact[Array, " nnz"]) -> Float[Array, " n"]:
        ones = jnp.ones((self.pattern.shape[0],), prepared.dtype)
        return ones @ SparseMatrix(prepared**2, self.pattern)

    def factor(self, prepared: Inexact[Array, " nnz"], shift: Float[Array, " n"]) -> Diagonals:
        return Diagonals(shift, 1 / (self.diagonal(prepared) + shift))

    def solve(self, prepared: Inexact[Array, " nnz"], factors: Diagonals, v: Inexact[Array, " m"]) -> Solved:
        return self._iterate(prepared, factors, v @ SparseMatrix(prepared, self.pattern), _REDUCTION)

    def solve_normal(self, prepared: Inexact[Array, " nnz"], factors: Diagonals, g: Inexact[Array, " n"]) -> Solved:
        return self._iterate(prepared, factors, g, _TIGHT)

    def precondition(self, prepared: Any, factors: Diagonals, g: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        return factors.inverse * g

    def _iterate(self, prepared: Any, factors: Diagonals, g: Inexact[Array, " n"], rtol: float) -> Solved:
        matrix = SparseMatrix(prepared, self.pattern)
        # In unknowns scaled to a unit diagonal the norm of the residual is independent of their units.
        scale = jnp.sqrt(factors.inverse)

        def product(x: Array) -> Array:
            y = scale * x
            return scale * ((matrix @ y) @ matrix + factors.shift * y)

        x, info = cg(product, scale * g, rtol=rtol, max_steps=self.max_steps, window=self.max_steps)
        x = scale * x
        good = jnp.all(jnp.isfinite(x)) & ((jnp.sum(x * g) > 0) | jnp.all(g == 0))
        return Solved(x, good, info.num_steps)
