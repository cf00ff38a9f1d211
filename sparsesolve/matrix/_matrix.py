"""`SparseMatrix`: traced values on a static pattern. The pattern is the plan, the values are an ordinary JAX array.

All arithmetic keeps values in CSR order and is built from gathers with host-computed maps, so it works under `jit`,
`vmap`, `jvp` and `vjp`. Products go through the layout that suits the pattern (see `_product.py`).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import scipy.sparse
from jax.core import Tracer
from jaxtyping import Array, Inexact

from sparsesolve.coloring import color
from sparsesolve.matrix._arithmetic import add_on_union, add_to_diagonal, add_values, diagonal_values
from sparsesolve.matrix._plans import cached_plan
from sparsesolve.matrix._product import matvec
from sparsesolve.pattern import SparsityPattern
from sparsesolve.pattern._braille import braille

_MAX_COLORED = 20_000  # entries of a pattern that is coloured just to be printed


@jtu.register_pytree_with_keys_class
class SparseMatrix:
    """A sparse matrix: values in the order of a `SparsityPattern`.

    A pytree with one leaf, `data`; the pattern is static. So a `SparseMatrix` passes through `jit`, `vmap` (which
    batches `data`) and differentiation, and two matrices with the same pattern add leaf by leaf.

    Supports `A @ v` and `A @ V` for `v` of shape `(n,)` and `V` of shape `(n, k)`, `v @ A`, `A.T`, `A + B`, `A - B`,
    `-A`, `a * A`, `A / a`.

    Attributes:
        data: values of the entries, shape `(nnz,)`, floating or complex.
        pattern: which entries they are.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsesolve.matrix import SparseMatrix
        >>> A = SparseMatrix.from_dense(jnp.array([[2.0, -1.0], [0.0, 3.0]]))
        >>> A @ jnp.array([1.0, 1.0])
        Array([1., 3.], dtype=float64)
    """

    data: Inexact[Array, " nnz"]
    pattern: SparsityPattern

    # NumPy arrays on the left of an operator leave it to this class.
    __array_ufunc__ = None

    def __init__(self, data: Inexact[Array, " nnz"], pattern: SparsityPattern):
        """Wraps values and pattern.

        Args:
            data: values in CSR order, shape `(pattern.nnz,)`.
            pattern: the entries.

        Raises:
            TypeError: if `pattern` is not a `SparsityPattern`, or the values are integers.
            ValueError: if there is not one value for each entry.
        """
        if not isinstance(pattern, SparsityPattern):
            raise TypeError(
                f"SparseMatrix got a pattern of type {type(pattern).__name__}, which does not say which entries the "
                "values belong to; write SparseMatrix(data, SparsityPattern.from_scipy(pattern)) or "
                "SparseMatrix.from_scipy(matrix)."
            )
        data = jnp.asarray(data)
        if not jnp.issubdtype(data.dtype, jnp.inexact):
            raise TypeError(
                f"SparseMatrix got values of dtype {data.dtype}; products and solves need floating or complex values. "
                "Write data.astype(float)."
            )
        if data.shape != (pattern.nnz,):
            raise ValueError(
                f"SparseMatrix got values of shape {data.shape} for a pattern with {pattern.nnz} entries; give one "
                "value for each entry, in CSR order. For a batch of matrices build them inside jax.vmap."
            )
        self.data = data
        self.pattern = pattern

    def tree_flatten_with_keys(self) -> tuple[tuple[tuple[Any, Any], ...], SparsityPattern]:
        return ((jtu.GetAttrKey("data"), self.data),), self.pattern

    def tree_flatten(self) -> tuple[tuple[Any, ...], SparsityPattern]:
        return (self.data,), self.pattern

    @classmethod
    def tree_unflatten(cls, pattern: SparsityPattern, children: Any) -> SparseMatrix:
        # JAX puts tracers, shapes, axes and plain objects here: no checks.
        matrix = object.__new__(cls)
        (matrix.data,) = children
        matrix.pattern = pattern
        return matrix

    @classmethod
    def from_dense(cls, matrix: Any, pattern: SparsityPattern | None = None) -> SparseMatrix:
        """From a dense array. Without `pattern` the array must be concrete, and its nonzeros are the entries.

        Args:
            matrix: shape `(m, n)`.
            pattern: the entries to read; all others are ignored. With a pattern, `matrix` may be traced.
        """
        if pattern is None:
            if isinstance(matrix, Tracer):
                raise TypeError(
                    "SparseMatrix.from_dense got a traced array, whose nonzeros are not known while tracing; give "
                    "the pattern: SparseMatrix.from_dense(matrix, SparsityPattern(...))."
                )
            pattern = SparsityPattern.from_dense(matrix)
        array = jnp.asarray(matrix)
        if array.shape != pattern.shape:
            raise ValueError(f"from_dense got an array of shape {array.shape} and a pattern of shape {pattern.shape}.")
        return cls(_inexact(array)[pattern.rows, pattern.indices], pattern)

    @classmethod
    def from_scipy(cls, matrix: Any) -> SparseMatrix:
        """From any SciPy sparse matrix or array; duplicates are summed, stored zeros stay entries."""
        csr = scipy.sparse.csr_matrix(matrix, copy=True)
        csr.sum_duplicates()
        csr.sort_indices()
        return cls(_inexact(jnp.asarray(csr.data)), SparsityPattern.from_scipy(csr))

    @classmethod
    def from_bcoo(cls, matrix: Any) -> SparseMatrix:
        """From a two-dimensional `jax.experimental.sparse.BCOO` or `BCSR` with concrete indices."""
        from sparsesolve.matrix._convert import from_bcoo

        data, pattern = from_bcoo(matrix)
        return cls(_inexact(data), pattern)

    @property
    def shape(self) -> tuple[int, int]:
        """`(m, n)`."""
        return self.pattern.shape

    @property
    def ndim(self) -> int:
        """Always 2."""
        return 2

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return self.pattern.nnz

    @property
    def dtype(self) -> np.dtype:
        """dtype of the values."""
        return self.data.dtype

    @property
    def T(self) -> SparseMatrix:
        """The transpose (without complex conjugation)."""
        return SparseMatrix(self.data[self.pattern.transpose_order], self.pattern.T)

    @property
    def H(self) -> SparseMatrix:
        """The conjugate transpose."""
        return self.conj().T

    def conj(self) -> SparseMatrix:
        """The complex conjugate, entry by entry."""
        return SparseMatrix(jnp.conj(self.data), self.pattern)

    def astype(self, dtype: Any) -> SparseMatrix:
        """The same matrix with values of another dtype."""
        return SparseMatrix(self.data.astype(dtype), self.pattern)

    def diagonal(self, offset: int = 0) -> Inexact[Array, " size"]:
        """The diagonal (or the one `offset` above it), zero where no entry is stored."""
        return diagonal_values(self.pattern, self.data, offset)

    def shifted(self, shift: Any) -> SparseMatrix:
        """`A + shift * I`; `shift` is a scalar, or a vector of shape `(min(m, n),)` for a diagonal matrix.

        When the pattern holds the whole diagonal, as patterns of square Jacobians do, the pattern stays the same
        object and no new plan is needed.
        """
        data, pattern = add_to_diagonal(self.pattern, self.data, jnp.asarray(shift))
        return SparseMatrix(data, pattern)

    def add_identity(self, shift: Any = 1.0) -> SparseMatrix:
        """`A + shift * I`, see `shifted`."""
        return self.shifted(shift)

    def scale_rows(self, d: Inexact[Array, " m"]) -> SparseMatrix:
        """`diag(d) @ A`."""
        d = _checked_vector(d, self.shape[0], "scale_rows", "row")
        return SparseMatrix(self.data * d[self.pattern.rows], self.pattern)

    def scale_columns(self, d: Inexact[Array, " n"]) -> SparseMatrix:
        """`A @ diag(d)`."""
        d = _checked_vector(d, self.shape[1], "scale_columns", "column")
        return SparseMatrix(self.data * d[self.pattern.indices], self.pattern)

    def on_pattern(self, pattern: SparsityPattern) -> SparseMatrix:
        """The same matrix stored on a larger pattern: new entries are explicit zeros.

        Raises:
            ValueError: if `pattern` lacks an entry of this matrix.
        """
        zero = jnp.zeros((pattern.nnz,), self.dtype)
        data, union = add_values(self.pattern, self.data, pattern, zero)
        if union != pattern:
            raise ValueError(
                f"on_pattern got a pattern with {pattern.nnz} entries that lacks {union.nnz - pattern.nnz} entries of "
                "this matrix; write A.pattern.union(pattern)."
            )
        return SparseMatrix(data, pattern)

    def __matmul__(self, v: Any) -> Array:
        if isinstance(v, SparseMatrix) or scipy.sparse.issparse(v):
            return NotImplemented
        return matvec(self.pattern, self.data, _checked_operand(v, self.shape, "A @ v", 1))

    def __rmatmul__(self, v: Any) -> Array:
        if scipy.sparse.issparse(v):
            return NotImplemented
        v = jnp.asarray(v)
        operand = _checked_operand(v.T, self.shape, "v @ A", 0)
        return matvec(self.pattern, self.data, operand, transpose=True).T

    def __add__(self, other: Any) -> SparseMatrix:
        return self._add(other, "+", 1)

    def __sub__(self, other: Any) -> SparseMatrix:
        return self._add(other, "-", -1)

    def _add(self, other: Any, symbol: str, sign: int) -> SparseMatrix:
        if not isinstance(other, SparseMatrix):
            raise TypeError(
                f"A {symbol} B needs another SparseMatrix, got {type(other).__name__}, which would make the sum "
                "dense. For a multiple of the identity write A.shifted(shift); for a dense sum write A.todense()."
            )
        return SparseMatrix(*add_on_union(self.pattern, self.data, other.pattern, sign * other.data))

    def __neg__(self) -> SparseMatrix:
        return SparseMatrix(-self.data, self.pattern)

    def __mul__(self, scalar: Any) -> SparseMatrix:
        return SparseMatrix(self.data * _checked_scalar(scalar), self.pattern)

    def __rmul__(self, scalar: Any) -> SparseMatrix:
        return self * scalar

    def __truediv__(self, scalar: Any) -> SparseMatrix:
        return SparseMatrix(self.data / _checked_scalar(scalar), self.pattern)

    def todense(self) -> Inexact[Array, "m n"]:
        """The dense matrix."""
        out = jnp.zeros(self.shape, self.dtype)
        return out.at[self.pattern.rows, self.pattern.indices].set(self.data, unique_indices=True)

    def to_scipy(self) -> scipy.sparse.csr_matrix:
        """A SciPy CSR matrix; the values must be concrete."""
        pattern = self.pattern
        return scipy.sparse.csr_matrix((np.asarray(self.data), pattern.indices, pattern.indptr), shape=self.shape)

    def to_bcoo(self) -> Any:
        """A `jax.experimental.sparse.BCOO`, for other libraries; this package never computes with it."""
        from sparsesolve.matrix._convert import to_bcoo

        return to_bcoo(self.data, self.pattern)

    def __repr__(self) -> str:
        m, n = self.shape
        dtype = getattr(self.data, "dtype", None)
        values = dtype if dtype is not None else f"data={self.data!r}"
        batch = getattr(self.data, "shape", (0,))[:-1]
        head = f"SparseMatrix({m} x {n}, nnz={self.nnz}, density={self.pattern.density:.2g}, {values}"
        head += f", batch {batch}" if batch else ""
        picture = braille(self.pattern.rows, self.pattern.indices, self.shape)
        return f"{head}, {_colors(self.pattern)})\n{picture}".rstrip()


def _colors(pattern: SparsityPattern) -> str:
    """How many products read the whole matrix; for a large one the lower bound, which costs no search."""
    if pattern.nnz > _MAX_COLORED:
        count = int(np.diff(pattern.indptr).max())
        return f"at least {count} " + ("color" if count == 1 else "colors")
    count = cached_plan(pattern, "colors", lambda: color(pattern).num_colors)
    return f"{count} " + ("color" if count == 1 else "colors")


def _inexact(values: Array) -> Array:
    return values if jnp.issubdtype(values.dtype, jnp.inexact) else values.astype(jnp.result_type(float))


def _checked_scalar(scalar: Any) -> Any:
    if isinstance(scalar, SparseMatrix) or jnp.ndim(scalar) != 0:
        what = "a SparseMatrix" if isinstance(scalar, SparseMatrix) else f"shape {jnp.shape(scalar)}"
        raise TypeError(
            f"A SparseMatrix multiplies scalars with *, got {what}. Write A @ v for a product, A.scale_rows(d) or "
            "A.scale_columns(d) for diagonal scaling."
        )
    return scalar


def _checked_vector(d: Any, size: int, name: str, what: str) -> Array:
    d = jnp.asarray(d)
    if d.shape != (size,):
        raise ValueError(f"{name} needs one factor for each {what}, shape ({size},); got shape {d.shape}.")
    return d


def _checked_operand(v: Any, shape: tuple[int, int], name: str, side: int) -> Array:
    v = jnp.asarray(v)
    if v.ndim not in (1, 2) or v.shape[0] != shape[side]:
        seen = v.shape if side else v.shape[::-1]
        wanted = f"({shape[1]},) or ({shape[1]}, k)" if side else f"({shape[0]},) or (k, {shape[0]})"
        raise ValueError(
            f"{name} with A of shape {shape} needs an operand of shape {wanted}, got {seen}. To multiply batches "
            "use jax.vmap."
        )
    return v
