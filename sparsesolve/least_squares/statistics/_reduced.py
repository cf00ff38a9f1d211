"""The Jacobian in the coordinates that constraints leave:  `J Z`,  where constraints and bounds were kept in steps.

Parameters `y + Z u` fulfil the linear equality constraints, and those at bounds, if these count as known, stay there.
Host-side, but for the values of the product.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from sparsesolve.least_squares.objective._null_space import CSR, FilledError, independent_rows, null_space
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern


class Reduction:
    """A basis `Z` of steps. Compares by content.

    Attributes:
        basis: shape `(n, k)`.
    """

    def __init__(self, constraints: CSR, held: np.ndarray):
        free = np.flatnonzero(~held)
        rows = scipy.sparse.csr_matrix(constraints[:, free])
        try:
            rows = rows[independent_rows(rows)]
            space, _ = null_space(rows)
        except FilledError:
            raise ValueError(
                "covariance got a fit with equality constraints whose elimination fills in: the basis of their null "
                "space would have millions of entries."
            ) from None
        assert space is not None
        wide = scipy.sparse.csr_matrix((np.ones(free.size), (free, np.arange(free.size))), (held.size, free.size))
        self.basis: CSR = scipy.sparse.csr_matrix(wide @ space.basis())
        self.basis.sort_indices()
        arrays = (self.basis.indptr, self.basis.indices, self.basis.data)
        self._key = (self.basis.shape, *(array.tobytes() for array in arrays))

    def applied(self, jacobian: SparseMatrix) -> SparseMatrix:
        """`J Z`."""
        rows, Z = jacobian.pattern, self.basis
        counts = np.diff(Z.indptr)[rows.indices]
        first = np.repeat(np.arange(rows.nnz), counts)
        second = np.arange(first.size) + (Z.indptr[:-1][rows.indices] - (np.cumsum(counts) - counts))[first]
        keys = rows.rows[first].astype(np.int64) * Z.shape[1] + Z.indices[second]
        places, target = np.unique(keys, return_inverse=True)
        pattern = SparsityPattern.from_coo(places // Z.shape[1], places % Z.shape[1], (rows.shape[0], Z.shape[1]))
        values = jacobian.data[first] * jnp.asarray(Z.data[second], jacobian.data.dtype)
        return SparseMatrix(jax.ops.segment_sum(values, target, places.size), pattern)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reduction) and self._key == other._key
