"""The hierarchy of smoothed aggregation: planned on the host from sample values, refreshed from new ones inside `jit`.

Planning goes down level by level: strength, aggregates, pattern of the interpolation, pattern and sample values of the
Galerkin product. Refreshing recomputes every number from those of the finest level: diagonals, spectral intervals,
interpolations, Galerkin products, and the dense inverse at the end. Only which unknowns form an aggregate and which
entries count as strong stays as the sample had it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Inexact

from sparsesolve.direct import AbstractDirectPlan, plan_direct
from sparsesolve.matrix._base import AbstractLayout
from sparsesolve.matrix._product import product_plan
from sparsesolve.pattern import SparsityPattern
from sparsesolve.precond._aggregation import aggregate
from sparsesolve.precond._chebyshev import Interval, invert_diagonal, spectral_interval
from sparsesolve.precond._dense_inverse import dense_inverse
from sparsesolve.precond._galerkin import coarse_pattern, galerkin, native_galerkin, plan_galerkin, positions
from sparsesolve.precond._interpolation import (
    DAMPING,
    InterpolationTables,
    filter_entries,
    interpolation_values,
    plan_interpolation,
)
from sparsesolve.precond._native_rows import RowsLayout, rows_product
from sparsesolve.precond._strength import STRONG, WEAK, classify_entries, unit_sample, without_surplus
from sparsesolve.precond._sums import SumsLayout, host_sums, sums_product

_SLOWEST = 0.8  # a coarser level with more unknowns than this part of the finer one is not worth having
_LARGEST_INVERSE = 1024


@dataclasses.dataclass(frozen=True)
class LevelPlan:
    """The static side of a level: product layouts of `A`, `P` and `R`, maps of their values."""

    size: int
    product: AbstractLayout | SumsLayout | RowsLayout
    prolong: SumsLayout | RowsLayout
    restrict: SumsLayout | RowsLayout
    galerkin: tuple[int, int]  # entries of A P and of R A P


class LevelTables(NamedTuple):
    """The index tables of a level."""

    product: Any
    prolong: Any
    restrict: Any
    diagonal: Any
    transpose: Any  # the order that transposes the values of A; empty for symmetric matrices
    interpolation: InterpolationTables
    galerkin: Any


class Level(NamedTuple):
    """The numbers of a level, arranged for products."""

    a: Any
    p: Any
    r: Any
    inverse_diagonal: Inexact[Array, " n"]
    interval: Interval


class Hierarchy(NamedTuple):
    """All numbers of a multigrid cycle: levels from fine to coarse, then the factors of the coarsest."""

    levels: tuple[Level, ...]
    coarsest: Any


@dataclasses.dataclass(frozen=True, eq=False)
class HierarchyPlan:
    """The static side of all levels. Hashable by content.

    Attributes:
        pattern: of the matrices it is for.
        embedded: entries of that pattern made symmetric, 0 where it is.
        levels: from fine to coarse, without the coarsest.
        coarsest: direct plan of the last level; `None` where that is solved by its dense inverse.
        coarsest_pattern: pattern of the last level.
        symmetric: whether the sample was symmetric; then `R = P^T` and the transposed cycle is the cycle.
        entries: stored entries of the matrices of all levels together.
        tables: index tables, host arrays.
        digest: identifies everything above.
    """

    pattern: SparsityPattern
    embedded: int
    levels: tuple[LevelPlan, ...]
    coarsest: AbstractDirectPlan | None
    coarsest_pattern: SparsityPattern
    symmetric: bool
    entries: int
    tables: Any
    digest: bytes

    @property
    def sizes(self) -> tuple[int, ...]:
        """Unknowns of each level."""
        return (*(level.size for level in self.levels), self.coarsest_pattern.shape[0])

    @property
    def operator_complexity(self) -> float:
        """Entries of all levels over those of the finest."""
        return self.entries / max(1, self.pattern.nnz)

    @functools.cached_property
    def device_tables(self) -> Any:
        """The tables as JAX arrays, made once."""
        with jax.ensure_compile_time_eval():
            return jax.device_put(self.tables)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, HierarchyPlan) and self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        sizes = " > ".join(str(size) for size in self.sizes)
        return f"HierarchyPlan({sizes}, operator complexity {self.operator_complexity:.2f})"


def plan_hierarchy(
    pattern: SparsityPattern,
    sample: np.ndarray | None,
    fields: np.ndarray,
    strength: float,
    max_coarse: int,
    max_levels: int,
    native: bool,
) -> HierarchyPlan:
    """Plans all levels.

    Args:
        pattern: square.
        sample: values, `(nnz,)`, finite; `None` for those of the graph Laplacian.
        fields: field of each unknown, `(n,)`.
        strength: threshold of strong entries.
        max_coarse: unknowns that the coarsest level may have.
        max_levels: levels at most.
        native: by the compiled kernels, on the CPU, or by gathers and sums on any device.
    """
    given, whole = pattern, symmetrized(pattern)
    embedded = 0 if whole == given else whole.nnz
    embed = positions(whole, given.rows, given.indices) if embedded else ()
    pattern, data, symmetric = whole, unit_sample(whole), False
    if sample is not None:
        data = np.zeros(whole.nnz, np.result_type(sample, np.float64))
        data[embed if embedded else slice(None)] = sample
        data = without_surplus(whole, data, fields)
        difference = np.abs(data - data[whole.transpose_order]).max(initial=0)
        symmetric = bool(difference <= 1e-10 * np.abs(data).max(initial=0))
    levels, tables, digest, entries = [], [], hashlib.blake2b(given.digest, digest_size=16), 0
    while True:
        entries += pattern.nnz
        found = None
        if pattern.shape[0] > max_coarse and len(levels) + 1 < max_levels:
            found = _coarsen(pattern, data, fields, strength, symmetric, digest, not levels, native)
        if found is None:
            break
        plan, table, pattern, data, fields = found
        levels.append(plan)
        tables.append(table)
    coarsest = plan_direct(pattern) if pattern.shape[0] > _LARGEST_INVERSE else None
    digest.update(repr((symmetric, native, len(levels), coarsest is None)).encode())
    last = (pattern.rows, pattern.indices) if coarsest is None else ()
    return HierarchyPlan(
        given,
        embedded,
        tuple(levels),
        coarsest,
        pattern,
        symmetric,
        entries,
        (embed, tuple(tables), last),
        digest.digest(),
    )


def symmetrized(pattern: SparsityPattern) -> SparsityPattern:
    """The entries of a pattern, of its transpose, and the diagonal."""
    return pattern.union(pattern.T).with_diagonal()


def _coarsen(
    pattern: SparsityPattern,
    sample: np.ndarray,
    fields: np.ndarray,
    strength: float,
    symmetric: bool,
    digest: Any,
    finest: bool,
    native: bool,
) -> Any:
    """The plan of one level, its tables, and pattern, sample and fields of the next; `None` if it does not pay."""
    kinds = classify_entries(pattern, sample, fields, strength)
    strong = kinds == STRONG
    starts = np.concatenate([[0], np.cumsum(strong, dtype=np.int32)]).astype(np.int32)[pattern.indptr]
    labels, count = aggregate(starts, pattern.indices[strong])
    if not 0 < count <= _SLOWEST * pattern.shape[0]:
        return None
    digest.update(kinds.data)
    digest.update(labels.data)
    interpolation, interpolation_tables = plan_interpolation(pattern, kinds, labels, count)
    coarse = coarse_pattern(pattern, interpolation)
    rows = rows_product if native else sums_product
    product, product_tables = _product(pattern) if finest and not native else rows(pattern)
    prolong, prolong_tables = rows(interpolation)
    restrict, restrict_tables = rows(interpolation, transpose=True)
    plan_product = native_galerkin if native else plan_galerkin
    galerkin_plan, galerkin_tables = plan_product(pattern, interpolation, coarse)
    plan = LevelPlan(pattern.shape[0], product, prolong, restrict, galerkin_plan)
    tables = LevelTables(
        product_tables,
        prolong_tables,
        restrict_tables,
        pattern.diagonal_positions,
        () if symmetric else pattern.transpose_order,
        interpolation_tables,
        galerkin_tables,
    )
    coarse_fields = np.zeros(count, fields.dtype)
    coarse_fields[labels[labels >= 0]] = fields[labels >= 0]
    gather = interpolation_tables.gather
    values = _coarse_sample(pattern, sample, kinds, labels, interpolation, gather, coarse, symmetric, native)
    return plan, tables, coarse, values, coarse_fields


def _product(pattern: SparsityPattern) -> tuple[AbstractLayout, Any]:
    """The fastest layout, for the finest level."""
    plan = product_plan(pattern)
    return plan.layout, plan.tables


def _coarse_sample(
    pattern: SparsityPattern,
    sample: np.ndarray,
    kinds: np.ndarray,
    labels: np.ndarray,
    interpolation: SparsityPattern,
    gather: Any,
    coarse: SparsityPattern,
    symmetric: bool,
    native: bool,
) -> np.ndarray:
    """Values of the Galerkin product of the sample: by the compiled kernel, or by SciPy."""
    p = rt = _sample_interpolation(pattern, sample, kinds, labels, interpolation, gather)
    if not symmetric:
        rt = _sample_interpolation(pattern, sample[pattern.transpose_order], kinds, labels, interpolation, gather)
    if native and jnp.result_type(float) == np.float64:
        plan, tables = native_galerkin(pattern, interpolation, coarse)
        with jax.ensure_compile_time_eval():
            return np.asarray(galerkin(plan, tables, *jax.device_put((sample, p, rt))))
    a = scipy.sparse.csr_matrix((sample, pattern.indices, pattern.indptr), pattern.shape)
    shape = interpolation.shape
    left, right = (scipy.sparse.csr_matrix((x, interpolation.indices, interpolation.indptr), shape) for x in (rt, p))
    product = (left.T.tocsr() @ (a @ right)).tocoo()
    data = np.zeros(coarse.nnz, sample.dtype)
    data[positions(coarse, product.row, product.col)] = product.data
    return data


def _sample_interpolation(
    pattern: SparsityPattern,
    data: np.ndarray,
    kinds: np.ndarray,
    labels: np.ndarray,
    interpolation: SparsityPattern,
    gather: Any,
) -> np.ndarray:
    """Values of the interpolation of the sample. The radius is the bound of Gershgorin's circles."""
    diagonal = data[pattern.diagonal_positions]
    weak = kinds == WEAK
    if weak.any():
        diagonal = diagonal + np.add.reduceat(np.where(weak, data, 0), pattern.indptr[:-1])
    inverse = 1 / np.where(diagonal == 0, 1, diagonal)
    filtered = np.where(kinds == STRONG, data, 0)
    filtered[pattern.diagonal_positions] = diagonal
    radius = np.max(np.add.reduceat(np.abs(filtered), pattern.indptr[:-1]) * np.abs(inverse))
    step = (DAMPING / radius * inverse)[interpolation.rows] * host_sums(gather, filtered)
    return (labels[interpolation.rows] == interpolation.indices) - step


