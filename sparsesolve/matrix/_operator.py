"""`SparseLinearOperator`: a `SparseMatrix` as a lineax operator, so that every lineax solver takes it.

Structure (diagonal, tridiagonal, triangular) is read off the pattern; what depends on values (symmetric, definite,
unit diagonal) is told by tags, as everywhere in lineax.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Inexact, PyTree

from sparsesolve._tree import Structure
from sparsesolve.matrix._matrix import SparseMatrix
from sparsesolve.matrix._product import product_plan


class SparseLinearOperator(lx.AbstractLinearOperator):
    """A `SparseMatrix` as a `lineax.AbstractLinearOperator`.

    Args:
        matrix: a `SparseMatrix` of shape `(m, n)`.
        tags: lineax tags, e.g. `lx.symmetric_tag`, unchecked as in lineax.
        input_structure: pytree of arrays or `jax.ShapeDtypeStruct` with `n` numbers in all that the operator acts on;
            by default one vector of shape `(n,)`.
        output_structure: the same for its results, `m` numbers in all.

    Raises:
        TypeError: if `matrix` is not a `SparseMatrix`.
        ValueError: if a structure has the wrong number of numbers.

    Example:
        >>> import jax.numpy as jnp, lineax as lx
        >>> from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
        >>> A = SparseMatrix.from_dense(jnp.array([[4.0, 1.0], [1.0, 3.0]]))
        >>> operator = SparseLinearOperator(A, lx.positive_semidefinite_tag)
        >>> lx.linear_solve(operator, jnp.array([1.0, 2.0]), lx.CG(1e-10, 1e-10)).value
        Array([0.09090909, 0.63636364], dtype=float64)
    """

    matrix: SparseMatrix
    arranged: Any  # values in the order of the product layout, None until `lx.linearise`
    input_tree: Structure | None = eqx.field(static=True)
    output_tree: Structure | None = eqx.field(static=True)
    tags: frozenset[object] = eqx.field(static=True)

    def __init__(
        self,
        matrix: SparseMatrix,
        tags: object | Iterable[object] = (),
        *,
        input_structure: PyTree | None = None,
        output_structure: PyTree | None = None,
        arranged: Any = None,
    ):
        if not isinstance(matrix, SparseMatrix):
            raise TypeError(
                f"SparseLinearOperator needs a SparseMatrix, got {type(matrix).__name__}; write "
                "SparseMatrix.from_scipy(matrix), SparseMatrix.from_dense(matrix) or SparseMatrix(data, pattern)."
            )
        self.matrix = matrix
        self.arranged = arranged
        self.input_tree = _structure(input_structure, matrix.shape[1], "input_structure", "columns")
        self.output_tree = _structure(output_structure, matrix.shape[0], "output_structure", "rows")
        self.tags = frozenset(tags) if isinstance(tags, Iterable) else frozenset([tags])

    def mv(self, vector: PyTree[Inexact[Array, ...]]) -> PyTree[Inexact[Array, ...]]:
        """`A v`, on the operator's pytrees."""
        v = vector if self.input_tree is None else self.input_tree.ravel(vector)
        plan = product_plan(self.matrix.pattern)
        y = self.matrix @ v if self.arranged is None else plan.multiply(self.arranged, v)
        return y if self.output_tree is None else self.output_tree.unravel(y)

    def as_matrix(self) -> Inexact[Array, "m n"]:
        """The dense matrix; only for small ones."""
        return self.matrix.todense()

    def transpose(self) -> SparseLinearOperator:
        """The operator of the transpose."""
        if lx.is_symmetric(self):
            return self
        return SparseLinearOperator(
            self.matrix.T,
            lx.transpose_tags(self.tags),
            input_structure=self.output_tree,
            output_structure=self.input_tree,
        )

    def in_structure(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Shapes and dtypes `mv` takes."""
        return _shapes(self.input_tree, self.matrix.shape[1], self.matrix.dtype)

    def out_structure(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Shapes and dtypes `mv` returns."""
        return _shapes(self.output_tree, self.matrix.shape[0], self.matrix.dtype)


def _structure(tree: Any, size: int, argument: str, side: str) -> Structure | None:
    if tree is None or isinstance(tree, Structure):
        structure = tree
    else:
        structure = Structure.of(tree)
    if structure is not None and structure.size != size:
        raise ValueError(
            f"SparseLinearOperator got {argument} with {structure.size} numbers for a matrix with {size} {side}; "
            f"give a pytree of arrays (or jax.ShapeDtypeStruct) with {size} numbers in all."
        )
    return structure


def _shapes(structure: Structure | None, size: int, dtype: np.dtype) -> PyTree[jax.ShapeDtypeStruct]:
    """By `eval_shape`: inside `shard_map` a structure names the mesh, and lineax compares with that of an array."""
    if structure is None:
        return jax.eval_shape(lambda: jnp.zeros((size,), dtype))
    return jax.eval_shape(lambda: structure.unravel(jnp.zeros(structure.size, dtype)))
