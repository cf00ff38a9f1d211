"""lineax asks its questions about operators through `functools.singledispatch`; here are the answers for ours.

Structure comes from the pattern or from the tags, whichever knows more; values are never looked at.
"""

from __future__ import annotations

import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Inexact

from sparsesolve.matrix._operator import SparseLinearOperator
from sparsesolve.matrix._plans import cached_plan
from sparsesolve.matrix._product import product_plan
from sparsesolve.pattern import SparsityPattern


def bandwidths(pattern: SparsityPattern) -> tuple[int, int]:
    """How far entries reach below and above the diagonal; (0, 0) for a diagonal or empty pattern.

    A triangular pattern has a zero on one side.
    """

    def measure() -> tuple[int, int]:
        offset = pattern.indices - pattern.rows
        return int(max(0, -offset.min(initial=0))), int(max(0, offset.max(initial=0)))

    return cached_plan(pattern, "bandwidths", measure)


def _is_square(operator: SparseLinearOperator) -> bool:
    return operator.matrix.shape[0] == operator.matrix.shape[1]


@lx.linearise.register(SparseLinearOperator)
def _(operator: SparseLinearOperator) -> SparseLinearOperator:
    # Krylov solvers linearise once and multiply many times: the gather into the product layout is paid here.
    if operator.arranged is not None:
        return operator
    arranged = product_plan(operator.matrix.pattern).arrange(operator.matrix.data)
    return SparseLinearOperator(
        operator.matrix,
        operator.tags,
        input_structure=operator.input_tree,
        output_structure=operator.output_tree,
        arranged=arranged,
    )


@lx.materialise.register(SparseLinearOperator)
def _(operator: SparseLinearOperator) -> SparseLinearOperator:
    return operator


@lx.conj.register(SparseLinearOperator)
def _(operator: SparseLinearOperator) -> SparseLinearOperator:
    if not jnp.issubdtype(operator.matrix.dtype, jnp.complexfloating):
        return operator
    return SparseLinearOperator(
        operator.matrix.conj(),
        operator.tags,
        input_structure=operator.input_tree,
        output_structure=operator.output_tree,
    )


@lx.diagonal.register(SparseLinearOperator)
def _(operator: SparseLinearOperator) -> Inexact[Array, " n"]:
    return operator.matrix.diagonal()


@lx.tridiagonal.register(SparseLinearOperator)
def _(
    operator: SparseLinearOperator,
) -> tuple[Inexact[Array, " n"], Inexact[Array, " n-1"], Inexact[Array, " n-1"]]:
    matrix = operator.matrix
    return matrix.diagonal(), matrix.diagonal(-1), matrix.diagonal(1)


@lx.is_symmetric.register(SparseLinearOperator)
def _(operator: SparseLinearOperator) -> bool:
    if {lx.symmetric_tag, lx.diagonal_tag} & operator.tags:
        return True
    if {lx.positive_semidefinite_tag, lx.negative_semidefinite_tag} & operator.tags:
        return not jnp.issubdtype(operator.matrix.dtype, jnp.complexfloating)  # Hermitian is not symmetric
    return _is_square(operator) and lx.is_diagonal(operator) and operator.in_structure() == operator.out_structure()


@lx.is_diagonal.register(SparseLinearOperator)
def _(operator: SparseLinearOperator) -> bool:
    return lx.diagonal_tag in operator.tags or (_is_square(operator) and bandwidths(operator.matrix.pattern) == (0, 0))


@lx.is_tridiagonal.register(SparseLinearOperator)
def _(operator: SparseLinearOperator) -> bool:
    if {lx.tridiagonal_tag, lx.diagonal_tag} & operator.tags:
        return True
    return _is_square(operator) and max(bandwidths(operator.matrix.pattern)) <= 1


@lx.is_lower_triangular.register(SparseLinearOperator)
def _(operator: SparseLinearOperator) -> bool:
    if {lx.lower_triangular_tag, lx.diagonal_tag} & operator.tags:
        return True
    return _is_square(operator) and bandwidths(operator.matrix.pattern)[1] == 0


@lx.is_upper_triangular.register(SparseLinearOperator)
def _(operator: SparseLinearOperator) -> bool:
    if {lx.upper_triangular_tag, lx.diagonal_tag} & operator.tags:
        return True
    return _is_square(operator) and bandwidths(operator.matrix.pattern)[0] == 0


@lx.has_unit_diagonal.register(SparseLinearOperator)
def _(operator: SparseLinearOperator) -> bool:
    return lx.unit_diagonal_tag in operator.tags


@lx.is_positive_semidefinite.register(SparseLinearOperator)
def _(operator: SparseLinearOperator) -> bool:
    return lx.positive_semidefinite_tag in operator.tags


@lx.is_negative_semidefinite.register(SparseLinearOperator)
def _(operator: SparseLinearOperator) -> bool:
    return lx.negative_semidefinite_tag in operator.tags
