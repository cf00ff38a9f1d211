"""Parts of `(J^T J)^-1` of many fitted parameters, by a sparse Cholesky factorization; the inverse is never formed.

`J` is scaled to columns of length one. Few columns are solved for, refined with `J` itself. Where many entries are
wanted, and all are on the pattern of the factor (variances, blocks of parameters that meet in a residual), they come
from the selected inverse, if `J^T J` is conditioned well enough for it; from solves otherwise.

Directions that the residuals do not determine are found by inverse iteration with a block of random vectors. With an
orthonormal basis `V` of them and unit vectors `E` at as many parameters, chosen by pivoting on `V`,

    (J^T J)^+ = P G P,      G = (J^T J + E E^T)^-1,      P = I - V V^T,

so the pseudo-inverse is as cheap as the inverse (the S-transformation of geodesy, from parameters that are held to a
free network). `G E` spans the same directions, more accurately than the iteration finds them.

References: W. Baarda, S-transformations and criterion matrices, Netherlands Geodetic Commission 5 (1973). G. H. Golub,
C. F. Van Loan, Matrix Computations, 2013, section 8.2.4 (simultaneous iteration).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from sparsesolve.direct._selected import selected_inverse
from sparsesolve.least_squares.linear_step._choose_linear import choose_damped_solver
from sparsesolve.least_squares.linear_step._normal_solver import NormalSolver
from sparsesolve.least_squares.statistics._inverse_gram import Undetermined, scaled_columns
from sparsesolve.matrix import SparseMatrix

_BLOCK = 8  # vectors of the inverse iteration
_ITERATIONS = 3
_BATCH = 32  # columns solved for together
_FEW = 24  # columns that are solved for


class SparseInverse:
    """`(J^T J)^-1`, or its pseudo-inverse. Traced; `held` parameters, whose columns of `J` are zero, count as known.

    Attributes:
        lost: what `J` does not determine.
    """

    def __init__(self, matrix: SparseMatrix, held: Bool[Array, " n"], pseudo: bool):
        linear = choose_damped_solver(matrix.pattern, "cholesky")
        assert isinstance(linear, NormalSolver)
        self._linear, self._free = linear, ~held
        self._scale, scaled = scaled_columns(matrix)
        self._J = SparseMatrix(scaled, matrix.pattern)
        self._prepared = linear.prepare(scaled)
        self._held = held.astype(scaled.dtype)
        self._factor(self._held)
        self.lost = self._undetermined()
        self._null: Any = None
        if pseudo:
            units = _pivots(jnp.where(self.lost.which[None], self.lost.vectors, 0.0))
            self._factor(self._held + jnp.sum(units, axis=1))
            spanning = jnp.linalg.qr(jax.vmap(self._solve, 1, 1)(units))[0]
            self._null = jnp.where(jnp.any(units != 0, axis=0)[None], spanning, 0.0)
            self._image = jax.vmap(self._solve, 1, 1)(self._null)
            self._inner = self._null.T @ self._image

    @property
    def dtype(self) -> Any:
        """Of the entries."""
        return self._scale.dtype

    def _factor(self, known: Array) -> None:
        """Factors of `J^T J` with ones added for what is known. A shift that keeps pivots positive is taken back by
        refinement."""
        self._shift = known + 4 * jnp.finfo(known.dtype).eps
        self._factors = self._linear.factor(self._prepared, self._shift)
        self._exact = self._factors._replace(shift=known)

    def _solve(self, b: Array) -> Array:
        return self._linear.solve_normal(self._prepared, self._exact, b).x

    def _undetermined(self) -> Undetermined:
        n, dtype = self._scale.size, self._scale.dtype
        vectors = jax.random.normal(jax.random.key(0), (n, min(_BLOCK, n)), dtype)
        for _ in range(_ITERATIONS):
            # Only the directions matter: perturbed pivots of a singular matrix point into its null space.
            vectors = jax.vmap(lambda b: self._linear.plan.solve(self._factors.factors, b), 1, 1)(vectors)
            vectors = jnp.linalg.qr(vectors / jnp.max(jnp.abs(vectors), axis=0, keepdims=True))[0]
        image = jax.vmap(lambda v: self._J @ v, 1, 1)(vectors)
        image = jnp.concatenate([image, self._held[:, None] * vectors])
        _, singular, rows = jnp.linalg.svd(image, full_matrices=False)
        tolerance = jnp.asarray(10.0 * jnp.finfo(dtype).eps ** 0.5, dtype)
        return Undetermined(singular, vectors @ rows.T, tolerance)

    def columns(self, columns: np.ndarray) -> Float[Array, "k n"]:
        """The rows `columns` of the symmetric matrix."""
        return lax.map(self._column, jnp.asarray(columns, jnp.int32), batch_size=_BATCH)

    def _column(self, j: Array) -> Array:
        return self.times(jnp.zeros((self._scale.size,), self._scale.dtype).at[j].set(1.0))

    def times(self, v: Float[Array, " n"]) -> Float[Array, " n"]:
        """The product with a vector."""
        x = self._solve(self._project(v / self._scale * self._free))
        return self._project(x) / self._scale * self._free

    def _project(self, x: Array) -> Array:
        return x if self._null is None else x - self._null @ (self._null.T @ x)

    def blocks(self, blocks: np.ndarray) -> Float[Array, "b k k"]:
        """The square blocks of the parameters in each row of `blocks`, `(b, k)`."""
        rows = np.broadcast_to(blocks[:, :, None], (*blocks.shape, blocks.shape[1]))
        cols = np.swapaxes(rows, 1, 2)
        plan = selected_inverse(self._linear.plan) if blocks.size > _FEW else None
        if plan is None or (plan.positions(rows.ravel(), cols.ravel()) < 0).any():
            return self._blocks_by_solves(blocks)
        determined = jnp.where(self.lost.which, jnp.inf, self.lost.singular)
        smallest = jnp.min(jnp.where(self._null is None, self.lost.singular, determined), initial=1.0)
        eps = jnp.finfo(smallest.dtype).eps
        well = smallest**2 > eps**0.6
        return lax.cond(well, lambda: self._selected(plan, rows, cols), lambda: self._blocks_by_solves(blocks))

    def _selected(self, plan: Any, rows: np.ndarray, cols: np.ndarray) -> Array:
        if plan.plan is self._linear.plan:
            factors = self._factors.factors
        else:
            place = self._linear.gram.pattern.diagonal_positions
            factors = plan.plan.factor(self._prepared.gram.at[place].add(self._shift))
        values = plan.entries(factors, rows, cols)
        if self._null is not None:
            cross = jnp.sum(self._null[rows] * self._image[cols], -1)
            across = jnp.sum(self._image[rows] * self._null[cols], -1)
            values = values - cross - across + jnp.sum((self._null @ self._inner)[rows] * self._null[cols], -1)
        return values / self._scale[rows] / self._scale[cols] * self._free[rows] * self._free[cols]

    def _blocks_by_solves(self, blocks: np.ndarray) -> Array:
        count, k = blocks.shape
        pairs = (jnp.asarray(blocks.ravel(), jnp.int32), jnp.asarray(np.repeat(blocks, k, axis=0), jnp.int32))
        rows = lax.map(lambda pair: self._column(pair[0])[pair[1]], pairs, batch_size=_BATCH)
        return rows.reshape(count, k, k)


def _pivots(vectors: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """Unit vectors at parameters that tell the nonzero vectors apart, as many as these are; then zeros."""

    def choose(i: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, units = carry
        sizes = jnp.sum(rest**2, axis=1)
        at = jnp.argmax(sizes)
        row = rest[at] / jnp.sqrt(jnp.maximum(sizes[at], 1e-30))
        units = units.at[at, i].set(jnp.where(sizes[at] > 1e-12 / vectors.shape[0], 1.0, 0.0))
        return rest - (rest @ row)[:, None] * row[None], units

    return lax.fori_loop(0, vectors.shape[1], choose, (vectors, jnp.zeros_like(vectors)))[1]
