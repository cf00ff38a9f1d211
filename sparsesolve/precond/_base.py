"""The seam between preconditioners and the Krylov solvers that use them.

A preconditioner is configuration plus an optional host-side plan; called with a `SparseMatrix` it computes numbers from
the (traced) values and returns `M^-1` as a lineax operator on flat vectors. That operator is a pytree of arrays with a
static description of how they are applied: it can be a loop carry, be batched, and be applied transposed, which is
what gradients of a linear solve need. No derivative flows through it: the solution does not depend on it.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
import numpy as np
from jaxtyping import Array, Inexact, PyTree

from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern


class AbstractApplication(abc.ABC):
    """How the arrays of a preconditioner act on a vector. Host-side, immutable, hashable: a static field."""

    @abc.abstractmethod
    def apply(self, arrays: Any, v: Inexact[Array, " n"], *, transpose: bool) -> Inexact[Array, " n"]:
        """`M^-1 v`, or `M^-T v`; linear in `v`."""


def _without_derivatives(tree: PyTree) -> PyTree:
    return jtu.tree_map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, tree)


class PreconditionerOperator(lx.AbstractLinearOperator):
    """`M^-1` as a lineax operator on vectors of shape `(n,)`.

    Attributes:
        arrays: the numbers: a pytree of arrays.
        application: what they mean.
        size: `n`.
        dtype: of the vectors.
        transposed: whether it is applied transposed.
        conjugated: whether it is applied with all numbers conjugated.
        tags: lineax tags.
    """

    arrays: PyTree[Array] = eqx.field(converter=_without_derivatives)
    application: AbstractApplication = eqx.field(static=True)
    size: int = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)
    transposed: bool = eqx.field(static=True, default=False)
    conjugated: bool = eqx.field(static=True, default=False)
    tags: frozenset[object] = eqx.field(static=True, default=frozenset())

    def mv(self, vector: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        """`M^-1 v`."""
        vector = jnp.asarray(vector)
        v = jnp.conj(vector) if self.conjugated else vector
        out = self.application.apply(self.arrays, v, transpose=self.transposed)
        return (jnp.conj(out) if self.conjugated else out).astype(jnp.result_type(vector, self.dtype))

    def as_matrix(self) -> Inexact[Array, "n n"]:
        """The dense matrix; only for small ones."""
        return jax.vmap(self.mv, in_axes=1, out_axes=1)(jnp.eye(self.size, dtype=self.dtype))

    def transpose(self) -> PreconditionerOperator:
        """The same numbers, applied transposed."""
        return dataclasses.replace(self, transposed=not self.transposed, tags=lx.transpose_tags(self.tags))

    def in_structure(self) -> jax.ShapeDtypeStruct:
        """One vector of shape `(n,)`."""
        return jax.ShapeDtypeStruct((self.size,), self.dtype)

    def out_structure(self) -> jax.ShapeDtypeStruct:
        """One vector of shape `(n,)`."""
        return self.in_structure()


class AbstractPreconditioner(eqx.Module):
    """Base of all preconditioners: `preconditioner(matrix)` is `M^-1` as a lineax operator.

    A subclass implements `prepare`, which pins its host-side plan, and `factor`, which computes the numbers.
    """

    @property
    def needs_matrix(self) -> bool:
        """Whether a call needs the entries of the matrix; `LaggedLU` with factors does not."""
        return True

    @abc.abstractmethod
    def prepare(self, pattern: SparsityPattern, sample: Inexact[Array, " nnz"] | None = None) -> Any:
        """The same preconditioner with the plan for one pattern pinned.

        Args:
            pattern: square.
            sample: concrete values in CSR order, where the plan depends on values.
        """

    @abc.abstractmethod
    def factor(self, matrix: SparseMatrix) -> PreconditionerOperator:
        """`M^-1` from the values of `matrix`, which may be traced. A pytree that can sit in a loop carry."""

    def __call__(self, matrix: SparseMatrix) -> PreconditionerOperator:
        """What a solver calls with its matrix."""
        return self.factor(matrix)


@lx.linearise.register(PreconditionerOperator)
@lx.materialise.register(PreconditionerOperator)
def _(operator: PreconditionerOperator) -> PreconditionerOperator:
    return operator


@lx.conj.register(PreconditionerOperator)
def _(operator: PreconditionerOperator) -> PreconditionerOperator:
    if not jnp.issubdtype(operator.dtype, jnp.complexfloating):
        return operator
    return dataclasses.replace(operator, conjugated=not operator.conjugated)


@lx.diagonal.register(PreconditionerOperator)
def _(operator: PreconditionerOperator) -> Inexact[Array, " n"]:
    return jnp.diagonal(operator.as_matrix())


@lx.tridiagonal.register(PreconditionerOperator)
def _(operator: PreconditionerOperator) -> tuple[Array, Array, Array]:
    dense = operator.as_matrix()
    return jnp.diagonal(dense), jnp.diagonal(dense, -1), jnp.diagonal(dense, 1)


def _has(*tags: object) -> Any:
    def told(operator: PreconditionerOperator) -> bool:
        return bool(set(tags) & operator.tags)

    return told


lx.is_symmetric.register(PreconditionerOperator, _has(lx.symmetric_tag, lx.diagonal_tag))
lx.is_diagonal.register(PreconditionerOperator, _has(lx.diagonal_tag))
lx.is_tridiagonal.register(PreconditionerOperator, _has(lx.tridiagonal_tag, lx.diagonal_tag))
lx.is_lower_triangular.register(PreconditionerOperator, _has(lx.lower_triangular_tag, lx.diagonal_tag))
lx.is_upper_triangular.register(PreconditionerOperator, _has(lx.upper_triangular_tag, lx.diagonal_tag))
lx.has_unit_diagonal.register(PreconditionerOperator, _has(lx.unit_diagonal_tag))
lx.is_positive_semidefinite.register(PreconditionerOperator, _has(lx.positive_semidefinite_tag))
lx.is_negative_semidefinite.register(PreconditionerOperator, _has(lx.negative_semidefinite_tag))
