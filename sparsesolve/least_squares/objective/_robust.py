"""Robust losses: the cost `1/2 sum_b c_b^2 rho(|r_b|^2 / c_b^2)` over blocks `b`, and Triggs' correction.

With `s = |r_b|^2`, `w = sqrt(rho')` and `a` the smaller root of  a^2 / 2 - a - s rho'' / rho' = 0,

    r~_b = w / (1 - a) r_b,       J~_b = w (I - a r_b r_b^T / s) J_b

have the gradient of the cost, `J~^T r~`, and its Gauss-Newton Hessian with the curvature of the loss, `J~^T J~`. Where
an outlier's loss bends down so far that `(1 - a)^2` is below a quarter, the correction would take its curvature and
make steps far too long: there `a = 0` (Ceres: for every concave loss; residuals nearer keep the quadratic rate).
Bundle adjustment with two per cent wrong observations under a Cauchy loss: 11 steps, 18 with `a = 0` throughout, more
than 200 with `1 - a` kept above a tenth. But `a = 0` takes each outlier of a Huber loss, which has no curvature, for
one with a curvature of `w^2`, and converges linearly, the slower the more outliers there are. So the engine lowers the
stiffness `(1 - a)^2` of outliers, 1 at first, down to a hundredth where short steps go on decreasing the cost more than
the model promises, and raises it where they decrease it less or fail: a line with seven outliers among ten data takes
18 steps in place of 130, bundle adjustment under a Huber loss, where one soft step in three failed as long as there
were but two kinds, 66 in place of 171.

Reference: B. Triggs, P. McLauchlan, R. Hartley, A. Fitzgibbon, Bundle adjustment - a modern synthesis, LNCS 1883 (2000)
298-372, section 4.3, doi:10.1007/3-540-44480-7_21.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Inexact

from sparsesolve._tree import Structure
from sparsesolve.linear._pure import PureFunction, purify
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern

_LEAST = 0.25  # of (1 - a)^2
LEAST_STIFFNESS = 0.01  # to which the engine takes that of outliers down near a solution


class LeafLoss(NamedTuple):
    """The loss of one leaf of the residual: `apply(s, data, captured)` of the squared norm of a block."""

    apply: PureFunction | None  # None: the squares themselves
    block: int


class Corrected(NamedTuple):
    """Residual and Jacobian values after Triggs' correction."""

    residual: Inexact[Array, " m"]
    data: Inexact[Array, " nnz"]


class Correction(NamedTuple):
    """Triggs' correction as a linear map of residuals, `C = diag(weight) (I - along r^T)` in each block.

    Attributes:
        residual: corrected.
        forward: `v -> C v`.
        backward: `w -> C^T w`.
    """

    residual: Inexact[Array, " m"]
    forward: Callable[[Array], Array]
    backward: Callable[[Array], Array]


