"""The multigrid cycle: smooth, correct by the next level, smooth. Traced; a fixed linear map of the right-hand side.

With the same Chebyshev polynomial before and after, the cycle of a symmetric matrix is symmetric, and the cycle made of
`A^T`, `R^T` for `P` and `P^T` for `R` is the transpose of the cycle. `V` visits every level once, `W` every level twice
as often as the one above. A. Brandt, Multi-level adaptive solutions to boundary-value problems, Math. Comp. 31 (1977)
333-390, doi:10.1090/S0025-5718-1977-0431719-X. Cost of V: `2 k` products a level for Chebyshev sweeps of degree `k`.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
from jaxtyping import Array, Inexact

from sparsesolve._native import chebyshev_sweep
from sparsesolve.precond._chebyshev import smooth
from sparsesolve.precond._hierarchy import Hierarchy, HierarchyPlan
from sparsesolve.precond._native_rows import RowsLayout

VISITS = {"V": 1, "W": 2}


@functools.partial(jax.jit, static_argnums=(0, 1, 2), static_argnames="transpose")
def multigrid_cycle(
    plan: HierarchyPlan,
    degree: int,
    visits: int,
    tables: Any,
    hierarchy: Hierarchy,
    b: Inexact[Array, " n"],
    *,
    transpose: bool = False,
) -> Inexact[Array, " n"]:
    """An approximate solution of `A x = b`.

    Args:
        plan, tables: the static side.
        degree: of the Chebyshev sweeps.
        visits: to the next level from each level, 1 for a V-cycle.
        hierarchy: the numbers; those of the transposed cycle for `A^T x = b`.
        b: right-hand side.
        transpose: whether the coarsest factors, which are those of `A`, are applied transposed.
    """

    def coarsest(rhs: Array) -> Array:
        if plan.coarsest is not None:
            return plan.coarsest.solve(hierarchy.coarsest, rhs, transpose=transpose)
        inverse = hierarchy.coarsest.T if transpose else hierarchy.coarsest
        return inverse @ rhs

    def descend(depth: int, rhs: Array, guess: Array | None) -> Array:
        if depth == len(plan.levels):
            return coarsest(rhs)
        static, table, level = plan.levels[depth], tables[1][depth], hierarchy.levels[depth]

        def product(v: Array) -> Array:
            return static.product.multiply(table.product, level.a, v)

        def sweep(x: Array | None, residual: bool) -> tuple[Array, Array]:
            if isinstance(static.product, RowsLayout):
                start, column = table.product
                return chebyshev_sweep(
                    start,
                    column,
                    level.a,
                    level.inverse_diagonal,
                    level.interval,
                    rhs,
                    x,
                    degree=degree,
                    residual=residual,
                )
            x = smooth(product, level.inverse_diagonal, level.interval, degree, rhs, x)
            return x, rhs - product(x) if residual else x

        x, residual = sweep(guess, True)
        coarse = static.restrict.multiply(table.restrict, level.r, residual)
        correction = descend(depth + 1, coarse, None)
        # The coarsest level is solved exactly: a second visit would change nothing.
        for _ in range(visits - 1 if depth + 1 < len(plan.levels) else 0):
            correction = descend(depth + 1, coarse, correction)
        x = x + static.prolong.multiply(table.prolong, level.p, correction)
        return sweep(x, False)[0]

    return descend(0, b, None) if plan.levels else coarsest(b)
