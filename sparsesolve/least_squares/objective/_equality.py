"""Linear equality constraints `A y = b` by a basis of the null space.

With columns permuted so that `A = [A_B A_N]` and `A_B` is regular, every solution is

    y = y_b + Z u,       Z = [-A_B^-1 A_N; I],       y_b = y0 + A^T (A A^T)^-1 (b - A y0),

so that `y -> y + Z u` is a retraction and the problem in `u` has none but the residuals. `Z` is as sparse as `A` is
local (`_null_space.py`); `A A^T` is factorized like any other sparse matrix. `b` may be traced, and fitted parameters
are differentiable with respect to it: a shift of zero that depends on `b` enters the residual.

Reference: A. Bjorck, Numerical Methods for Least Squares Problems, SIAM 1996, section 5.1 (direct elimination).
J. Nocedal, S. J. Wright, Numerical Optimization, 2006, section 15.3, doi:10.1007/978-0-387-40065-5. (Together with
bounds: `_linear_constraints.py`.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import scipy.sparse
from jax.core import Tracer
from jax.experimental import sparse as jax_sparse
from jaxtyping import Array, Inexact, PyTree

from sparsesolve._tree import Structure
from sparsesolve.direct import plan_direct
from sparsesolve.least_squares.objective._null_space import CSR, FilledError, NullSpace, null_space
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern

_CORRECTIONS = 2  # the second takes back what A A^T lost in squaring the condition of A


class NullSpaceRetraction:
    """`y + Z u`. Compares by content.

    Attributes:
        structure: of `y`.
        basis: `Z`, shape `(n, n - p)`.
    """

    def __init__(self, structure: Structure, space: NullSpace):
        self.structure = structure
        self.basis = space.basis()
        self.size = self.basis.shape[1]
        self._weights = space.weights if space.weights.nnz else None
        self._place = np.empty(structure.size, np.int32)  # of each move among `u`, those of basic unknowns, and zero
        self._place[space.free] = np.arange(self.size)
        self._place[space.basic] = self.size + (np.arange(space.basic.size) if space.weights.nnz else 0)
        arrays = (space.basic, space.weights.indptr, space.weights.indices, space.weights.data)
        self._key = (structure, self.basis.shape, *(array.tobytes() for array in arrays))

    def __call__(self, y: PyTree[Array], u: Array) -> PyTree[Array]:
        flat = self.structure.ravel(y)
        if not self.size:
            return y
        moves = [u] if self._weights is None else [u, constant(self._weights, flat.dtype) @ u]
        moves = jnp.concatenate([*moves, jnp.zeros((1,), u.dtype)])
        return self.structure.unravel(flat + moves.at[self._place].get(mode="promise_in_bounds"))

    def tangent(self, y: PyTree[Array]) -> Array:
        """A step of zeros."""
        del y
        return jnp.zeros((self.size,), self.structure.dtype)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NullSpaceRetraction) and self._key == other._key


class Constrained(NamedTuple):
    """An equivalent problem without constraints: `fn(y, (args, shift))` from `y0`, moved by `retract`."""

    fn: Callable[[Any, Any], Any]
    y0: PyTree[Array]
    args: Any
    retract: NullSpaceRetraction
    shift: PyTree[Array]


def constrain(fn: Callable[[Any, Any], Any], y0: PyTree[Array], args: Any, equality: Any) -> Constrained:
    """Eliminates the constraints `equality = (A, b)`.

    Raises:
        TypeError: `A` is traced.
        ValueError: shapes that do not fit, constraints that depend on each other, or too many entries of `Z`.
    """
    structure = Structure.of(y0)
    matrix, b = checked_equality(equality, structure)
    retract = NullSpaceRetraction(structure, _eliminated(matrix))
    scale = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1))).ravel()
    rows = scipy.sparse.csr_matrix(scipy.sparse.diags(1 / np.where(scale > 0, scale, 1.0)) @ matrix)
    dtype = structure.dtype
    fixed = jax.lax.stop_gradient(structure.ravel(y0))
    b = jnp.asarray(b, dtype) / jnp.asarray(scale, dtype)
    held = jax.lax.stop_gradient(b)
    start = structure.unravel(_nearest(rows, fixed, held))
    shift = structure.unravel(_nearest(rows, jnp.zeros_like(fixed), b - held))

    def shifted(y: Any, both: Any) -> Any:
        args_, shift_ = both
        return fn(jtu.tree_map(jnp.add, y, shift_), args_)

    return Constrained(shifted, start, (args, shift), retract, shift)


def _nearest(matrix: CSR, y: Inexact[Array, " n"], b: Inexact[Array, " p"]) -> Array:
    """The point nearest to `y` that fulfils the constraints."""
    if not matrix.shape[0]:
        return y
    gram: CSR = scipy.sparse.csr_matrix(matrix @ matrix.T)
    gram.sort_indices()
    plan = plan_direct(SparsityPattern(gram.indptr, gram.indices, gram.shape), symmetry="positive")
    factors = plan.factor(jnp.asarray(gram.data, y.dtype))
    A = constant(matrix, y.dtype)
    for _ in range(_CORRECTIONS):
        y = y + plan.solve(factors, b - A @ y) @ A
    return y


def constant(matrix: CSR, dtype: Any) -> SparseMatrix:
    """A matrix of the host as a constant."""
    matrix.sort_indices()
    return SparseMatrix(jnp.asarray(matrix.data, dtype), SparsityPattern(matrix.indptr, matrix.indices, matrix.shape))


def checked_equality(equality: Any, structure: Structure) -> tuple[CSR, Any]:
    """`(A, b)` with `A` as a sparse matrix of the host.

    Raises:
        TypeError: `A` is traced.
        ValueError: no pair, or shapes that do not fit.
    """
    if not isinstance(equality, tuple | list) or len(equality) != 2:
        raise ValueError("least_squares got equality that is no pair; write equality=(A, b) for A y = b.")
    matrix, b = equality
    if any(isinstance(leaf, Tracer) for leaf in jtu.tree_leaves(matrix)):
        raise TypeError(
            "least_squares got equality=(A, b) with a traced A, whose null space is planned from its values; give a "
            "concrete A (b may be traced)."
        )
    matrix = _as_csr(matrix)
    if matrix.shape[1] != structure.size or jnp.shape(b) != (matrix.shape[0],):
        raise ValueError(
            f"least_squares got equality=(A, b) of shapes {matrix.shape} and {jnp.shape(b)} for {structure.size} "
            f"parameters; A needs a column for each of them, in the order of the flattened y0, and b a number for each "
            "row of A."
        )
    return matrix, b


def _as_csr(matrix: Any) -> CSR:
    if isinstance(matrix, jax_sparse.BCOO | jax_sparse.BCSR):
        matrix = SparseMatrix.from_bcoo(matrix)
    if isinstance(matrix, SparseMatrix):
        pattern = matrix.pattern
        return scipy.sparse.csr_matrix((np.asarray(matrix.data, float), pattern.indices, pattern.indptr), pattern.shape)
    if not scipy.sparse.issparse(matrix):
        matrix = np.atleast_2d(np.asarray(matrix, float))
    found = scipy.sparse.csr_matrix(matrix, dtype=float)
    found.sum_duplicates()
    return found


def _eliminated(matrix: CSR) -> NullSpace:
    p, n = matrix.shape
    try:
        space, rank = null_space(matrix)
    except FilledError:
        raise ValueError(
            f"least_squares got {p} equality constraints for {n} parameters whose elimination fills in: the basis of "
            "the null space of A would have millions of entries. Give constraints that couple few parameters each, "
            "or eliminate them in fn, by fewer parameters."
        ) from None
    if space is None:
        raise ValueError(
            f"least_squares got {p} equality constraints of which only {rank} are independent; leave out those that "
            "follow from the others."
        )
    return space
