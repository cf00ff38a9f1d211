"""Which direct method a pattern gets: every method that would do is a candidate with an estimated time. Host-side.

Special structures (diagonal, small components, tridiagonal, narrow band, tiny or full) are counted without building
anything; the multifrontal analysis, which needs an ordering, runs only where it could win. The candidates stay on the
plan as `alternatives`, which is what `explain` prints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from sparsesolve.direct._banded import BandedPlan
from sparsesolve.direct._base import AbstractDirectPlan, Alternative
from sparsesolve.direct._block_diagonal import BlockDiagonalPlan, component_sizes
from sparsesolve.direct._builders import Builder, band_entries, block_width, builder, narrowest
from sparsesolve.direct._cost import (
    banded_time,
    block_diagonal_time,
    dense_time,
    multifrontal_at_least,
    multifrontal_time,
    simplicial_could_win,
    tridiagonal_time,
)
from sparsesolve.direct._dense import DensePlan
from sparsesolve.direct._diagonal import DiagonalPlan
from sparsesolve.direct._memory import fits
from sparsesolve.direct._simplicial import SimplicialPlan
from sparsesolve.direct._tridiagonal import TridiagonalPlan
from sparsesolve.pattern import SparsityPattern

_TINY = 32  # up to here a dense LU, the safest method, costs a few microseconds more than any other
_LARGEST_BLOCK = 64  # larger components are sparse enough for the other methods
_DENSE = 4096  # beyond it nobody wants a dense matrix unasked


class Candidate(NamedTuple):
    """A method that would do.

    Attributes:
        kind: of the plan it makes.
        time: estimated nanoseconds of a factorization with a solve.
        note: how large it is, or why it cannot be used, for people.
        build: makes the plan.
    """

    kind: str
    time: float
    note: str
    build: Callable[[], AbstractDirectPlan] | None


def choose(
    pattern: SparsityPattern, matching: np.ndarray, native: bool, pivot: bool = False, general: Builder | None = None
) -> AbstractDirectPlan:
    """The plan of least estimated time.

    Args:
        pattern: square, structurally nonsingular.
        matching: `(n,)` row to put at each diagonal position.
        native: whether the multifrontal method may use compiled code.
        pivot: whether sample values showed that elimination without pivoting fails.
        general: makes the plan for matrices without a special structure; multifrontal LU if not given.
    """
    general = builder("multifrontal", native) if general is None else general
    found = _structures(pattern, matching, pivot)
    best = min(found, key=lambda candidate: candidate.time)
    if best.time > multifrontal_at_least(pattern.shape[0], native):
        plan = general(pattern, matching)
        time = multifrontal_time(plan.time, native)
        found.append(Candidate(plan.kind, time, f"{plan.nnz_factor} factor entries", lambda: plan))
        if native and plan.kind == "multifrontal":  # half the memory is worth more than the last microseconds
            found.append(_simplicial(pattern, matching, plan))
        best = min(found, key=lambda candidate: candidate.time)
    else:
        found.append(Candidate("multifrontal", np.inf, "not analysed, it could not win", None))
    assert best.build is not None
    plan = best.build()
    order = sorted(found, key=lambda candidate: candidate.time)
    plan.alternatives = tuple(Alternative(c.kind, c.time, c.note) for c in order)
    return plan


def _structures(pattern: SparsityPattern, matching: np.ndarray, pivot: bool) -> list[Candidate]:
    """Candidates that need no symbolic factorization, usable or with the reason why not."""
    n = pattern.shape[0]
    if pattern.nnz == n and np.array_equal(pattern.rows, pattern.indices):
        return [Candidate("diagonal", float(n), "only diagonal entries", lambda: DiagonalPlan(pattern))]
    dense = Candidate("dense", dense_time(n), f"{n} x {n} entries", lambda: DensePlan(pattern))
    if n <= _TINY and fits(2.0 * n * n):  # pivots among all rows, so that it is also the safest
        return [dense]
    if n > _DENSE or not fits(2.0 * n * n):
        dense = Candidate("dense", np.inf, f"{n} x {n} entries, too many", None)
    return [dense, _block_diagonal(pattern), *_bands(pattern, matching, pivot)]


def _block_diagonal(pattern: SparsityPattern) -> Candidate:
    sizes = component_sizes(pattern)
    kind, largest = "block diagonal", int(sizes.max())
    if largest > _LARGEST_BLOCK:
        return Candidate(kind, np.inf, f"the largest component has {largest} unknowns", None)
    time = block_diagonal_time(*np.unique(sizes, return_counts=True))
    return Candidate(kind, time, f"{sizes.size} components of at most {largest}", lambda: BlockDiagonalPlan(pattern))


def _bands(pattern: SparsityPattern, matching: np.ndarray, pivot: bool) -> list[Candidate]:
    n, gpu = pattern.shape[0], jax.default_backend() != "cpu"
    order, width = narrowest(pattern, matching)
    tridiagonal = Candidate("tridiagonal", np.inf, f"the band reaches {width} places from the diagonal", None)
    if width <= 1 and (pivot or not np.array_equal(matching, np.arange(n))):
        tridiagonal = Candidate("tridiagonal", np.inf, "pivots on the diagonal are too small", None)
    elif width <= 1:
        tridiagonal = Candidate(
            "tridiagonal", tridiagonal_time(n, gpu), "half bandwidth 1", lambda: TridiagonalPlan(pattern, order)
        )
    block = block_width(width)
    if not fits(band_entries(n, width)):
        return [tridiagonal, Candidate("banded", np.inf, f"half bandwidth {width}, does not fit in memory", None)]
    banded = Candidate(
        "banded",
        banded_time(n, block, gpu),
        f"half bandwidth {width}",
        lambda: BandedPlan(pattern, matching[order], order, block),
    )
    return [tridiagonal, banded]


def _simplicial(pattern: SparsityPattern, matching: np.ndarray, multifrontal: AbstractDirectPlan) -> Candidate:
    if not simplicial_could_win(pattern.shape[0], multifrontal.nnz_factor, multifrontal.flops):
        return Candidate("simplicial", np.inf, "the fronts are large enough for the multifrontal method", None)
    plan = SimplicialPlan(pattern, matching)
    note = f"{plan.nnz_factor} factor entries, {plan.num_blocks} diagonal blocks"
    return Candidate(plan.kind, plan.time, note, lambda: plan)
