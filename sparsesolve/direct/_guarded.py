"""Factors of lower precision where they are good enough, found out by trying, and factors of the full one where not.

What an iteration with low-precision factors F of A contracts by is the size of  I - F^-1 A.  It is measured on one
vector r at every factorization:  F^-1 (A r)  against r, component by component in units of weights that the caller
gives (the tolerances of the variables, say). Above `ENOUGH`, A is factorized again in full precision and its solves
use that. r has all its components of one sign, so that it is not nearly orthogonal to the smooth and conserved modes
that are lost first. Cost beyond the factorization in low precision: a product and a solve; the memory of both factors.

Reference: E. Carson, N. J. Higham, SIAM J. Sci. Comput. 40 (2018) A817-A847, doi:10.1137/17M1140819.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Inexact, Real

from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._mixed import MixedPlan
from sparsesolve.matrix import SparseMatrix

ENOUGH = 0.05  # largest error of the trial, relative to the weights: less than what an old Jacobian costs an iteration


class GuardedFactors(NamedTuple):
    """Factors of both precisions; `full` are stale where `low` are good enough."""

    low: Any
    full: Any
    refused: Bool[Array, ""]


class GuardedPlan(AbstractDirectPlan):
    """A plan whose factors are kept in single precision wherever they pass a trial.

    Args:
        inner: plan of the factorization, in either precision.
    """

    def __init__(self, inner: AbstractDirectPlan):
        self.inner, self.low = inner, MixedPlan(inner, np.dtype(np.float32))
        self.pattern, self.kind = inner.pattern, inner.kind
        self.nnz_factor, self.flops, self.workspace = inner.nnz_factor, inner.flops, inner.workspace
        self.time, self.alternatives = inner.time, inner.alternatives
        self.choices = (inner, "guarded")

    def factor(self, data: Inexact[Array, " nnz"]) -> GuardedFactors:
        full = jax.eval_shape(self.inner.factor, data)
        blank = jtu.tree_map(lambda s: jnp.zeros(s.shape, s.dtype), full)
        weights = jnp.ones((self.pattern.shape[0],), jnp.finfo(data.dtype).dtype)
        return self.refactor(data, blank, weights)

    def refactor(
        self, data: Inexact[Array, " nnz"], full: Any, weights: Real[Array, " n"], force: Any = False
    ) -> GuardedFactors:
        """New factors; `full` are older ones, which stay in their place where those of low precision will do.

        Args:
            data: CSR values.
            full: the part of older factors.
            weights: units of the unknowns in which the trial is judged.
            force: whether to factorize in full precision anyway.
        """
        low = self.low.factor(data)
        trial = weights * (1 + 0.5 * jnp.sin(1.7 * jnp.arange(weights.shape[0], dtype=weights.dtype)))
        product = SparseMatrix(data, self.pattern) @ trial.astype(data.dtype)
        error = jnp.max(jnp.abs(self.low.solve(low, product) - trial) / weights, initial=0.0)
        refused = ~(error <= ENOUGH) | force

        def renew(state: Any) -> Any:
            return jtu.tree_map(lambda new, old: jnp.where(refused, new, old), self.inner.factor(data), state[0]), False

        # A loop of at most one turn, since a condition would copy the factors that it passes on.
        full, _ = lax.while_loop(lambda state: state[1], renew, (full, eqxi.unvmap_any(refused)))
        return GuardedFactors(low, full, refused)

    def solve(
        self, factors: GuardedFactors, rhs: Inexact[Array, " n"], *, transpose: bool = False
    ) -> Inexact[Array, " n"]:
        def low(b: Array) -> Array:
            return self.low.solve(factors.low, b, transpose=transpose)

        def full(b: Array) -> Array:
            return self.inner.solve(factors.full, b, transpose=transpose)

        return lax.cond(factors.refused, full, low, rhs)

    def sound(self, factors: GuardedFactors) -> Bool[Array, ""]:
        return jnp.where(factors.refused, self.inner.sound(factors.full), self.low.sound(factors.low))
