"""Diagonal matrices: a division. The factors are the inverse entries. Cost: O(n)."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._blockinverse import perturb
from sparsesolve.pattern import SparsityPattern


class DiagonalPlan(AbstractDirectPlan):
    """Solves with a matrix whose entries all lie on the diagonal (zeros stored elsewhere are not allowed)."""

    kind = "diagonal"
    choices = ()

    def __init__(self, pattern: SparsityPattern):
        if pattern.nnz != pattern.shape[0] or not np.array_equal(pattern.indices, pattern.rows):
            raise ValueError("DiagonalPlan needs exactly the diagonal entries; use plan_direct to choose a method.")
        self.pattern = pattern
        self.nnz_factor = pattern.nnz
        self.flops = float(pattern.nnz)

    def factor(self, data: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        """Inverse entries. Only a zero entry is perturbed: any other one is a perfect pivot."""
        return 1 / perturb(data, jnp.asarray(jnp.finfo(data.dtype).tiny, jnp.abs(data).dtype))

    def solve(
        self, factors: Inexact[Array, " n"], rhs: Inexact[Array, " n"], *, transpose: bool = False
    ) -> Inexact[Array, " n"]:
        return factors * rhs
