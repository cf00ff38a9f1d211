"""Cholesky and L B L^T factorizations on compiled CPU kernels: plan and index tables. Host-side; kernels in `_native`.

Ordering and fronts are found as for the LU, with a cost model of half the operations. Factors of a front are its pivot
block, packed by panels of columns, and `L`: about `k^2 / 2 + k m` entries (`_native/src/symmetric_front.h`).

Reference: I. S. Duff, J. K. Reid, The multifrontal solution of indefinite sparse symmetric linear equations, ACM Trans.
Math. Softw. 9 (1983) 302-325, doi:10.1145/356044.356047.
"""

from __future__ import annotations

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Int

from sparsesolve import _native
from sparsesolve.direct._fronts import FrontStatistics, analyze
from sparsesolve.direct._linear_solve import solve_linear
from sparsesolve.direct._memory import check_entries
from sparsesolve.direct._native_multifrontal import build_native_tables, check_front_indices
from sparsesolve.direct._scaling import on_device
from sparsesolve.direct._symmetric import AbstractSymmetricPlan, Symmetry, symmetric_graph
from sparsesolve.pattern import SparsityPattern

_PANEL = 8  # columns of a panel, kBlock in the kernels


class NativeCholeskyPlan(AbstractSymmetricPlan):
    """Symbolic factorization of one triangle, factorized and solved by compiled code on the CPU.

    Args:
        pattern: square and symmetric.
        symmetry: what is known about the matrix.
        hollow: unknowns whose diagonal entries are missing or too small for pivots, `(h,)`; only without definiteness.

    Raises:
        ValueError: the factors would not fit in memory.
    """

    backend = "native"

    def __init__(self, pattern: SparsityPattern, symmetry: Symmetry, hollow: np.ndarray):
        self.pattern, self.symmetry = pattern, symmetry
        self.kind = "cholesky" if self.definite else "ldlt"
        self.choices = (symmetry, hollow.tobytes())
        graph, order = symmetric_graph(pattern, hollow)
        fronts = analyze(graph, order, leaf=4, cost=cholesky_front_time)
        self.num_fronts, self.num_levels, self.nnz_factor, self.flops, self.time = FrontStatistics.of(
            fronts, lambda k, m: panels_size(k) + k * m, cholesky_front_flops, cholesky_front_time
        )
        check_entries(self.nnz_factor, "factors", pattern)
        k, m = fronts.pivots, fronts.border_sizes
        check_front_indices(pattern, int((k * k + k * m).max()))
        self.order = fronts.order
        self._host_tables = build_native_tables(fronts, pattern, np.arange(pattern.shape[0]), lower=True)

    @functools.cached_property
    def tables(self) -> Any:
        """The index tables as device arrays."""
        return on_device(self._host_tables)

    def factor_lower(self, data: Inexact[Array, " nnz"]) -> _native.SymmetricFactors:
        real = not jnp.issubdtype(data.dtype, jnp.complexfloating)
        return _factor(self.nnz_factor, self.tables, data, not self.definite, self.hermitian or real)

    def solve_lower(
        self, factors: _native.SymmetricFactors, rhs: Inexact[Array, " n *k"], conjugated: bool
    ) -> Inexact[Array, " n *k"]:
        if rhs.ndim == 2:
            return jax.vmap(lambda column: self.solve_lower(factors, column, conjugated), 1, 1)(rhs)
        return _solve(self.tables, factors, rhs, self.hermitian, conjugated)

    def solve_checked(
        self,
        factors: _native.SymmetricFactors | None,
        data: Array,
        rhs: Array,
        *,
        transpose: bool,
        limits: _native.Limits,
    ) -> _native.CheckedSolution | None:
        if factors is None:
            factors = cast(_native.SymmetricFactors, self.factor(data))
        if not factors.blocks.dtype == data.dtype == rhs.dtype:
            return None
        if self.symmetry == "negative":
            data, rhs = -data, -rhs
        conjugated = transpose and self.hermitian and jnp.issubdtype(data.dtype, jnp.complexfloating)
        if conjugated:  # A^T x = b is A^H conj(x) = conj(b)
            data, rhs = jnp.conj(data), jnp.conj(rhs)
        found = _solve_checked(self.tables, factors, data, rhs, self.hermitian, transpose, limits)
        return found._replace(x=jnp.conj(found.x)) if conjugated else found

    def found(self, factors: _native.SymmetricFactors) -> Int[Array, 2]:
        negative, perturbed = factors.found
        known = self.hermitian or not jnp.issubdtype(factors.blocks.dtype, jnp.complexfloating)
        return jnp.stack([negative if known else jnp.full_like(negative, -1), perturbed])


def panels_size(k: Any) -> Any:
    """Entries of a packed pivot block."""
    full, rest = k // _PANEL, k % _PANEL
    return _PANEL * (full * k - _PANEL * (full * (full - 1) // 2)) + rest * rest


def cholesky_front_flops(k: Any, m: Any) -> Any:
    """Floating-point operations of a front: Cholesky of the pivot block, a triangular solve, a symmetric product."""
    return 1.0 / 3.0 * k * k * k + 1.0 * k * k * m + 1.0 * k * m * m


def cholesky_front_time(k: Any, m: Any) -> Any:
    """Estimated nanoseconds of a front, as `native_front_time` with half the operations and half the entries."""
    entries = 0.5 * k * k + k * m
    return 100.0 + 0.5 * (entries + m * m) + 0.055 * cholesky_front_flops(k, m) + 2.0 * entries


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def _factor(nnz_factor: int, tables: Any, data: Array, pivoting: bool, hermitian: bool) -> _native.SymmetricFactors:
    return _native.factor_symmetric(tables, nnz_factor, data, pivoting=pivoting, hermitian=hermitian)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _solve(tables: Any, factors: _native.SymmetricFactors, rhs: Array, hermitian: bool, conjugated: bool) -> Array:
    """Solves in the factors' type. The transpose of a Hermitian matrix is its conjugate."""

    def solve(b: Array, transpose: bool) -> Array:
        conjugate = conjugated != (transpose and hermitian)
        x = _native.solve_symmetric(tables, factors, jnp.conj(b) if conjugate else b, hermitian=hermitian)
        return jnp.conj(x) if conjugate else x

    return solve_linear(solve, factors.blocks.dtype, rhs, False)


@functools.partial(jax.jit, static_argnums=(4, 5, 6))
def _solve_checked(
    tables: Any,
    factors: _native.SymmetricFactors,
    data: Array,
    rhs: Array,
    hermitian: bool,
    transpose: bool,
    limits: _native.Limits,
) -> _native.CheckedSolution:
    return _native.solve_symmetric_checked(tables, factors, data, rhs, hermitian, transpose, limits)
