"""Damped linear least squares under linear equality constraints, some unknowns held:  saddle-point systems.

    [ J^T J + shift   A^T ] [ x  ]   [ g ]
    [ A                0  ] [ nu ] = [ c ]        for the unknowns that are not held.

Any method for damped least squares serves, on the Jacobian with the constraints' rows below it, weighted: adding
rho A^T A to the first block changes no solution, makes it regular wherever the system is, and makes all eigenvalues of
the Schur complement  A (J^T J + shift + rho A^T A)^-1 A^T  nearly 1 / rho, so that conjugate gradients find `nu` in a
few steps, also where held unknowns leave constraints that depend on each other. Rows with very many entries, which
would make the product dense, are left to the Schur complement alone. To be held is to have a huge shift.

References: G. H. Golub, C. Greif, On solving block-structured indefinite linear systems, SIAM J. Sci. Comput. 24 (2003)
2076-2092, doi:10.1137/S1064827500375096. C. Van Loan, On the method of weighting for equality-constrained least-squares
problems, SIAM J. Numer. Anal. 22 (1985) 851-864, doi:10.1137/0722051.
Cost: a factorization; a solve with its factors for each step of the conjugate gradients, and two more.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact

from sparsesolve.least_squares.linear_step._choose_linear import choose_damped_solver
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver, Solved
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern

_LONG = 200  # entries of a row from which on it is left to the Schur complement
_FILL = 4  # of the factors from which on all rows are
_HOLD = 1e20  # shift of held unknowns in units of their column (single precision: its root)
_STEPS = 200  # of conjugate gradients


class Constraints(Protocol):
    """The rows `A` of constraints, of unit norm."""

    matrix: Any

    def constant(self, dtype: Any) -> SparseMatrix: ...


class Saddle(NamedTuple):
    """What depends on `J`: its values, squared norms of its columns, weights of the constraints, the method's part."""

    data: Inexact[Array, " nnz"]
    squares: Float[Array, " n"]
    weights: Float[Array, " p"]
    base: Any


class SaddleFactors(NamedTuple):
    """Factors of the weighted first block, held unknowns, and a preconditioner of the Schur complement.

    That is zero for constraints of which all unknowns are held.
    """

    base: Any
    held: Bool[Array, " n"]
    inverse: Float[Array, " p"]


class SaddleSolution(NamedTuple):
    """Unknowns, multipliers, and whether the factors were sound."""

    x: Inexact[Array, " n"]
    nu: Inexact[Array, " p"]
    good: Bool[Array, ""]


