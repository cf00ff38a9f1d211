"""`J^T W J` on a static plan: the pattern is found once on the host, values by a compiled kernel or by sums over maps.

Entry (j, k) is the sum over residuals `i` of `J_ij J_ik`. Cost: a multiply-add for each pair of entries of a row. The
maps of the portable form hold two indices a pair.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsesolve import _native
from sparsesolve.pattern import SparsityPattern
from sparsesolve.precond._galerkin import ones, positions
from sparsesolve.precond._sums import plan_sums, sum_products


def gram_pattern(pattern: SparsityPattern) -> SparsityPattern:
    """The pattern of `J^T J`, with the whole diagonal."""
    entries = ones(pattern)
    product: Any = (entries.T.tocsr() @ entries).tocsr()
    product.sort_indices()
    return SparsityPattern(product.indptr, product.indices, product.shape).with_diagonal()


class GramPlan:
    """How the values of `J^T W J` come from those of `J`, `W` a diagonal of weights. Host-side.

    Attributes:
        pattern: of the product, with the whole diagonal.
    """

    def __init__(self, pattern: SparsityPattern):
        self.pattern = gram_pattern(pattern)
        self._rows = pattern
        self._native = _native.available()
        if self._native:
            self._tables: Any = (pattern.indptr, pattern.indices, self.pattern.indptr, self.pattern.indices)
        else:
            self._tables = _portable_tables(pattern, self.pattern)

    def values(self, data: Float[Array, " nnz"], weights: Float[Array, " m"] | None = None) -> Float[Array, " entries"]:
        """The CSR values of `J^T W J`, of `J^T J` without weights. Traced."""
        tables = jax.lax.optimization_barrier(self._tables)
        if self._native:
            diagonal = jnp.ones((self._rows.shape[0],), data.dtype) if weights is None else weights
            return _native.gram(tables, diagonal, data, self.pattern.nnz)
        weighted = data if weights is None else weights[self._rows.rows] * data
        return sum_products(tables, self.pattern.nnz, weighted, data)


def _portable_tables(pattern: SparsityPattern, gram: SparsityPattern) -> Any:
    counts = np.diff(pattern.indptr)[pattern.rows]
    first = np.repeat(np.arange(pattern.nnz, dtype=np.int32), counts)
    offset = pattern.indptr[:-1][pattern.rows] - (np.cumsum(counts, dtype=np.int64) - counts)
    second = (np.arange(first.size, dtype=np.int64) + offset[first]).astype(np.int32)
    target = positions(gram, pattern.indices[first], pattern.indices[second])
    return plan_sums(target, gram.nnz, first, second, holes=pattern.nnz)
