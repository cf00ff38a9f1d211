"""Dense LU with partial pivoting, for tiny or nearly full matrices. Cost: `2/3 n^3`, `2 n^2` a solve."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Inexact, Int, Real

from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._blockinverse import perturb
from sparsesolve.direct._scaling import equilibrate, line_tables, on_device, pivot_threshold
from sparsesolve.pattern import SparsityPattern


class DenseFactors(NamedTuple):
    """`P (R A C) = L U` with row and column scales `R`, `C`."""

    lu: Inexact[Array, "n n"]
    order: Int[Array, " n"]
    row_scale: Real[Array, " n"]
    col_scale: Real[Array, " n"]


class DensePlan(AbstractDirectPlan):
    """Solves through one dense LU factorization."""

    kind = "dense"
    choices = ()

    def __init__(self, pattern: SparsityPattern):
        self.pattern = pattern
        n = pattern.shape[0]
        self.nnz_factor = n * n
        self.flops = 2.0 * n**3 / 3.0

    @functools.cached_property
    def _tables(self):
        return on_device(line_tables(self.pattern))

    def factor(self, data: Inexact[Array, " nnz"]) -> DenseFactors:
        return _factor(self._tables, self.pattern.shape[0], data)

    def solve(
        self, factors: DenseFactors, rhs: Inexact[Array, " n"], *, transpose: bool = False
    ) -> Inexact[Array, " n"]:
        return _solve(factors, rhs, transpose)


@functools.partial(jax.jit, static_argnums=1)
def _factor(tables, n: int, data: Array) -> DenseFactors:
    scaled, row_scale, col_scale = equilibrate(tables, n, data)
    dense = jnp.zeros((n, n), data.dtype).at[tables.rows, tables.cols].set(scaled)
    lu, _, order = lax.linalg.lu(dense)
    diagonal = perturb(jnp.diagonal(lu), pivot_threshold(scaled) * np.sqrt(np.finfo(lu.dtype).eps))
    lu = jnp.where(jnp.eye(n, dtype=bool), diagonal[:, None], lu)
    return DenseFactors(lu, order, row_scale, col_scale)


@functools.partial(jax.jit, static_argnums=2)
def _solve(factors: DenseFactors, rhs: Array, transpose: bool) -> Array:
    triangular = functools.partial(lax.linalg.triangular_solve, factors.lu, left_side=True)
    if not transpose:
        x = (rhs * factors.row_scale)[factors.order][:, None]
        x = triangular(triangular(x, lower=True, unit_diagonal=True), lower=False)
        return x[:, 0] * factors.col_scale
    x = (rhs * factors.col_scale)[:, None]
    x = triangular(x, lower=False, transpose_a=True)
    x = triangular(x, lower=True, unit_diagonal=True, transpose_a=True)[:, 0]
    return jnp.zeros_like(x).at[factors.order].set(x) * factors.row_scale
