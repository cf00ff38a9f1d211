"""Damped linear least squares for few unknowns: Householder QR, never `J^T J`.

    J = Q R   once an iterate;      [R; S] = Q' R'   for each damping.

Reference: A. Bjorck, Numerical Methods for Least Squares Problems, SIAM 1996, section 2.7.
Cost: 2 m n^2 flops an iterate, 8/3 n^3 for each damping.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float, Inexact

from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver, Solved
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern


class Triangular(NamedTuple):
    """The thin factors of `J`: `q` is `(m, k)` and `r` is `(k, n)`, `k = min(m, n)`."""

    q: Inexact[Array, "m k"]
    r: Inexact[Array, "k n"]


class DenseSolver(AbstractDampedSolver):
    """QR factorizations."""

    name = "dense QR"
    num_factorizations = 1

    def __init__(self, pattern: SparsityPattern):
        self.pattern = pattern
        m, n = pattern.shape
        self.nnz_factor = n * (n + 1) // 2 + min(m, n) * m

    def prepare(self, data: Inexact[Array, " nnz"]) -> Triangular:
        m, n = self.pattern.shape
        full = self.pattern.nnz == m * n
        dense = data.reshape(m, n) if full else SparseMatrix(data, self.pattern).todense()
        return Triangular(*jnp.linalg.qr(dense))

    def diagonal(self, prepared: Triangular) -> Float[Array, " n"]:
        return jnp.sum(prepared.r**2, axis=0)

    def factor(self, prepared: Triangular, shift: Float[Array, " n"]) -> Any:
        stacked = jnp.concatenate([prepared.r, jnp.diag(jnp.sqrt(shift))])
        return jnp.linalg.qr(stacked)

    def solve(self, prepared: Triangular, factors: Any, v: Inexact[Array, " m"]) -> Solved:
        q, r = factors
        head = q[: prepared.r.shape[0]]
        x = jsl.solve_triangular(r, head.T @ (prepared.q.T @ v))
        return Solved(x, jnp.all(jnp.isfinite(x)), jnp.asarray(0))

    def solve_normal(self, prepared: Triangular, factors: Any, g: Inexact[Array, " n"]) -> Solved:
        _, r = factors
        x = jsl.solve_triangular(r, jsl.solve_triangular(r, g, trans=1))
        return Solved(x, jnp.all(jnp.isfinite(x)), jnp.asarray(0))
