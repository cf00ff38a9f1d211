"""Conversion from and to `jax.experimental.sparse`, for other libraries only: nothing here multiplies."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.experimental.sparse import BCOO, BCSR
from jaxtyping import Array, Inexact

from sparsesolve.pattern import SparsityPattern


def from_bcoo(matrix: BCOO | BCSR) -> tuple[Inexact[Array, " nnz"], SparsityPattern]:
    """CSR values and pattern of a two-dimensional BCOO or BCSR; duplicates are summed.

    The values may be traced, the indices may not: they are the plan.
    """
    if isinstance(matrix, BCSR):
        matrix = matrix.to_bcoo()
    if not isinstance(matrix, BCOO):
        raise TypeError(f"from_bcoo needs a BCOO or BCSR matrix, got {type(matrix).__name__}.")
    if matrix.n_sparse != 2 or matrix.n_batch or matrix.n_dense:
        raise ValueError(
            f"from_bcoo needs two sparse dimensions and no batch or dense ones, got n_sparse={matrix.n_sparse}, "
            f"n_batch={matrix.n_batch}, n_dense={matrix.n_dense}; write matrix.update_layout(n_batch=0, n_dense=0)."
        )
    if isinstance(matrix.indices, Tracer):
        raise TypeError(
            "from_bcoo got traced indices, but the pattern must be known while tracing; close over the BCOO matrix "
            "instead of passing it through jit, or convert it before."
        )
    indices = np.asarray(matrix.indices)
    inside = np.all(indices < np.asarray(matrix.shape), axis=1)  # BCOO pads with indices past the end
    kept = np.flatnonzero(inside)
    rows, cols = indices[kept, 0], indices[kept, 1]
    pattern = SparsityPattern.from_coo(rows, cols, (matrix.shape[0], matrix.shape[1]))
    target = pattern.positions(rows, cols)
    values = matrix.data[kept]
    return jnp.zeros((pattern.nnz,), values.dtype).at[target].add(values), pattern


def to_bcoo(data: Inexact[Array, " nnz"], pattern: SparsityPattern) -> BCOO:
    """The BCOO matrix with the same entries."""
    indices = np.stack([pattern.rows, pattern.indices], axis=1)
    return BCOO((data, jnp.asarray(indices)), shape=pattern.shape, indices_sorted=True, unique_indices=True)
