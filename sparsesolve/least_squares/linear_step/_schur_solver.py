"""Damped normal equations by a Schur complement: small diagonal blocks first, then what is left.

With columns sorted into eliminated groups, `J = [E F]`, each row meets at most one group. For a group with rows `E_g`,

    E_g^T E_g + D_g = L_g L_g^T,      W_g = L_g^-1 E_g^T F_g,
    S = F^T F + D_F - sum_g W_g^T W_g,

so `S` is the Gram matrix of `[F; W]` with weights of one and minus one (`_gram.py`), and is factorized like any other
positive definite matrix. Groups are found from the pattern (`_eliminate.py`). In bundle adjustment `E` are the points
and `S` is the reduced camera system, and nobody has to say so. Solutions are refined (`_semi_normal.py`).

Reference: D. C. Brown, The bundle adjustment - progress and prospects, Int. Archives Photogrammetry 21 (1976).
Cost: the outer products of the rows of `[F; W]` and a factorization of `S`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Bool, Float, Inexact

from sparsesolve.direct import AbstractDirectPlan, plan_direct
from sparsesolve.least_squares.linear_step._eliminate import Elimination
from sparsesolve.least_squares.linear_step._gram import GramPlan
from sparsesolve.least_squares.linear_step._semi_normal import AbstractSemiNormalSolver
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern


class Reduced(NamedTuple):
    """Inverse Cholesky factors of the blocks, `W` as blocks `(entries, size)`, factors of `S`."""

    inverse: Float[Array, "groups size size"]
    coupling: Float[Array, "pairs size"]
    factors: Any
    shift: Float[Array, " n"]
    sound: Bool[Array, ""]


class SchurSolver(AbstractSemiNormalSolver):
    """Elimination of independent groups of unknowns, Cholesky factorization of the rest."""

    name = "Schur complement"
    num_factorizations = 1

    def __init__(self, pattern: SparsityPattern, elimination: Elimination):
        self.pattern = pattern
        self.groups, self.kept = elimination
        count, self.size = self.groups.shape
        n = pattern.shape[1]
        group_of, rank = np.full(n, -1), np.full(n, -1)
        group_of[self.groups.ravel()] = np.repeat(np.arange(count), self.size)
        rank[self.kept] = np.arange(self.kept.size)
        self._plan_blocks(group_of)
        self._plan_coupling(rank)
        self.stacked = self._stack(rank)
        self.gram = GramPlan(self.stacked)
        self.plan: AbstractDirectPlan = plan_direct(self.gram.pattern, symmetry="positive")
        self.nnz_factor = self.plan.nnz_factor + self.size * self.size * count + self.size * self.pairs.shape[0]

    def _plan_blocks(self, group_of: np.ndarray) -> None:
        """Rows with an eliminated group: which, and where its entries are in the values."""
        entries = np.flatnonzero(group_of[self.pattern.indices] >= 0)
        owner = group_of[self.pattern.indices[entries]]
        row = self.pattern.rows[entries]
        # Columns of a group have the same rows, so entries come in full blocks; columns are sorted within a row.
        self.block_rows = row[:: self.size].astype(np.int32)
        self.block_group = owner[:: self.size].astype(np.int32)
        self.block_entries = entries.reshape(-1, self.size).astype(np.int32)
        self.group_of_row = np.full(self.pattern.shape[0], -1)
        self.group_of_row[self.block_rows] = self.block_group
        self.block_of_row = np.full(self.pattern.shape[0], -1)
        self.block_of_row[self.block_rows] = np.arange(self.block_rows.size)

    def _plan_coupling(self, rank: np.ndarray) -> None:
        """Pairs (group, kept column), and the pair and block row of every entry of `F` in a row with a group."""
        column = rank[self.pattern.indices]
        self.kept_entries = np.flatnonzero(column >= 0).astype(np.int32)
        row = self.pattern.rows[self.kept_entries]
        coupled = self.group_of_row[row] >= 0
        self.coupled_entries = self.kept_entries[coupled]
        self.coupled_block = self.block_of_row[row[coupled]].astype(np.int32)
        key = self.group_of_row[row[coupled]].astype(np.int64) * max(1, self.kept.size)
        key += column[self.coupled_entries]
        unique, pair = np.unique(key, return_inverse=True)
        self.pair = pair.astype(np.int32)
        self.pairs = np.stack(np.divmod(unique, max(1, self.kept.size)), axis=1).astype(np.int32)

    def _stack(self, rank: np.ndarray) -> SparsityPattern:
        """The pattern of `[F; W]`; rows of `W` are (group, unknown of the group)."""
        m = self.pattern.shape[0]
        counts = np.bincount(self.pattern.rows[self.kept_entries], minlength=m)
        per_group = np.bincount(self.pairs[:, 0], minlength=self.groups.shape[0])
        indptr = np.concatenate([[0], np.cumsum(np.concatenate([counts, np.repeat(per_group, self.size)]))])
        start = np.concatenate([[0], np.cumsum(per_group)])[:-1]
        group = np.repeat(np.arange(self.groups.shape[0]), per_group * self.size)
        offset = np.arange(group.size) - np.repeat(start * self.size, per_group * self.size)
        unknown, within = np.divmod(offset, per_group[group])
        self.spread = ((start[group] + within) * self.size + unknown).astype(np.int32)
        columns = np.concatenate([rank[self.pattern.indices[self.kept_entries]], self.pairs[start[group] + within, 1]])
        shape = (m + self.size * self.groups.shape[0], self.kept.size)
        return SparsityPattern.from_scipy(
            scipy.sparse.csr_matrix((np.ones(columns.size, np.int8), columns, indptr), shape)
        )

    def prepare(self, data: Inexact[Array, " nnz"]) -> Inexact[Array, " nnz"]:
        return data

    def diagonal(self, prepared: Inexact[Array, " nnz"]) -> Float[Array, " n"]:
        ones = jnp.ones((self.pattern.shape[0],), prepared.dtype)
        return ones @ SparseMatrix(prepared**2, self.pattern)

    def factor(self, prepared: Inexact[Array, " nnz"], shift: Float[Array, " n"]) -> Reduced:
        count = self.groups.shape[0]
        e = prepared[self.block_entries]
        outer = e[:, :, None] * e[:, None, :]
        blocks = jax.ops.segment_sum(outer, self.block_group, count)
        blocks = blocks + shift[self.groups][:, :, None] * jnp.eye(self.size, dtype=e.dtype)[None]
        inverse = _inverse_factors(blocks)
        whitened = jnp.sum(inverse[self.block_group] * e[:, None, :], axis=2)
        terms = whitened[self.coupled_block] * prepared[self.coupled_entries][:, None]
        coupling = jax.ops.segment_sum(terms, self.pair, self.pairs.shape[0])
        values = jnp.concatenate([prepared[self.kept_entries], coupling.reshape(-1)[self.spread]])
        m = self.pattern.shape[0]
        weights = jnp.where(np.arange(self.stacked.shape[0]) < m, 1.0, -1.0).astype(values.dtype)
        schur = self.gram.values(values, weights)
        schur = schur.at[self.gram.pattern.diagonal_positions].add(shift[self.kept], mode="promise_in_bounds")
        factors = self.plan.factor(schur)
        return Reduced(inverse, coupling, factors, shift, self.plan.sound(factors) & jnp.all(jnp.isfinite(inverse)))

    def matrix(self, prepared: Inexact[Array, " nnz"]) -> SparseMatrix:
        return SparseMatrix(prepared, self.pattern)

    def solve_once(self, factors: Reduced, g: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        group, column = self.pairs[:, 0], self.pairs[:, 1]
        y = jnp.sum(factors.inverse * g[self.groups][:, None, :], axis=2)
        through = jnp.sum(factors.coupling * y[group], axis=1)
        rhs = g[self.kept] - jax.ops.segment_sum(through, column, self.kept.size)
        kept = self.plan.solve(factors.factors, rhs)
        back = factors.coupling * kept[column][:, None]
        y = y - jax.ops.segment_sum(back, group, self.groups.shape[0], indices_are_sorted=True)
        eliminated = jnp.sum(factors.inverse * y[:, :, None], axis=1)
        x = jnp.zeros_like(g).at[self.kept].set(kept, unique_indices=True)
        return x.at[self.groups].set(eliminated, unique_indices=True)


def _inverse_factors(blocks: Float[Array, "groups size size"]) -> Float[Array, "groups size size"]:
    """`L^-1` of the Cholesky factors `L` of small blocks, unrolled over their size: vectorised over the groups."""
    size = blocks.shape[1]
    factor: list[list[Any]] = [[0.0] * size for _ in range(size)]
    for j in range(size):
        pivot = jnp.sqrt(blocks[:, j, j] - sum(factor[j][k] ** 2 for k in range(j)))
        factor[j][j] = pivot
        for i in range(j + 1, size):
            factor[i][j] = (blocks[:, i, j] - sum(factor[i][k] * factor[j][k] for k in range(j))) / pivot
    zero = jnp.zeros_like(blocks[:, 0, 0])
    inverse: list[list[Any]] = [[zero] * size for _ in range(size)]
    for j in range(size):
        inverse[j][j] = 1 / factor[j][j]
        for i in range(j + 1, size):
            inverse[i][j] = -sum(factor[i][k] * inverse[k][j] for k in range(j, i)) / factor[i][i]
    return jnp.stack([jnp.stack(row, axis=1) for row in inverse], axis=1)
