"""`as_pattern`: whatever a user has that says where the nonzeros are, as a `SparsityPattern`."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from sparsesolve.pattern._pattern import SparsityPattern


def as_pattern(sparsity: Any, shape: tuple[int, int] | None = None) -> SparsityPattern:
    """Converts a pattern, an object with a `pattern`, a SciPy, BCOO or BCSR matrix, or a dense array; checks its shape.

    Args:
        sparsity: `SparsityPattern`, anything with a `.pattern` (a `SparseJacobian`, a `SparseMatrix`), a SciPy sparse
            matrix or array, a `jax.experimental.sparse` BCOO or BCSR matrix without batch and dense dimensions, or
            a dense array whose nonzeros are the entries. Stored entries count even if they are zero.
        shape: the shape the pattern must have.

    Raises:
        ValueError: the shape differs, or a batched BCOO/BCSR matrix was given.
        TypeError: the object is none of these.
    """
    pattern = _convert(sparsity)
    if shape is not None and pattern.shape != tuple(shape):
        raise ValueError(
            f"sparsity= has shape {pattern.shape}, but the matrix is {tuple(shape)}: rows are raveled outputs, columns "
            f"raveled inputs. Give a pattern of that shape, or leave sparsity out to detect it."
        )
    return pattern


def _convert(sparsity: Any) -> SparsityPattern:
    if isinstance(sparsity, SparsityPattern):
        return sparsity
    if isinstance(getattr(sparsity, "pattern", None), SparsityPattern):
        return sparsity.pattern
    if scipy.sparse.issparse(sparsity):
        return SparsityPattern.from_scipy(sparsity)
    if hasattr(sparsity, "indices") and hasattr(sparsity, "n_batch"):
        return _from_jax(sparsity)
    if isinstance(sparsity, list) or hasattr(sparsity, "__array__"):
        return SparsityPattern.from_dense(sparsity)
    raise TypeError(
        f"sparsity= is a {type(sparsity).__name__}; give a SparsityPattern, a SciPy sparse matrix, a BCOO or BCSR "
        f"matrix, or a dense array whose nonzeros are the entries."
    )


def _from_jax(matrix: Any) -> SparsityPattern:
    if matrix.ndim != 2 or matrix.n_batch or matrix.n_dense:
        raise ValueError(
            f"sparsity= is a sparse array with {matrix.ndim} dimensions, {matrix.n_batch} of them batch and "
            f"{matrix.n_dense} dense; a pattern needs two sparse dimensions. Convert it with n_batch=0, n_dense=0."
        )
    indices = np.asarray(matrix.indices)
    if hasattr(matrix, "indptr"):
        indptr = np.asarray(matrix.indptr)
        rows, cols = np.repeat(np.arange(matrix.shape[0]), np.diff(indptr)), indices[: indptr[-1]]
    else:
        # Padding entries of a BCOO matrix point outside of it.
        inside = (indices < np.asarray(matrix.shape)[None, :]).all(axis=1)
        rows, cols = indices[inside, 0], indices[inside, 1]
    return SparsityPattern.from_coo(rows, cols, matrix.shape)
