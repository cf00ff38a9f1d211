"""Which direct method a pattern gets, and the cache of plans. Host-side.

`plan_direct` compares estimated times: a special structure (diagonal, small components, tridiagonal, narrow band,
tiny) where it is cheapest, the multifrontal factorization otherwise. A weak diagonal is repaired by a row matching:
structural when diagonal entries are missing, by sample values when a trial elimination in the planned order, without
any pivoting, loses accuracy. Matching can double the fill, so it is not done unasked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Inexact

from sparsesolve import _native
from sparsesolve._cache import BoundedCache
from sparsesolve.direct import _ordering
from sparsesolve.direct._banded import BandedPlan
from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._block_diagonal import BlockDiagonalPlan, component_sizes
from sparsesolve.direct._cost import banded_time, dense_time, front_time
from sparsesolve.direct._dense import DensePlan
from sparsesolve.direct._diagonal import DiagonalPlan
from sparsesolve.direct._matching import product_matching, structural_matching
from sparsesolve.direct._memory import check_fits
from sparsesolve.direct._multifrontal_plan import MultifrontalPlan
from sparsesolve.direct._native_multifrontal import NativeMultifrontalPlan
from sparsesolve.direct._scaling import ruiz
from sparsesolve.direct._tridiagonal import TridiagonalPlan
from sparsesolve.pattern import SparsityPattern

Backend = Literal["auto", "native", "portable"]
Method = Literal["auto", "diagonal", "block_diagonal", "tridiagonal", "banded", "dense", "multifrontal"]

_Multifrontal = type[MultifrontalPlan] | type[NativeMultifrontalPlan]

_plans = BoundedCache("direct plans", maxsize=64)

_TINY = 64  # up to here one dense LU beats everything else


def plan_direct(
    pattern: SparsityPattern,
    *,
    method: Method = "auto",
    sample: Inexact[np.ndarray, " nnz"] | None = None,
    backend: Backend = "auto",
) -> AbstractDirectPlan:
    """Prepares a direct factorization of matrices with this pattern.

    Args:
        pattern: square.
        method: `"auto"` chooses by estimated cost; a name forces that method.
        sample: CSR values typical of the matrices to come, `(nnz,)`. With them the plan permutes rows when pivots on
            the diagonal would be too small; without them it trusts the diagonal where it is stored.
        backend: of the multifrontal method: `"native"`, compiled code on the CPU; `"portable"`, plain JAX for any
            device; `"auto"`, native where it is installed and JAX's default device is a CPU.

    Returns:
        The plan, from a cache of the last 64 where possible.

    Raises:
        ValueError: the pattern is not square, is structurally singular (names rows and columns), does not have the
            form that `method` needs, or needs more memory than there is; or `backend="native"` is not available.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from sparsesolve.pattern import SparsityPattern
        >>> from sparsesolve.direct import plan_direct
        >>> pattern = SparsityPattern.from_dense(np.eye(3) + np.eye(3, k=1))
        >>> plan = plan_direct(pattern)
        >>> factors = plan.factor(jnp.ones(5))
        >>> plan.solve(factors, jnp.array([2.0, 2.0, 1.0]))
        Array([1., 1., 1.], dtype=float64)
    """
    if pattern.shape[0] != pattern.shape[1]:
        raise ValueError(
            f"A direct solve needs a square matrix, got shape {pattern.shape}. For more equations than unknowns use "
            "least squares."
        )
    if method not in _BUILDERS and method != "auto":
        raise ValueError(f"Unknown direct method {method!r}; write one of auto, {', '.join(_BUILDERS)}.")
    if sample is not None:
        sample = np.asarray(sample)
        if sample.shape != (pattern.nnz,):
            raise ValueError(f"sample must hold the {pattern.nnz} CSR values of the pattern, got shape {sample.shape}.")
    multifrontal = _multifrontal(backend)
    key = (pattern, method, multifrontal, None)
    plan = _plans.get(key, lambda: _build(pattern, method, multifrontal, structural_matching(pattern)))
    if sample is None or not _needs_matching(plan, sample):
        return plan
    matching = product_matching(pattern, sample)
    if matching is None:
        return plan
    key = (pattern, method, multifrontal, matching.tobytes())
    return _plans.get(key, lambda: _build(pattern, method, multifrontal, matching, pivot=True))


def _multifrontal(backend: str) -> _Multifrontal:
    """The class of multifrontal plans that a back end stands for."""
    if backend not in ("auto", "native", "portable"):
        raise ValueError(f"Unknown backend {backend!r}; write 'auto', 'native' or 'portable'.")
    if backend == "native" and not _native.available():
        raise ValueError(f"backend='native' cannot be used ({_native.status()}). Write backend='portable' or 'auto'.")
    native = backend != "portable" and _native.available()
    return NativeMultifrontalPlan if native else MultifrontalPlan


def _build(
    pattern: SparsityPattern, method: str, multifrontal: _Multifrontal, matching: np.ndarray, pivot: bool = False
) -> AbstractDirectPlan:
    if method != "auto":
        return {**_BUILDERS, "multifrontal": multifrontal}[method](pattern, matching)
    n = pattern.shape[0]
    if pattern.nnz == n and np.array_equal(pattern.rows, pattern.indices):
        return DiagonalPlan(pattern)
    if n <= _TINY:
        return DensePlan(pattern)
    sizes = component_sizes(pattern)
    if sizes.max() <= _TINY and np.unique(sizes).size <= 8:
        return BlockDiagonalPlan(pattern)
    return _banded_or_multifrontal(pattern, multifrontal, matching, pivot)


def _banded_or_multifrontal(
    pattern: SparsityPattern, multifrontal: _Multifrontal, matching: np.ndarray, pivot: bool
) -> AbstractDirectPlan:
    n = pattern.shape[0]
    order, width = _narrowest(pattern, matching)
    if width <= 1 and not pivot and np.array_equal(matching, np.arange(n)):
        return TridiagonalPlan(pattern, order)
    band = banded_time(n, _block(width))
    dense = dense_time(n)
    if n <= 4096 and dense <= band and pattern.density > 0.2:
        return DensePlan(pattern)
    if band > 50 * front_time(8, 8) * n:  # cannot win: skip the comparison
        return multifrontal(pattern, matching)
    plan = multifrontal(pattern, matching)
    if dense < min(band, plan.time) and n <= 4096:
        return DensePlan(pattern)
    return plan if plan.time < band else BandedPlan(pattern, matching[order], order, _block(width))


def _narrowest(pattern: SparsityPattern, matching: np.ndarray) -> tuple[np.ndarray, int]:
    """The better of the given order and reverse Cuthill-McKee, with its half bandwidth after the matching."""
    n = pattern.shape[0]
    row, col = _ordering.matched_rows(pattern, matching), pattern.indices
    natural = max(_ordering.bandwidths(row, col))
    if natural <= 1:
        return np.arange(n), natural
    order = _ordering.reverse_cuthill_mckee(_ordering.adjacency(row, col, n))
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    width = max(_ordering.bandwidths(place[row], place[col]))
    return (order, width) if width < natural else (np.arange(n), natural)


def _block(width: int) -> int:
    """Blocks a little wider than a narrow band: fewer steps, and room for pivoting."""
    return max(4, width)


def _needs_matching(plan: AbstractDirectPlan, sample: np.ndarray) -> bool:
    """Whether elimination in the plan's order, without any pivoting, fails on the sample values."""
    if isinstance(plan, DiagonalPlan | DensePlan | BlockDiagonalPlan) or not np.isfinite(sample).all():
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
    if isinstance(plan, MultifrontalPlan | NativeMultifrontalPlan):
        return plan.order, plan.matching
    if isinstance(plan, BandedPlan):
        matching = np.empty_like(plan.row_order)
        matching[plan.col_order] = plan.row_order
        return plan.col_order, matching
    assert isinstance(plan, TridiagonalPlan)
    return plan.order, np.arange(plan.order.size)


