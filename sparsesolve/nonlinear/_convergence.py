"""When Newton's method has converged, and tolerances that follow the dtype.

Two tests, either of which suffices after a step `d` from `y` with Jacobian `J`:

* *Step:*  |d_j| <= atol + rtol * s  for every unknown, where `s` is the largest magnitude its leaf has had so far,
  and `d` satisfies each linearised equation on its own.
  Newton's method squares the relative error in each step, so the error left after a step of size rtol is far below
  rtol; only at a degenerate root, where convergence is linear, is it about rtol.
* *Rounding floor:*  |F_i(y)| <= sqrt(m) eps (|J| |y|)_i  for every equation, `m` the most entries in a row. Then `y`
  solves exactly a system whose terms differ from the given ones by roundings, and no iteration can tell a better `y`
  (the componentwise backward error of Oettli and Prager, Numer. Math. 6 (1964) 405-409, with `|J| |y|` in place of
  `|A| |x|`). A residual that evaluates less accurately ends at eight times this, once it stops decreasing.

The default rtol is eps^(2/3): 4e-11 in float64, 2e-5 in float32. Cost: one product with |J| per step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, PyTree

from sparsesolve.linear._resolution import two_norm
from sparsesolve.matrix import SparseMatrix


def largest_by_leaf(y: PyTree[Array]) -> PyTree[Array]:
    """The largest magnitude in each leaf, a scalar for each."""
    return jtu.tree_map(lambda leaf: jnp.max(jnp.abs(leaf), initial=0.0), y)


def scaled_step(
    step: PyTree[Array], scale: PyTree[Array], rtol: Any, atol: Any, norm: Callable[[PyTree], Array]
) -> Float[Array, ""]:
    """The norm of `step / (atol + rtol * scale)`; at most 1 means converged. A zero step measures 0."""

    def relative(d: Array, s: Array) -> Array:
        tolerance = jnp.asarray(atol + rtol * s, s.dtype)
        tiny = jnp.finfo(s.dtype).tiny
        return jnp.where(d == 0, jnp.zeros_like(d), d / jnp.maximum(tolerance, tiny))

    return norm(jtu.tree_map(relative, step, scale))


def rounding_floor(jacobian: SparseMatrix, y: Inexact[Array, " n"], eps: float) -> Float[Array, " n"]:
    """How large each residual is by rounding alone: `sqrt(m) eps (|J| |y|)_i`."""
    longest_row = int(np.max(np.diff(jacobian.pattern.indptr), initial=1))
    size = SparseMatrix(jnp.abs(jacobian.data), jacobian.pattern) @ jnp.abs(y).astype(_real(jacobian.dtype))
    return math.sqrt(longest_row) * eps * size


def at_rounding_floor(
    before: Inexact[Array, " n"],
    after: Inexact[Array, " n"],
    floor_before: Float[Array, " n"],
    floor_after: Float[Array, " n"],
    accepted: Bool[Array, ""],
) -> Bool[Array, ""]:
    """Whether a step ended, or began, at residuals that are rounding errors."""

    def within(f: Array, limit: Array) -> Array:
        return jnp.all(jnp.abs(f) <= limit)

    stopped = ~accepted | (two_norm(after) > 0.5 * two_norm(before))
    began = within(before, floor_before) | (stopped & within(before, 8 * floor_before))
    return began | (accepted & within(after, floor_after))


def solves_each_equation(
    jacobian: SparseMatrix, step: Inexact[Array, " n"], residual: Inexact[Array, " n"], floor: Float[Array, " n"]
) -> Bool[Array, ""]:
    """Whether `J d = -F` holds in every single equation, to half its residual or to rounding.

    Linear solvers promise a residual that is small beside the largest one. A short step means convergence only if
    no equation of smaller size was left out.
    """
    left = jnp.abs(residual + jacobian @ step)
    return jnp.all(left <= 0.5 * jnp.abs(residual) + 8 * floor)


def _real(dtype: Any) -> Any:
    return jax.eval_shape(jnp.abs, jax.ShapeDtypeStruct((), dtype)).dtype
