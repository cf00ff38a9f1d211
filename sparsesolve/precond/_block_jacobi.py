"""`BlockJacobi`: inverses of small diagonal tiles, found from the pattern, computed in one batch. Traced, plan apart.

    M = sum_t R_t^T (R_t A R_t^T) R_t,     R_t the restriction to tile t, tiles disjoint

Cost: `2 s^2 n` operations to invert tiles of `s` unknowns, `2 s n` to apply; memory `s n`. Application is a gather, `s`
fused multiply-adds over contiguous arrays and a gather back: no triangular solves, which a GPU has no use for.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from sparsesolve._cache import BoundedCache
from sparsesolve.matrix import SparseMatrix
from sparsesolve.matrix._base import gather, pad_positions
from sparsesolve.pattern import SparsityPattern
from sparsesolve.precond._base import AbstractApplication, AbstractPreconditioner, PreconditionerOperator
from sparsesolve.precond._inverse import small_inverses
from sparsesolve.precond._tiles import tile_groups

_plans = BoundedCache("block Jacobi tiles", maxsize=32)


class TilePlan(AbstractApplication):
    """Tiles of one pattern. Host-side, hashed by content.

    Attributes:
        pattern: of the matrices.
        members: int32 `(s, count)`, the unknowns of each tile, padded by numbers from `n` on.
        place: int32 `(n,)`, where each unknown is in the raveled members.
        positions: int32 `(s, s, count)`, where the entries of the tiles are in the data; past its end for zeros.
        padding: bool `(s, count)`, which members are none; `None` if all are.
    """

    def __init__(self, pattern: SparsityPattern, group: np.ndarray):
        n = pattern.shape[0]
        count = int(group.max(initial=-1)) + 1
        order = np.argsort(group, kind="stable")
        starts = np.cumsum(np.bincount(group, minlength=count))
        within = np.arange(n) - np.concatenate([[0], starts[:-1]])[group[order]] if n else np.zeros(0, np.int64)
        self.size = int(within.max(initial=0)) + 1
        members = np.full((self.size, count), -1)
        members[within, group[order]] = order
        slot = np.empty(n, np.int64)
        slot[order] = within
        self.pattern = pattern
        self.group = group
        self.members = pad_positions(members, n)
        self.place = (slot * count + group).astype(np.int32)
        inside = np.flatnonzero(group[pattern.rows] == group[pattern.indices])
        row, col = pattern.rows[inside], pattern.indices[inside]
        positions = np.full((self.size, self.size, count), -1)
        positions[slot[row], slot[col], group[row]] = inside
        self.positions = pad_positions(positions, pattern.nnz)
        self.padding = (members < 0) if (members < 0).any() else None

    def inverses(self, data: Inexact[Array, " nnz"]) -> Inexact[Array, "s s count"]:
        """The inverted tiles; a singular one is replaced by the inverse of its diagonal."""
        return _inverses(self, data)

    def apply(self, arrays: Any, v: Inexact[Array, " n"], *, transpose: bool) -> Inexact[Array, " n"]:
        """Multiplies each tile by its inverse."""
        return _apply(self, arrays, v, transpose)

    @functools.cached_property
    def _key(self) -> Any:
        return self.pattern.digest, self.group.tobytes()

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, TilePlan) and self._key == other._key)

    def __hash__(self) -> int:
        return hash(self._key)


@functools.partial(jax.jit, static_argnums=0)
def _inverses(plan: TilePlan, data: Array) -> Array:
    blocks = gather(data, jax.lax.optimization_barrier(plan.positions))
    eye = np.eye(plan.size, dtype=bool)[:, :, None]
    if plan.padding is not None:
        blocks = jnp.where(eye & plan.padding[:, None, :], 1, blocks)
    inverse, regular = small_inverses(blocks)
    usable = eye & (blocks != 0) & jnp.isfinite(blocks)
    diagonal = jnp.where(usable, 1 / jnp.where(usable, blocks, 1), jnp.where(eye, 1, 0)).astype(data.dtype)
    return jnp.where(regular[None, None, :], inverse, diagonal)


@functools.partial(jax.jit, static_argnums=(0, 3))
def _apply(plan: TilePlan, inverses: Array, v: Array, transpose: bool) -> Array:
    members, place = jax.lax.optimization_barrier((plan.members, plan.place))
    local = gather(v, members)
    blocks = jnp.swapaxes(inverses, 0, 1) if transpose else inverses
    out = blocks[:, 0] * local[:1]
    for j in range(1, plan.size):
        out = out + blocks[:, j] * local[j : j + 1]
    return out.reshape(-1)[place]


class BlockJacobi(AbstractPreconditioner):
    """Block Jacobi preconditioner with small dense tiles found from the sparsity pattern.

    Connected components become tiles where they are small; species that couple at one point share a tile; neighbours
    are then merged until tiles have `block_size` unknowns. A singular tile falls back to its diagonal.

    Attributes:
        block_size: most unknowns in a tile; elimination is unrolled over it, so keep it below 20.
        plan: tiles pinned by `prepare`; otherwise found from the pattern while tracing.

    Raises:
        ValueError: if a prepared plan meets a matrix with another pattern.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsesolve.matrix import SparseMatrix
        >>> from sparsesolve.precond import BlockJacobi
        >>> A = SparseMatrix.from_dense(jnp.array([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 4.0]]))
        >>> BlockJacobi()(A).mv(jnp.array([1.0, 2.0, 4.0]))
        Array([1., 1., 1.], dtype=float64)
    """

    block_size: int = eqx.field(default=8, static=True)
    plan: TilePlan | None = eqx.field(default=None, static=True)

    def prepare(self, pattern: SparsityPattern, sample: Inexact[Array, " nnz"] | None = None) -> BlockJacobi:
        """The same with tiles pinned; with `sample` values, unknowns that are strongly coupled share a tile."""
        return dataclasses.replace(self, plan=_plan(pattern, self.block_size, sample))

    def factor(self, matrix: SparseMatrix) -> PreconditionerOperator:
        """Inverts the tiles."""
        plan = _plan(matrix.pattern, self.block_size, None) if self.plan is None else self.plan
        if plan.pattern != matrix.pattern:
            raise ValueError(
                f"BlockJacobi was prepared for a pattern with {plan.pattern.nnz} entries and got a matrix with "
                f"{matrix.nnz} entries elsewhere; write BlockJacobi().prepare(matrix.pattern)."
            )
        return PreconditionerOperator(plan.inverses(matrix.data), plan, matrix.shape[0], matrix.dtype)


def _plan(pattern: SparsityPattern, block_size: int, sample: Any) -> TilePlan:
    if sample is not None:
        return TilePlan(pattern, tile_groups(pattern, block_size, np.asarray(sample)))
    key = (pattern, pattern.column_shapes, block_size)
    return _plans.get(key, lambda: TilePlan(pattern, tile_groups(pattern, block_size, None)))