class SaddleSolver(AbstractDampedSolver):
    """Saddle-point systems by a method for damped least squares."""

    num_factorizations = 1

    def __init__(self, pattern: SparsityPattern, constraints: Constraints, method: str):
        self.pattern, self.constraints = pattern, constraints
        rows = constraints.matrix
        lengths = np.diff(rows.indptr)
        few = method == "dense" or (method == "auto" and pattern.shape[1] <= _LONG)
        # Householder's method cannot cope with shifts of very different size.
        method = "cholesky" if few else method
        self._short = (lengths <= _LONG) | (pattern.shape[1] <= _LONG)
        self.base = choose_damped_solver(self._stacked(pattern), method)
        if not few and self._short.any():
            short, self._short = self._short, np.zeros_like(self._short)
            alone = choose_damped_solver(pattern, method)
            if self.base.nnz_factor > _FILL * alone.nnz_factor > 0:
                self.base = alone
            else:
                self._short = short
        below = rows[np.flatnonzero(self._short)]
        self._values, self._row_of = below.data, np.repeat(np.flatnonzero(self._short), np.diff(below.indptr))
        self.name = f"{self.base.name} under constraints"
        self.nnz_factor, self.direct = self.base.nnz_factor, self.base.direct
        self._squared = scipy.sparse.csr_matrix((rows.data**2, rows.indices, rows.indptr), rows.shape)

    def _stacked(self, pattern: SparsityPattern) -> SparsityPattern:
        """`J` with constraints below it."""
        below = self.constraints.matrix[np.flatnonzero(self._short)]
        indptr = np.concatenate([pattern.indptr, pattern.nnz + below.indptr[1:]])
        indices = np.concatenate([pattern.indices, below.indices])
        return SparsityPattern(indptr, indices, (pattern.shape[0] + below.shape[0], pattern.shape[1]))

    def matrix(self, dtype: Any) -> SparseMatrix:
        """`A`."""
        return self.constraints.constant(dtype)

    def prepare(self, data: Inexact[Array, " nnz"]) -> Saddle:
        ones = jnp.ones((self.pattern.shape[0],), data.dtype)
        squares = ones @ SparseMatrix(data**2, self.pattern)
        largest = jnp.max(squares, initial=0.0)
        scale = jnp.where(largest > 0, jnp.maximum(squares, jnp.finfo(data.dtype).eps * largest), 1.0)
        strength = float(jnp.finfo(data.dtype).eps) ** -0.2
        weights = jnp.where(self._short, strength / (self._squares(data.dtype) @ (1 / scale)), 0.0)
        values = jnp.asarray(self._values, data.dtype) * jnp.sqrt(weights)[self._row_of]
        return Saddle(data, squares, weights, self.base.prepare(jnp.concatenate([data, values])))

    def diagonal(self, prepared: Saddle) -> Float[Array, " n"]:
        return prepared.squares

    def factor(
        self, prepared: Saddle, shift: Float[Array, " n"], held: Bool[Array, " n"] | None = None
    ) -> SaddleFactors:
        held = jnp.zeros(shift.shape, bool) if held is None else held
        own = prepared.squares + shift
        huge = _HOLD if jnp.finfo(shift.dtype).bits == 64 else _HOLD**0.5
        factors = self.base.factor(prepared.base, jnp.where(held, huge * jnp.max(own), shift))
        reach = self._squares(shift.dtype) @ jnp.where(held, 0.0, 1 / own)
        inverse = jnp.where(reach > 0, (1 + prepared.weights * reach) / jnp.where(reach > 0, reach, 1.0), 0.0)
        return SaddleFactors(factors, held, inverse)

    def solve_saddle(
        self, prepared: Saddle, factors: SaddleFactors, g: Inexact[Array, " n"], c: Inexact[Array, " p"]
    ) -> SaddleSolution:
        """Solves the system for right-hand sides `g` and `c`; held unknowns are zero."""
        A = self.matrix(g.dtype)

        def inverse(v: Array) -> Solved:
            found = self.base.solve_normal(prepared.base, factors.base, jnp.where(factors.held, 0.0, v))
            return found._replace(x=jnp.where(factors.held, 0.0, found.x))

        # Conjugate gradients for nu; x follows nu, and A x - c is their residual.
        tiny = jnp.where(factors.inverse > 0, jnp.finfo(g.dtype).eps / factors.inverse, 0.0)
        first = inverse(g + (prepared.weights * c) @ A)
        rest = A @ first.x - c
        z = factors.inverse * rest
        rho = jnp.sum(rest * z)
        least = jnp.finfo(g.dtype).eps ** 1.8 * rho

        def going(carry: Any) -> Array:
            *_, rho, count = carry
            return (rho > least) & (count < _STEPS)

        def advance(carry: Any) -> Any:
            x, nu, rest, direction, rho, count = carry
            image = inverse(direction @ A).x
            bent = A @ image + tiny * direction
            bend = jnp.sum(direction * bent)
            length = jnp.where(bend > 0, rho / jnp.where(bend > 0, bend, 1.0), 0.0)
            x, nu, rest = x - length * image, nu + length * direction, rest - length * bent
            z = factors.inverse * rest
            new = jnp.where(bend > 0, jnp.sum(rest * z), 0.0)
            return x, nu, rest, z + new / rho * direction, new, count + 1

        start = (first.x, jnp.zeros_like(rest), rest, z, rho, 0)
        x, nu, *_ = lax.while_loop(going, advance, start)
        return SaddleSolution(x, nu, first.good & jnp.all(jnp.isfinite(nu)))

    def solve(self, prepared: Saddle, factors: SaddleFactors, v: Inexact[Array, " m"]) -> Solved:
        return self.solve_normal(prepared, factors, v @ SparseMatrix(prepared.data, self.pattern))

    def solve_normal(self, prepared: Saddle, factors: SaddleFactors, g: Inexact[Array, " n"]) -> Solved:
        zero = jnp.zeros((self.constraints.matrix.shape[0],), g.dtype)
        found = self.solve_saddle(prepared, factors, g, zero)
        return Solved(found.x, found.good & jnp.all(jnp.isfinite(found.x)), jnp.asarray(0))

    def _squares(self, dtype: Any) -> SparseMatrix:
        return SparseMatrix(jnp.asarray(self._squared.data, dtype), self.constraints.constant(dtype).pattern)
