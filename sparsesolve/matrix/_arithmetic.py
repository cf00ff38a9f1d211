"""Sums on static patterns: `A + B` on the union of the entries, `A + shift I`, the diagonal. Gathers only."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from sparsesolve.matrix._base import gather, pad_positions
from sparsesolve.matrix._plans import cached_plan
from sparsesolve.pattern import SparsityPattern


def add_on_union(
    left: SparsityPattern, left_data: Inexact[Array, " nnz_left"], right: SparsityPattern, right_data: Array
) -> tuple[Inexact[Array, " nnz"], SparsityPattern]:
    """Values and pattern of the sum of two matrices."""
    if left.shape != right.shape:
        raise ValueError(f"Cannot add matrices of shapes {left.shape} and {right.shape}; they must agree.")
    if left == right:
        return left_data + right_data, left
    return add_values(left, left_data, right, right_data)


def add_values(
    left: SparsityPattern, left_data: Array, right: SparsityPattern, right_data: Array
) -> tuple[Array, SparsityPattern]:
    """The sum when the patterns differ; where one pattern holds the other, the sum has that very pattern object."""
    holder, from_left, from_right = cached_plan(left, ("sum", right.digest), lambda: _sum_plan(left, right))
    pattern = left if holder == "left" else right if holder == "right" else holder
    a = left_data if from_left is None else gather(left_data, from_left)
    b = right_data if from_right is None else gather(right_data, from_right)
    return a + b, pattern


def _sum_plan(left: SparsityPattern, right: SparsityPattern) -> tuple[Any, np.ndarray | None, np.ndarray | None]:
    union = left.union(right)
    if union == left:
        return "left", None, _positions_in(right, left)
    if union == right:
        return "right", _positions_in(left, right), None
    return union, _positions_in(left, union), _positions_in(right, union)


def _positions_in(part: SparsityPattern, whole: SparsityPattern) -> np.ndarray:
    """For each entry of `whole`, where `part` stores it (past the end where it does not)."""
    if part == whole:
        return np.arange(part.nnz, dtype=np.int32)
    return pad_positions(part.positions(whole.rows, whole.indices), part.nnz)


def add_to_diagonal(pattern: SparsityPattern, data: Array, shift: Array) -> tuple[Array, SparsityPattern]:
    """Values and pattern of `A + diag(shift)`; a scalar shift means a multiple of the identity."""
    size = min(pattern.shape)
    if shift.shape not in ((), (size,)):
        raise ValueError(
            f"A shift of a matrix of shape {pattern.shape} is a scalar or a vector of shape ({size},), "
            f"got shape {shift.shape}."
        )
    full = pattern.with_diagonal()
    dtype = jnp.result_type(data, shift)
    values = data.astype(dtype)
    if full is not pattern:
        values, full = add_values(pattern, values, full, jnp.zeros((full.nnz,), dtype))
    return values.at[full.diagonal_positions].add(
        shift.astype(dtype), unique_indices=True, indices_are_sorted=True
    ), full


def diagonal_values(pattern: SparsityPattern, data: Array, offset: int = 0) -> Array:
    """The entries `A[i, i + offset]`, zero where they are not stored."""
    m, n = pattern.shape
    size = max(0, min(m + min(offset, 0), n - max(offset, 0)))

    def locate() -> np.ndarray:
        if offset == 0:
            return pad_positions(pattern.diagonal_positions, pattern.nnz)
        steps = np.arange(size)
        return pad_positions(pattern.positions(steps + max(-offset, 0), steps + max(offset, 0)), pattern.nnz)

    return gather(data, cached_plan(pattern, ("diagonal", offset), locate))
