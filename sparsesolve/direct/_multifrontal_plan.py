"""The plan of the portable multifrontal sparse LU: ordering, assembly tree, chunks, index tables. Host-side.

Rows may be permuted first (a matching), then the symmetrised pattern is ordered by nested dissection and cut into
fronts (`_fronts`), padded into few size classes (`_buckets`) and laid out (`_tables`). `_multifrontal` computes.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Real

from sparsesolve.direct import _multifrontal, _ordering
from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._buckets import schedule
from sparsesolve.direct._cost import front_flops, front_time
from sparsesolve.direct._fronts import FrontStatistics, analyze, lu_entries
from sparsesolve.direct._memory import check_entries
from sparsesolve.direct._scaling import equilibrate, line_tables, on_device, pivot_threshold
from sparsesolve.direct._tables import ABSENT, Sizes, build_tables
from sparsesolve.pattern import SparsityPattern


class MultifrontalFactors(NamedTuple):
    """Inverse pivot blocks and off-diagonal blocks of all fronts in one array, and the scales."""

    blocks: Inexact[Array, " factor"]
    row_scale: Real[Array, " n"]
    col_scale: Real[Array, " n"]


class MultifrontalPlan(AbstractDirectPlan):
    """Symbolic multifrontal LU with restricted pivoting.

    Args:
        pattern: square, structurally nonsingular.
        matching: `(n,)` row of the matrix to put at each diagonal position.
        order: `(n,)` elimination order of the matched matrix; nested dissection if not given.

    Raises:
        ValueError: the factors would not fit in memory.
    """

    kind = "multifrontal"

    def __init__(self, pattern: SparsityPattern, matching: np.ndarray, order: np.ndarray | None = None):
        self.pattern = pattern
        self.choices = (matching.tobytes(), None if order is None else order.tobytes())
        graph = _ordering.matched_adjacency(pattern, matching)
        fronts = analyze(graph, _ordering.nested_dissection(graph) if order is None else order, leaf=20)
        self.num_fronts, self.num_levels, self.nnz_factor, self.flops, self.time = FrontStatistics.of(
            fronts, lu_entries, front_flops, front_time
        )
        check_entries(self.nnz_factor, "factors", pattern)
        plan = schedule(fronts)
        tables, self.sizes = build_tables(
            fronts, plan, pattern.rows, pattern.indices, matching[fronts.order], fronts.order
        )
        self.workspace = float(self.sizes.pool)
        check_indices(pattern, self.sizes)
        self.buckets = plan.buckets
        self.matching, self.order = matching, fronts.order
        self._host_tables = (tables, line_tables(pattern))

    @functools.cached_property
    def tables(self) -> Any:
        """The index tables as device arrays."""
        return on_device(self._host_tables)

    def factor(self, data: Inexact[Array, " nnz"]) -> MultifrontalFactors:
        return _factor(self.buckets, self.sizes, self.tables, data)

    def solve(
        self, factors: MultifrontalFactors, rhs: Inexact[Array, " n"], *, transpose: bool = False
    ) -> Inexact[Array, " n"]:
        before, after = factors.row_scale, factors.col_scale
        if transpose:
            before, after = after, before
        x = _multifrontal.solve(self.buckets, self.sizes, self.tables[0], factors.blocks, rhs * before, transpose)
        return x * after


def check_indices(pattern: SparsityPattern, sizes: Sizes) -> None:
    """Refuses working arrays that do not fit in memory, or whose entries cannot be numbered with 32 bits."""
    n = pattern.shape[0]
    check_entries(sizes.factor + sizes.pool, "padded factors and working space", pattern)
    if max(sizes.factor, 4 * sizes.pool) >= 4 * ABSENT:
        raise ValueError(
            f"The factors of this {n} x {n} matrix need {sizes.factor} entries and {sizes.pool} entries "
            "of working space, more than 32-bit indices reach. Use an iterative solver with a preconditioner."
        )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _factor(buckets: Any, sizes: Any, tables: Any, data: Array) -> MultifrontalFactors:
    scaled, row_scale, col_scale = equilibrate(tables[1], tables[0].row_slot.shape[0], data)
    blocks = _multifrontal.factorize(buckets, sizes, tables[0], scaled, pivot_threshold(scaled))
    return MultifrontalFactors(blocks, jnp.asarray(row_scale), jnp.asarray(col_scale))
