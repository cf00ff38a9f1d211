"""`Mass`: the matrix M of M(t, y) y' = f(t, y), constant or a function, as values on a static pattern."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Inexact, PyTree

from sparsesolve.linear._pure import PureFunction, purify_module
from sparsesolve.matrix import SparseMatrix
from sparsesolve.ode.system._real import RealStructure
from sparsesolve.pattern import SparsityPattern


class Mass(eqx.Module):
    """A prepared mass matrix.

    Attributes:
        data: values of a constant matrix, or the operands of `pure` besides time.
        captured: values of outer transformations that a function closed over.
        pattern: of the matrix.
        pure: `pure(parts, (t, *data), captured)` gives the values; `None` for a constant matrix.
        structure: of the state.
    """

    data: Any
    captured: tuple[Any, ...]
    pattern: SparsityPattern = eqx.field(static=True)
    pure: PureFunction | None = eqx.field(static=True)
    structure: RealStructure = eqx.field(static=True)

    @property
    def is_constant(self) -> bool:
        """Whether it depends neither on time nor on the state."""
        return self.pure is None

    def matrix(self, t: Array | None, x: Float[Array, " n"] | None) -> SparseMatrix:
        """The matrix at `t`, `x`, which a constant one does not need."""
        if self.pure is None:
            return SparseMatrix(self.data, self.pattern)
        assert t is not None and x is not None
        values = self.pure(self.structure.split(x), (t, *self.data), self.captured)
        return SparseMatrix(values.astype(self.structure.dtype), self.pattern)

    def on_pattern(
        self, t: Array | None, x: Float[Array, " n"] | None, pattern: SparsityPattern
    ) -> Float[Array, " nnz"]:
        """Its values on a pattern that holds its own."""
        matrix = self.matrix(t, x)
        return (matrix if matrix.pattern == pattern else matrix.on_pattern(pattern)).data

    def multiply(self, v: Inexact[Array, " n"], t: Array | None, x: Float[Array, " n"] | None) -> Inexact[Array, " n"]:
        """`M v`."""
        matrix = self.matrix(t, x)
        return matrix.astype(jnp.result_type(matrix.data, v)) @ v


def prepare_mass(mass: Any, t: Any, y: PyTree[Array], args: Any, structure: RealStructure) -> Mass:
    """Reads a constant matrix or traces a function `mass(t, y, args)` once.

    Raises:
        TypeError: if the state is complex.
        ValueError: if the matrix is not square of the state's size.
    """
    if any(structure.is_complex):
        raise TypeError(
            "A mass matrix was given for a complex state; write the equations for real and imaginary parts, with a "
            "mass matrix for both."
        )
    if not callable(mass):
        matrix = as_matrix(mass)
        _check_shape(matrix.pattern, structure)
        return Mass(matrix.data.astype(structure.dtype), (), matrix.pattern, None, structure)
    found: list[SparsityPattern] = []
    time = jnp.asarray(t)
    time = time if jnp.issubdtype(time.dtype, jnp.inexact) else time.astype(jnp.result_type(float))

    def call(parts: list[Array], module: Any) -> Array:
        t_, args_ = module
        matrix = as_matrix(mass(t_, structure.assemble(list(parts)), args_))
        found.append(matrix.pattern)
        return matrix.data

    pure, data, captured = purify_module(call, (time, args), structure.parts(y))
    _check_shape(found[-1], structure)
    return Mass(tuple(data[1:]), tuple(captured), found[-1], pure, structure)


def as_matrix(mass: Any) -> SparseMatrix:
    """A constant matrix of any kind; one dimension means a diagonal.

    Raises:
        TypeError: for complex matrices.
        ValueError: for what is no matrix, and for entries that are not finite.
    """
    matrix = _read(mass)
    if jnp.issubdtype(matrix.data.dtype, jnp.complexfloating):
        raise TypeError(
            f"The mass matrix is of dtype {matrix.data.dtype}; write the equations for real and imaginary parts, with "
            "a mass matrix for both."
        )
    if not isinstance(matrix.data, Tracer) and not np.isfinite(np.asarray(matrix.data)).all():
        raise ValueError("The mass matrix has entries that are NaN or infinite.")
    return matrix


def _read(mass: Any) -> SparseMatrix:
    if isinstance(mass, SparseMatrix):
        return mass
    if hasattr(mass, "tocsr"):
        return SparseMatrix.from_scipy(mass)
    if isinstance(mass, Tracer):
        if mass.ndim == 1:
            ends = np.arange(mass.shape[0] + 1)
            return SparseMatrix(mass, SparsityPattern(ends, ends[:-1], (mass.shape[0], mass.shape[0])))
        return SparseMatrix.from_dense(mass, SparsityPattern.from_dense(np.ones(mass.shape, bool)))
    array = np.asarray(mass)
    if array.ndim not in (1, 2) or not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise ValueError(
            f"A mass matrix of type {type(mass).__name__} and shape {array.shape} was given; write a SparseMatrix, a "
            "SciPy matrix, a two-dimensional array, the diagonal as a one-dimensional array, or a function of "
            "(t, y, args) that returns one of them."
        )
    return SparseMatrix.from_dense(np.diag(array) if array.ndim == 1 else array)


def _check_shape(pattern: SparsityPattern, structure: RealStructure) -> None:
    if pattern.shape != (structure.size, structure.size):
        raise ValueError(
            f"The mass matrix has shape {pattern.shape} and the state has {structure.size} components; it multiplies "
            "the flat vector of the state's leaves, in the order of jax.tree_util."
        )
