"""One builder a named method, for those who ask for a method instead of leaving the choice to the plan. Host-side."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sparsesolve import _native
from sparsesolve.direct import _ordering
from sparsesolve.direct._banded import BandedPlan
from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._block_diagonal import BlockDiagonalPlan, component_sizes
from sparsesolve.direct._cholesky_plan import CholeskyPlan
from sparsesolve.direct._dense import DensePlan
from sparsesolve.direct._diagonal import DiagonalPlan
from sparsesolve.direct._memory import check_entries
from sparsesolve.direct._multifrontal_plan import MultifrontalPlan
from sparsesolve.direct._native_cholesky import NativeCholeskyPlan
from sparsesolve.direct._native_multifrontal import NativeMultifrontalPlan
from sparsesolve.direct._simplicial import SimplicialPlan
from sparsesolve.direct._symmetric import Symmetry
from sparsesolve.direct._tridiagonal import TridiagonalPlan
from sparsesolve.pattern import SparsityPattern

Builder = Callable[[SparsityPattern, np.ndarray], AbstractDirectPlan]


def narrowest(pattern: SparsityPattern, matching: np.ndarray) -> tuple[np.ndarray, int]:
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


def block_width(width: int) -> int:
    """Blocks a little wider than a narrow band: fewer steps, and room for pivoting."""
    return max(4, width)


def band_entries(n: int, width: int) -> float:
    """Entries of the factors of a band: three blocks a block row, and the table that fills them."""
    return 4.5 * n * block_width(width)


def _diagonal(pattern: SparsityPattern, matching: np.ndarray) -> AbstractDirectPlan:
    return DiagonalPlan(pattern)


def _block_diagonal(pattern: SparsityPattern, matching: np.ndarray) -> AbstractDirectPlan:
    check_entries(float((component_sizes(pattern).astype(float) ** 2).sum()), "inverse blocks", pattern)
    return BlockDiagonalPlan(pattern)


def _dense(pattern: SparsityPattern, matching: np.ndarray) -> AbstractDirectPlan:
    check_entries(2.0 * pattern.shape[0] ** 2, "dense matrix and its factors", pattern)
    return DensePlan(pattern)


def _tridiagonal(pattern: SparsityPattern, matching: np.ndarray) -> AbstractDirectPlan:
    order, width = narrowest(pattern, np.arange(pattern.shape[0]))
    if width > 1:
        raise ValueError(
            f"method='tridiagonal' needs a tridiagonal matrix; this pattern reaches {width} places from the diagonal "
            "in its best order. Write method='banded' or 'auto'."
        )
    return TridiagonalPlan(pattern, order)


def _banded(pattern: SparsityPattern, matching: np.ndarray) -> AbstractDirectPlan:
    order, width = narrowest(pattern, matching)
    check_entries(band_entries(pattern.shape[0], width), "banded factors", pattern)
    return BandedPlan(pattern, matching[order], order, block_width(width))


def _portable(pattern: SparsityPattern, matching: np.ndarray) -> AbstractDirectPlan:
    return MultifrontalPlan(pattern, matching)


def _compiled(pattern: SparsityPattern, matching: np.ndarray) -> AbstractDirectPlan:
    return NativeMultifrontalPlan(pattern, matching)


def _simplicial(pattern: SparsityPattern, matching: np.ndarray) -> AbstractDirectPlan:
    if not _native.available():
        raise ValueError(f"method='simplicial' runs on compiled code only ({_native.status()}). Write method='auto'.")
    return SimplicialPlan(pattern, matching)


_BUILDERS: dict[str, Builder] = {
    "diagonal": _diagonal,
    "block_diagonal": _block_diagonal,
    "tridiagonal": _tridiagonal,
    "banded": _banded,
    "dense": _dense,
}
METHODS = (*_BUILDERS, "multifrontal", "simplicial")


def symmetric_builder(native: bool, symmetry: Symmetry, hollow: np.ndarray) -> Builder:
    """What makes a plan that factorizes one triangle; `hollow` are unknowns without a usable diagonal entry."""
    plan = NativeCholeskyPlan if native else CholeskyPlan
    return lambda pattern, matching: plan(pattern, symmetry, hollow)


def builder(method: str, native: bool) -> Builder:
    """What makes a plan of the method named."""
    if method == "multifrontal":
        return _compiled if native else _portable
    if method == "simplicial":
        return _simplicial
    return _BUILDERS[method]
