"""Linear equality constraints `A y = b` by a basis of the null space.

With columns permuted so that `A = [A_B A_N]` and `A_B` is regular, every solution is

    y = y_b + Z u,       Z = [-A_B^-1 A_N; I],       y_b = y0 + A^T (A A^T)^-1 (b - A y0),

so that `y -> y + Z u` is a retraction and the problem in `u` has none but the residuals. `Z` is as sparse as `A` is
local. The basis is chosen on the host by a QR factorization of `A` with column pivoting; `b` may be traced, and fitted
parameters are differentiable with respect to it: a shift of zero that depends on `b` enters the residual.

Reference: J. Nocedal, S. J. Wright, Numerical Optimization, 2006, section 15.3, doi:10.1007/978-0-387-40065-5.
Cost: `O(p^2 n)` and `n (n - p)` numbers of memory once for `p` constraints, dense in `A`: up to
some 7,000 parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import scipy.linalg
from jax.core import Tracer
from jaxtyping import Array, PyTree

from sparsesolve._tree import Structure
from sparsesolve.matrix import SparseMatrix

_TINY = 1e-14  # entries of the basis that are rounding errors
_MOST = 5e7  # entries of dense matrices of the plan: 400 MB each


class NullSpaceRetraction:
    """`y + Z u`. Compares by content."""

    def __init__(self, structure: Structure, basis: np.ndarray):
        self.structure = structure
        self.size = basis.shape[1]
        matrix = SparseMatrix.from_dense(basis) if basis.size else None
        self._pattern = None if matrix is None else matrix.pattern
        self._data = np.zeros(0) if matrix is None else np.asarray(matrix.data)
        self._key = (structure, basis.shape, basis.tobytes())

    def __call__(self, y: PyTree[Array], u: Array) -> PyTree[Array]:
        flat = self.structure.ravel(y)
        if self._pattern is None:
            return y
        return self.structure.unravel(flat + SparseMatrix(jnp.asarray(self._data, flat.dtype), self._pattern) @ u)

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
        ValueError: shapes that do not fit, or constraints that depend on each other.
    """
    structure = Structure.of(y0)
    matrix, b = _checked(equality, structure)
    dtype = structure.dtype
    inverse = jnp.asarray(np.linalg.pinv(matrix), dtype)
    fixed = jax.lax.stop_gradient(structure.ravel(y0))
    b = jnp.asarray(b, dtype)
    held = jax.lax.stop_gradient(b)
    start = structure.unravel(fixed + inverse @ (held - jnp.asarray(matrix, dtype) @ fixed))
    shift = structure.unravel(inverse @ (b - held))

    def shifted(y: Any, both: Any) -> Any:
        args_, shift_ = both
        return fn(jtu.tree_map(jnp.add, y, shift_), args_)

    return Constrained(shifted, start, (args, shift), NullSpaceRetraction(structure, _null_basis(matrix)), shift)


def _checked(equality: Any, structure: Structure) -> tuple[np.ndarray, Any]:
    if not isinstance(equality, tuple | list) or len(equality) != 2:
        raise ValueError("least_squares got equality that is no pair; write equality=(A, b) for A y = b.")
    matrix, b = equality
    _check_size(jnp.shape(matrix), structure.size)
    matrix = matrix.todense() if hasattr(matrix, "todense") else matrix
    if isinstance(matrix, Tracer):
        raise TypeError(
            "least_squares got equality=(A, b) with a traced A, whose null space is planned from its values; give a "
            "concrete A (b may be traced)."
        )
    matrix = np.atleast_2d(np.asarray(matrix, float))
    if matrix.ndim != 2 or matrix.shape[1] != structure.size or jnp.shape(b) != (matrix.shape[0],):
        raise ValueError(
            f"least_squares got equality=(A, b) of shapes {matrix.shape} and {jnp.shape(b)} for {structure.size} "
            f"parameters; A needs a column for each of them, in the order of the flattened y0, and b a number for each "
            "row of A."
        )
    return matrix, b


def _check_size(shape: tuple[int, ...], n: int) -> None:
    entries = n * max(n - shape[0] if shape else n, 1)
    if entries > _MOST:
        raise ValueError(
            f"least_squares got equality=(A, b) for {n} parameters; the null space of A is planned as a dense "
            f"matrix of {entries:.1e} entries, and {_MOST:.0e} (about 7,000 parameters) are the limit. Eliminate the "
            "constraints in fn, by fewer parameters."
        )


def _null_basis(matrix: np.ndarray) -> np.ndarray:
    p, n = matrix.shape
    factored: Any = scipy.linalg.qr(matrix, mode="economic", pivoting=True)
    _, r, order = factored
    pivots = np.abs(np.diag(r))
    if p > n or (p and not pivots[-1] > 1e-12 * pivots[0]):
        rank = int((pivots > 1e-12 * pivots.max(initial=0.0)).sum())
        raise ValueError(
            f"least_squares got {p} equality constraints of which only {rank} are independent; leave out those that "
            "follow from the others."
        )
    basis = np.zeros((n, n - p))
    basis[order[p:], np.arange(n - p)] = 1.0
    bound = scipy.linalg.solve_triangular(r[:, :p], r[:, p:])
    basis[order[:p]] = -np.where(np.abs(bound) > _TINY * np.abs(bound).max(initial=1.0), bound, 0.0)
    return basis