class BlockLosses:
    """The losses of all leaves of a residual. Host-side; the operands hold their traced parameters.

    Args:
        structure: of the residual.
        leaves: one loss for each leaf.
    """

    def __init__(self, structure: Structure, leaves: tuple[LeafLoss, ...]):
        self.structure = structure
        self.leaves = leaves
        self.key = leaves
        self._blocked = any(leaf.block > 1 for leaf in leaves)

    def pattern(self, pattern: SparsityPattern) -> SparsityPattern:
        """`pattern` with the entries of all rows of a block in each of them."""
        if not self._blocked:
            return pattern
        block = self._block_of_row()
        ones = np.ones(pattern.nnz, np.bool_)
        count = int(block[-1]) + 1
        merged: Any = scipy.sparse.coo_matrix((ones, (block[pattern.rows], pattern.indices)), (count, pattern.shape[1]))
        spread = scipy.sparse.coo_matrix(
            (np.ones(block.size, np.bool_), (np.arange(block.size), block)), (block.size, count)
        )
        return SparsityPattern.from_scipy((spread.tocsr() @ merged.tocsr()).tocsr())

    def cost(self, r: Inexact[Array, " m"], operands: Any) -> Float[Array, ""]:
        """Half the sum of the losses."""
        return 0.5 * jnp.sum(jnp.concatenate(self._each(r, operands, _value)))

    def correct(
        self, r: Inexact[Array, " m"], matrix: SparseMatrix, operands: Any, stiffness: Float[Array, ""] | float = 1.0
    ) -> Corrected:
        """Triggs' correction of residual and Jacobian; the latter on the pattern of `pattern`."""
        slope = jnp.concatenate(self._each(r, operands, _slope))
        keep = jnp.concatenate(self._each(r, operands, lambda f, s: _keep(f, s, stiffness)))
        weight = jnp.sqrt(slope)
        rows = matrix.pattern.rows
        if not self._blocked:
            return Corrected(weight / keep * r, (weight * keep)[rows] * matrix.data)
        norm = jnp.concatenate(self._each(r, operands, lambda f, s: s))
        along = (1 - keep) * r / jnp.where(norm > 0, norm, 1.0)
        segment, count = self._segments(matrix.pattern)
        product = jax.ops.segment_sum(r[rows] * matrix.data, segment, count)
        return Corrected(weight / keep * r, weight[rows] * (matrix.data - along[rows] * product[segment]))

    def correction(self, r: Inexact[Array, " m"], operands: Any) -> Correction:
        """Triggs' correction where there is no Jacobian but products with it."""
        slope = jnp.concatenate(self._each(r, operands, _slope))
        keep = jnp.concatenate(self._each(r, operands, _keep))
        norm = jnp.concatenate(self._each(r, operands, lambda f, s: s))
        weight = jnp.sqrt(slope)
        along = (1 - keep) * r / jnp.where(norm > 0, norm, 1.0)
        block = self._block_of_row()

        def summed(v: Array) -> Array:
            return jax.ops.segment_sum(v, block, int(block[-1]) + 1, indices_are_sorted=True)[block]

        def backward(w: Array) -> Array:
            return weight * w - r * summed(along * weight * w)

        return Correction(weight / keep * r, lambda v: weight * (v - along * summed(r * v)), backward)

    def _each(self, r: Array, operands: Any, what: Any) -> list[Array]:
        """`what(loss, s)` for the residuals of each leaf, a number a residual; for the cost a number a block."""
        out, start = [], 0
        for leaf, size, (data, captured) in zip(self.leaves, self.structure.sizes, operands, strict=True):
            s = jnp.sum(r[start : start + size].reshape(-1, leaf.block) ** 2, axis=1)
            start += size

            def loss(s_: Array, leaf: Any = leaf, data: Any = data, captured: Any = captured) -> Array:
                return s_ if leaf.apply is None else leaf.apply(s_, data, captured)

            values = what(loss, s)
            out.append(values if what is _value else jnp.repeat(values, leaf.block, total_repeat_length=size))
        return out

    def _block_of_row(self) -> np.ndarray:
        counts = [size // leaf.block for leaf, size in zip(self.leaves, self.structure.sizes, strict=True)]
        starts = np.cumsum([0, *counts])
        parts = [
            start + np.arange(size) // leaf.block
            for start, size, leaf in zip(starts, self.structure.sizes, self.leaves, strict=False)
        ]
        return np.concatenate(parts)

    def _segments(self, pattern: SparsityPattern) -> tuple[np.ndarray, int]:
        """For each entry, the number of its (block, column)."""
        keys = self._block_of_row()[pattern.rows].astype(np.int64) * pattern.shape[1] + pattern.indices
        unique, segment = np.unique(keys, return_inverse=True)
        return segment.astype(np.int32), int(unique.size)


def _value(loss: Any, s: Array) -> Array:
    return jax.vmap(loss)(s)


def _slope(loss: Any, s: Array) -> Array:
    # A weight of zero would leave a parameter without any equation.
    return jnp.maximum(jax.vmap(jax.grad(loss))(s), jnp.finfo(s.dtype).tiny ** 0.5)


def _keep(loss: Any, s: Array, stiffness: Float[Array, ""] | float = 1.0) -> Array:
    """`1 - a`: the root of the quadratic equation of the module's description, for outliers by the stiffness."""
    first, second = jax.vmap(jax.grad(loss))(s), jax.vmap(jax.grad(jax.grad(loss)))(s)
    ratio = jnp.where(first > 0, second / jnp.where(first > 0, first, 1.0), 0.0)
    square = 1 + 2 * s * ratio
    return jnp.sqrt(jnp.where(square >= _LEAST, square, jnp.maximum(square, stiffness)))


def make_losses(loss: Any, residual: Any) -> tuple[BlockLosses | None, tuple[Any, ...]]:
    """Traces the losses of a residual; also their traced operands.

    Args:
        loss: `None`, a callable, or a pytree prefix of the residual with callables and `None` at its leaves.
        residual: pytree of arrays or `jax.ShapeDtypeStruct`.

    Raises:
        TypeError: something else was given.
        ValueError: the blocks of a loss do not divide its leaf.
    """
    if loss is None:
        return None, ()
    structure = Structure.of(residual)
    given = _spread(loss, residual, structure)
    leaves, operands = [], []
    for one, name, shape, dtype in zip(given, structure.names, structure.shapes, structure.dtypes, strict=True):
        block = getattr(one, "block", None) or 1
        size = math.prod(shape)
        if size % block:
            raise ValueError(
                f"least_squares got a loss with blocks of {block} for the residual{name} of shape {shape}, whose "
                f"{size} entries are no multiple of that; the entries of a block come one after the other."
            )
        if one is None:
            leaves.append(LeafLoss(None, block))
            operands.append(((), ()))
            continue
        pure, data, captured = purify(_scaled, jax.ShapeDtypeStruct((), dtype), one)
        if jtu.tree_structure(pure.out) != jtu.tree_structure(0) or pure.out.shape != ():
            raise TypeError(
                f"least_squares got a loss that returns {pure.out} for a scalar; write loss(s) as a scalar function "
                "of the squared residual."
            )
        leaves.append(LeafLoss(pure, block))
        operands.append((data, captured))
    return BlockLosses(structure, tuple(leaves)), tuple(operands)


def _scaled(s: Any, loss: Any) -> Any:
    scale = getattr(loss, "scale", 1.0)
    return jnp.asarray(scale**2 * loss(s / scale**2), s.dtype)


def _spread(loss: Any, residual: Any, structure: Structure) -> list[Any]:
    if callable(loss):
        return [loss] * len(structure.shapes)
    try:
        spread = jax.tree.broadcast(loss, residual, is_leaf=lambda x: x is None or callable(x))
        given = jtu.tree_leaves(spread, is_leaf=lambda x: x is None or callable(x))
    except ValueError:
        given = []
    if len(given) != len(structure.shapes) or not all(one is None or callable(one) for one in given):
        raise TypeError(
            f"least_squares got loss={loss!r}, which is neither a function of a squared residual nor a pytree of such "
            f"functions in the form of the residual (leaves {', '.join(structure.names) or 'none'}); write "
            "loss=lambda s: ... or one function, or None, for each part of the residual."
        )
    return given
