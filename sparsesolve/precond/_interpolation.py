"""The smoothed interpolation of one level: planned from strength and aggregates, its values computed inside `jit`.

The tentative `T` is constant on every aggregate. One damped Jacobi step with the filtered matrix `A_F` (weak entries
lumped into the diagonal `D_F`) smooths it:

    P = (I - omega D_F^-1 A_F) T,    omega = 4 / (3 lambda_max(D_F^-1 A_F)),

and for the restriction the same with `A^T`: `R^T = (I - omega D_F^-1 A_F^T) T`, so that `R = P^T` for a symmetric
matrix. As `T` holds nothing but ones, `A_F T` is a sum of entries of `A` over static maps.
P. Vanek, J. Mandel, M. Brezina, Computing 56 (1996) 179-196, doi:10.1007/BF02238511; for nonsymmetric matrices
M. Sala, R. S. Tuminaro, A new Petrov-Galerkin smoothed aggregation preconditioner for nonsymmetric linear systems,
SIAM J. Sci. Comput. 31 (2008) 143-166, doi:10.1137/060659545.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Real

from sparsesolve.pattern import SparsityPattern
from sparsesolve.precond._galerkin import positions
from sparsesolve.precond._strength import STRONG, WEAK
from sparsesolve.precond._sums import plan_sums, sum_products

DAMPING = 4 / 3
_SMALLEST = 0.2  # a diagonal that loses more than this to weak entries stays as it is


class InterpolationTables(NamedTuple):
    """The index tables. `kinds` is empty where every entry is strong, `lump` where none is weak."""

    gather: Any
    rows: Any  # row of each entry of P
    tentative: Any  # whether it is an entry of T, int8
    lump: Any
    kinds: Any  # of the entries of A


def plan_interpolation(
    pattern: SparsityPattern, kinds: np.ndarray, labels: np.ndarray, count: int
) -> tuple[SparsityPattern, InterpolationTables]:
    """Pattern and tables of the interpolation.

    Args:
        pattern: of `A`, symmetric with the whole diagonal.
        kinds: of its entries.
        labels: aggregate of each unknown, -1 for those that no coarse unknown stands for.
        count: number of aggregates.
    """
    n = pattern.shape[0]
    labels_of = labels[pattern.indices]
    # An unknown without an aggregate is solved by smoothing alone: its row of P stays empty.
    used = np.flatnonzero((kinds >= STRONG) & (labels_of >= 0) & (labels[pattern.rows] >= 0))
    rows, cols = pattern.rows[used], labels_of[used]
    interpolation = SparsityPattern.from_coo(rows, cols, (n, count))
    target = positions(interpolation, rows, cols)
    gather = plan_sums(target, interpolation.nnz, used, holes=pattern.nnz)
    weak = np.flatnonzero(kinds == WEAK)
    lump = plan_sums(pattern.rows[weak], n, weak, holes=pattern.nnz) if weak.size else ()
    tentative = labels[interpolation.rows] == interpolation.indices
    filtered = kinds if (kinds < STRONG).any() else ()
    return interpolation, InterpolationTables(gather, interpolation.rows, tentative.astype(np.int8), lump, filtered)


def filter_entries(
    tables: InterpolationTables,
    diagonal_positions: Any,
    a: Inexact[Array, " nnz"],
) -> tuple[Inexact[Array, " nnz"], Inexact[Array, " n"]]:
    """Values of the filtered matrix on the pattern of `A`, and its diagonal. Traced, linear but for the safeguard."""
    diagonal = a.at[diagonal_positions].get(mode="promise_in_bounds", unique_indices=True)
    if isinstance(tables.kinds, tuple):
        return a, diagonal
    if tables.lump:
        lumped = diagonal + sum_products(tables.lump, diagonal.shape[0], a)
        diagonal = jnp.where(jnp.abs(lumped) >= _SMALLEST * jnp.abs(diagonal), lumped, diagonal)
    strong = jnp.where(tables.kinds == STRONG, a, 0)
    return strong.at[diagonal_positions].set(diagonal, unique_indices=True), diagonal


def interpolation_values(
    tables: InterpolationTables,
    filtered: Inexact[Array, " nnz"],
    inverse_diagonal: Inexact[Array, " n"],
    radius: Real[Array, ""],
) -> Inexact[Array, " entries"]:
    """Values of `(I - omega D_F^-1 A_F) T`; with those of `A^T`, of the transposed restriction. Traced."""
    smoothed = sum_products(tables.gather, tables.tentative.shape[0], filtered)
    weights = (DAMPING / radius).astype(filtered.dtype) * inverse_diagonal
    return (
        jnp.asarray(tables.tentative).astype(filtered.dtype)
        - weights.at[tables.rows].get(mode="promise_in_bounds") * smoothed
    )