def _diagonal(pattern: SparsityPattern, matching: np.ndarray) -> AbstractDirectPlan:
    return DiagonalPlan(pattern)


def _block_diagonal(pattern: SparsityPattern, matching: np.ndarray) -> AbstractDirectPlan:
    return BlockDiagonalPlan(pattern)


def _dense(pattern: SparsityPattern, matching: np.ndarray) -> AbstractDirectPlan:
    return DensePlan(pattern)


def _tridiagonal(pattern: SparsityPattern, matching: np.ndarray) -> AbstractDirectPlan:
    order, width = _narrowest(pattern, np.arange(pattern.shape[0]))
    if width > 1:
        raise ValueError(
            f"method='tridiagonal' needs a tridiagonal matrix; this pattern reaches {width} places from the diagonal "
            "in its best order. Write method='banded' or 'auto'."
        )
    return TridiagonalPlan(pattern, order)


def _banded(pattern: SparsityPattern, matching: np.ndarray) -> AbstractDirectPlan:
    order, width = _narrowest(pattern, matching)
    check_fits(24 * pattern.shape[0] * _block(width), "banded factors", pattern)
    return BandedPlan(pattern, matching[order], order, _block(width))


_BUILDERS: dict[str, Callable[[SparsityPattern, np.ndarray], AbstractDirectPlan]] = {
    "diagonal": _diagonal,
    "block_diagonal": _block_diagonal,
    "tridiagonal": _tridiagonal,
    "banded": _banded,
    "dense": _dense,
    "multifrontal": MultifrontalPlan,
}
