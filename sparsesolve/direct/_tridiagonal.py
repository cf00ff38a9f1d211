"""Tridiagonal matrices: the Thomas algorithm as two scans whose multipliers are kept.

    d_i = a_ii - l_i u_{i-1},   l_i = a_{i,i-1} / d_{i-1},   u_i = a_{i,i+1}

No pivoting: safe for diagonally dominant, symmetric positive definite and M-matrices; a perturbed tiny pivot is
repaired by refinement, and `plan_direct` takes the banded method, which pivots, when sample values are not of this
kind. Reference: N. J. Higham, Accuracy and Stability of Numerical Algorithms, SIAM 2002, section 9.6.
Cost: 3n operations to factorize, 5n to solve, sequential; the same speed as LAPACK on a CPU.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Inexact, Real

from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._blockinverse import perturb
from sparsesolve.direct._scaling import LineTables, equilibrate, line_tables, on_device, pivot_threshold
from sparsesolve.pattern import SparsityPattern


class TridiagonalFactors(NamedTuple):
    """`R A C = L U`: multipliers of `L`, inverse diagonal and superdiagonal of `U`, scales `R`, `C`."""

    lower: Inexact[Array, " n"]  # lower[0] = 0
    inverse: Inexact[Array, " n"]
    upper: Inexact[Array, " n"]  # upper[n - 1] = 0
    row_scale: Real[Array, " n"]
    col_scale: Real[Array, " n"]


class _Tables(NamedTuple):
    lines: LineTables
    diagonals: np.ndarray  # (3, n) where each entry of sub-, main and superdiagonal is, nnz where not stored
    order: np.ndarray  # (n,)
    place: np.ndarray  # (n,)


class TridiagonalPlan(AbstractDirectPlan):
    """Solves a matrix that is tridiagonal in the order given."""

    kind = "tridiagonal"

    def __init__(self, pattern: SparsityPattern, order: np.ndarray):
        self.pattern = pattern
        self.order = order
        self.choices = (order.tobytes(),)
        self.nnz_factor = 3 * pattern.shape[0]
        self.flops = 4.0 * pattern.shape[0]

    @functools.cached_property
    def _tables(self) -> Any:
        return on_device(_tables(self.pattern, self.order))

    def factor(self, data: Inexact[Array, " nnz"]) -> TridiagonalFactors:
        return _factor(self._tables, data)

    def solve(
        self, factors: TridiagonalFactors, rhs: Inexact[Array, " n"], *, transpose: bool = False
    ) -> Inexact[Array, " n"]:
        return _solve(self._tables, factors, rhs, transpose)


def _tables(pattern: SparsityPattern, order: np.ndarray) -> _Tables:
    n = pattern.shape[0]
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    row, col = place[pattern.rows], place[pattern.indices]
    diagonals = np.full((3, n), pattern.nnz)
    diagonals[col - row + 1, row] = np.arange(pattern.nnz)
    return _Tables(line_tables(pattern), diagonals.astype(np.int32), order.astype(np.int32), place.astype(np.int32))


@jax.jit
def _factor(tables: _Tables, data: Array) -> TridiagonalFactors:
    scaled, row_scale, col_scale = equilibrate(tables.lines, tables.order.shape[0], data)
    tiny = pivot_threshold(scaled)
    sub, main, upper = jnp.concatenate([scaled, jnp.zeros(1, data.dtype)])[tables.diagonals]

    def step(carry: tuple[Array, Array], row: tuple[Array, Array, Array]) -> tuple[Any, Any]:
        inverse, above = carry
        a, d, u = row
        multiplier = a * inverse
        inverse = 1 / perturb(d - multiplier * above, tiny)
        return (inverse, u), (multiplier, inverse)

    zero = jnp.zeros((), data.dtype)
    _, (lower, inverse) = lax.scan(step, (zero, zero), (sub, main, upper))
    return TridiagonalFactors(lower, inverse, upper, row_scale, col_scale)


@functools.partial(jax.jit, static_argnums=3)
def _solve(tables: _Tables, factors: TridiagonalFactors, rhs: Array, transpose: bool) -> Array:
    lower, inverse, upper, before, after = factors
    one = jnp.ones_like(inverse)
    if transpose:  # A^T = U^T L^T
        b = (rhs * after)[tables.order]
        y = _sweep(_shift(upper, 1), inverse, b)
        return _sweep(_shift(lower, -1), one, y, reverse=True)[tables.place] * before
    b = (rhs * before)[tables.order]
    y = _sweep(lower, one, b)
    return _sweep(upper, inverse, y, reverse=True)[tables.place] * after


def _shift(x: Array, by: int) -> Array:
    zero = jnp.zeros(1, x.dtype)
    return jnp.concatenate([zero, x[:-1]] if by > 0 else [x[1:], zero])


def _sweep(off: Array, inverse: Array, b: Array, reverse: bool = False) -> Array:
    """`x_i = (b_i - off_i x_{i-1}) inverse_i`, or with `x_{i+1}` in reverse."""

    def step(previous: Array, row: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        a, s, r = row
        x = (r - a * previous) * s
        return x, x

    dtype = jnp.result_type(off, b)
    return lax.scan(step, jnp.zeros((), dtype), (off, inverse, b.astype(dtype)), reverse=reverse)[1]