@functools.partial(jax.jit, static_argnums=(0, 1))
def refresh(
    plan: HierarchyPlan, spread: float, tables: Any, data: Inexact[Array, " nnz"]
) -> tuple[Hierarchy, Hierarchy]:
    """All numbers from the values of the finest matrix, and those of the transposed cycle. Traced."""
    embed, level_tables, last = tables
    a = data
    if plan.embedded:
        a = jnp.zeros((plan.embedded,), data.dtype).at[embed].set(data, unique_indices=True)
    levels, transposed = [], []
    for level, table in zip(plan.levels, level_tables, strict=True):
        forward, backward, a = _refresh_level(level, table, spread, a)
        levels.append(forward)
        transposed.append(backward)
    if plan.coarsest is None:
        n = plan.coarsest_pattern.shape[0]
        factors = dense_inverse(jnp.zeros((n, n), a.dtype).at[last].set(a, unique_indices=True))
    else:
        factors = plan.coarsest.factor(a)
    return Hierarchy(tuple(levels), factors), Hierarchy(tuple(transposed), factors)


def _refresh_level(
    plan: LevelPlan, tables: LevelTables, spread: float, a: Inexact[Array, " nnz"]
) -> tuple[Level, Level, Inexact[Array, " coarse"]]:
    """The numbers of one level, those of its transpose, and the values of the next matrix."""
    inverse_diagonal = invert_diagonal(a.at[tables.diagonal].get(mode="promise_in_bounds", unique_indices=True))
    arranged, interval = _spectrum(plan, tables, spread, a, inverse_diagonal)
    filtered, diagonal = filter_entries(tables.interpolation, tables.diagonal, a)
    weights, radius = inverse_diagonal, interval.upper
    if not isinstance(tables.interpolation.kinds, tuple):
        weights = invert_diagonal(diagonal)
        radius = _spectrum(plan, tables, spread, filtered, weights)[1].upper
    p = interpolation_values(tables.interpolation, filtered, weights, radius)

    def level(arranged: Any, p: Array, rt: Array) -> Level:
        prolong, restrict = plan.prolong.arrange(tables.prolong, p), plan.restrict.arrange(tables.restrict, rt)
        return Level(arranged, prolong, restrict, inverse_diagonal, interval)

    if isinstance(tables.transpose, tuple):  # symmetric
        both = level(arranged, p, p)
        return both, both, galerkin(plan.galerkin, tables.galerkin, a, p, p)
    turned = a.at[tables.transpose].get(mode="promise_in_bounds", unique_indices=True)
    filtered, diagonal = filter_entries(tables.interpolation, tables.diagonal, turned)
    rt = interpolation_values(tables.interpolation, filtered, invert_diagonal(diagonal), radius)
    backward = level(plan.product.arrange(tables.product, turned), rt, p)
    return level(arranged, p, rt), backward, galerkin(plan.galerkin, tables.galerkin, a, p, rt)


def _spectrum(
    plan: LevelPlan,
    tables: LevelTables,
    spread: float,
    a: Inexact[Array, " nnz"],
    inverse_diagonal: Inexact[Array, " n"],
) -> tuple[Any, Interval]:
    """Values arranged for products, and the interval to smooth."""
    arranged = plan.product.arrange(tables.product, a)
    ones = jnp.ones(inverse_diagonal.shape, jnp.finfo(a.dtype).dtype)
    sums = plan.product.multiply(tables.product, jax.tree.map(jnp.abs, arranged), ones)

    def product(v: Array) -> Array:
        return plan.product.multiply(tables.product, arranged, v)

    return arranged, spectral_interval(product, sums, inverse_diagonal, spread)
