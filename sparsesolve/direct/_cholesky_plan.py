"""The plan of the portable factorization of one triangle: as `_multifrontal_plan`, with half the factors. Host-side."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Int, Real

from sparsesolve.direct._buckets import schedule
from sparsesolve.direct._cost import front_flops, front_time
from sparsesolve.direct._fronts import FrontStatistics, analyze
from sparsesolve.direct._memory import check_entries
from sparsesolve.direct._multifrontal_plan import check_indices
from sparsesolve.direct._scaling import equilibrate_symmetric, on_device, pivot_threshold
from sparsesolve.direct._symmetric import AbstractSymmetricPlan, Symmetry, symmetric_graph
from sparsesolve.direct._symmetric_multifrontal import factorize_symmetric, solve_symmetric
from sparsesolve.direct._tables import build_tables
from sparsesolve.pattern import SparsityPattern


class CholeskyFactors(NamedTuple):
    """Inverse pivot blocks and `L` of all fronts in one array, the scales, and what the pivots said."""

    blocks: Inexact[Array, " factor"]
    scale: Real[Array, " n"]
    found: Int[Array, 2]


class CholeskyPlan(AbstractSymmetricPlan):
    """Symbolic factorization of one triangle, for any device.

    Args:
        pattern: square and symmetric.
        symmetry: what is known about the matrix.
        hollow: unknowns whose diagonal entries are missing or too small for pivots, `(h,)`; only without definiteness.

    Raises:
        ValueError: the factors would not fit in memory.
    """

    def __init__(self, pattern: SparsityPattern, symmetry: Symmetry, hollow: np.ndarray):
        n = pattern.shape[0]
        self.pattern, self.symmetry = pattern, symmetry
        self.kind = "cholesky" if self.definite else "ldlt"
        self.choices = (symmetry, hollow.tobytes())
        graph, order = symmetric_graph(pattern, hollow)
        fronts = analyze(graph, order, leaf=20)
        self.num_fronts, self.num_levels, self.nnz_factor, self.flops, self.time = FrontStatistics.of(
            fronts, lambda k, m: k * k + k * m, front_flops, front_time
        )
        check_entries(self.nnz_factor, "factors", pattern)
        plan = schedule(fronts, sides=1)
        place = np.empty(n, np.int64)
        place[fronts.order] = np.arange(n)
        read = np.flatnonzero(place[pattern.rows] >= place[pattern.indices])
        rows, cols = pattern.rows[read], pattern.indices[read]
        tables, self.sizes = build_tables(fronts, plan, rows, cols, fronts.order, fronts.order)
        check_indices(pattern, self.sizes)
        self.buckets, self.order = plan.buckets, fronts.order
        self.fronts, self.schedule = fronts, plan
        here = pattern.diagonal_positions
        diagonal = np.where(here < 0, pattern.nnz, here)
        lines = (pattern.rows, pattern.indices, diagonal.astype(np.int32), read.astype(np.int32))
        self._host_tables = (tables, lines)

    @functools.cached_property
    def tables(self) -> Any:
        """The index tables as device arrays."""
        return on_device(self._host_tables)

    def factor_lower(self, data: Inexact[Array, " nnz"]) -> CholeskyFactors:
        return _factor(self.buckets, self.sizes, self.tables, data, self.definite, self.hermitian)

    def solve_lower(
        self, factors: CholeskyFactors, rhs: Inexact[Array, " n"], conjugated: bool
    ) -> Inexact[Array, " n"]:
        scaled = factors.scale * (jnp.conj(rhs) if conjugated else rhs)
        x = solve_symmetric(self.buckets, self.sizes, self.tables[0], factors.blocks, scaled, self.hermitian)
        return factors.scale * (jnp.conj(x) if conjugated else x)

    def found(self, factors: CholeskyFactors) -> Int[Array, 2]:
        return factors.found


@functools.partial(jax.jit, static_argnums=(0, 1, 4, 5))
def _factor(buckets: Any, sizes: Any, tables: Any, data: Array, definite: bool, hermitian: bool) -> CholeskyFactors:
    rows, cols, diagonal, read = tables[1]
    scale = equilibrate_symmetric(rows, cols, diagonal, data, definite)
    scaled = data[read] * (scale[rows[read]] * scale[cols[read]])
    tiny = pivot_threshold(scaled)
    blocks, found = factorize_symmetric(buckets, sizes, tables[0], scaled, tiny, definite, hermitian)
    return CholeskyFactors(blocks, scale, found)
