"""Whether elimination without pivoting is accurate enough on sample values. Host-side.

The sample matrix, scaled by Ruiz' iteration, is eliminated by SuperLU in the plan's order without any row exchange; a
loss of accuracy says that the rows should be matched first. Matching can double the fill, so it is not done unasked.
Cost: one factorization.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from sparsesolve.direct._banded import BandedPlan
from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._block_diagonal import BlockDiagonalPlan
from sparsesolve.direct._dense import DensePlan
from sparsesolve.direct._diagonal import DiagonalPlan
from sparsesolve.direct._multifrontal_plan import MultifrontalPlan
from sparsesolve.direct._native_multifrontal import NativeMultifrontalPlan
from sparsesolve.direct._scaling import ruiz
from sparsesolve.direct._simplicial import SimplicialPlan
from sparsesolve.direct._symmetric import AbstractSymmetricPlan
from sparsesolve.direct._tridiagonal import TridiagonalPlan


def needs_matching(plan: AbstractDirectPlan, sample: np.ndarray) -> bool:
    """Whether elimination in the plan's order, without any pivoting, fails on the sample values."""
    if (
        isinstance(plan, DiagonalPlan | DensePlan | BlockDiagonalPlan | AbstractSymmetricPlan)
        or not np.isfinite(sample).all()
    ):
        return False
    pattern = plan.pattern
    order, matching = _orders(plan)
    row_scale, col_scale = ruiz(pattern, sample, 3)
    scaled = sample * row_scale[pattern.rows] * col_scale[pattern.indices]
    matrix = scipy.sparse.csr_matrix((scaled, pattern.indices, pattern.indptr), shape=pattern.shape)[matching]
    if np.abs(matrix.diagonal()).min(initial=1.0) >= 0.5 and np.array_equal(matching, np.arange(matching.size)):
        return False
    matrix = matrix[order][:, order].tocsc()
    exact = np.random.default_rng(0).standard_normal(order.size).astype(scaled.dtype)
    rhs = matrix @ exact
    options = {"Equil": False, "SymmetricMode": True}
    try:
        lu = scipy.sparse.linalg.splu(matrix, permc_spec="NATURAL", diag_pivot_thresh=0.0, options=options)
    except RuntimeError:
        return True
    x = lu.solve(rhs)
    residual = np.abs(rhs - matrix @ x).max()
    bound = np.finfo(scaled.dtype).eps ** 0.6 * (np.abs(matrix).sum(1).max() * np.abs(x).max() + np.abs(rhs).max())
    return not residual <= bound


def _orders(plan: AbstractDirectPlan) -> tuple[np.ndarray, np.ndarray]:
    """Elimination order and row matching of a plan."""
    if isinstance(plan, MultifrontalPlan | NativeMultifrontalPlan | SimplicialPlan):
        return plan.order, plan.matching
    if isinstance(plan, BandedPlan):
        matching = np.empty_like(plan.row_order)
        matching[plan.col_order] = plan.row_order
        return plan.col_order, matching
    assert isinstance(plan, TridiagonalPlan)
    return plan.order, np.arange(plan.order.size)
