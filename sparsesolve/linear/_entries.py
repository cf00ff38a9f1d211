"""The entries of a lineax operator as a `SparseMatrix`, found without ever making it dense.

* A `SparseLinearOperator` holds them. Tags, signs, scalars and sums act on them entry by entry.
* A `JacobianLinearOperator` is differentiated by the compressed Jacobian of its function.
* Any other operator is a linear function `v -> A v`: its pattern is detected from the jaxpr of `operator.mv`, its
  columns are coloured, and the entries are read from a few products.

Cost: one product per colour. Detection and colouring run once per computation (see `_prepared.py`).
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
import numpy as np
from jax.core import Tracer

from sparsesolve._tree import Structure
from sparsesolve.linear._prepared import prepared_jacobian
from sparsesolve.linear._pure import purify_module
from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
from sparsesolve.pattern import SparsityPattern


@functools.singledispatch
def sparse_entries(operator: lx.AbstractLinearOperator, sparsity: SparsityPattern | None = None) -> SparseMatrix:
    """The matrix of `operator`: rows are the raveled outputs, columns the raveled inputs.

    Args:
        operator: any lineax operator.
        sparsity: the entries to look for; detected when `None`.
    """
    if sparsity is None and lx.is_diagonal(operator):
        return _from_diagonals(lx.diagonal(operator))
    if sparsity is None and lx.is_tridiagonal(operator):
        return _from_diagonals(*lx.tridiagonal(operator))
    x = jtu.tree_map(lambda s: jnp.zeros(s.shape, s.dtype), operator.in_structure())
    return _compressed(lambda v, op: op.mv(v), operator, x, sparsity)


@sparse_entries.register(SparseLinearOperator)
def _(operator: Any, sparsity: SparsityPattern | None = None) -> SparseMatrix:
    matrix = operator.matrix
    return matrix if sparsity is None or sparsity == matrix.pattern else matrix.on_pattern(sparsity)


@sparse_entries.register(lx.JacobianLinearOperator)
def _(operator: Any, sparsity: SparsityPattern | None = None) -> SparseMatrix:
    if operator.jac == "bwd":  # the function may have a reverse rule only
        return _compressed(lambda v, op: op.mv(v), operator, jtu.tree_map(jnp.zeros_like, operator.x), sparsity)
    return _compressed(lambda x, op: op.fn(x, op.args), operator, operator.x, sparsity)


@sparse_entries.register(lx.MatrixLinearOperator)
@sparse_entries.register(lx.PyTreeLinearOperator)
def _(operator: Any, sparsity: SparsityPattern | None = None) -> SparseMatrix:
    dense = operator.as_matrix()
    if sparsity is None and lx.is_diagonal(operator):
        return _from_diagonals(jnp.diagonal(dense))
    if sparsity is None and lx.is_tridiagonal(operator):
        return _from_diagonals(*lx.tridiagonal(operator))
    if sparsity is None:
        known = not isinstance(dense, Tracer)
        sparsity = SparsityPattern.from_dense(dense if known else np.ones(dense.shape, bool))
    return SparseMatrix.from_dense(dense, sparsity)


@sparse_entries.register(lx.TaggedLinearOperator)
def _(operator: Any, sparsity: SparsityPattern | None = None) -> SparseMatrix:
    return sparse_entries(operator.operator, sparsity)


@sparse_entries.register(lx.NegLinearOperator)
def _(operator: Any, sparsity: SparsityPattern | None = None) -> SparseMatrix:
    return -sparse_entries(operator.operator, sparsity)


@sparse_entries.register(lx.MulLinearOperator)
def _(operator: Any, sparsity: SparsityPattern | None = None) -> SparseMatrix:
    return sparse_entries(operator.operator, sparsity) * operator.scalar


@sparse_entries.register(lx.DivLinearOperator)
def _(operator: Any, sparsity: SparsityPattern | None = None) -> SparseMatrix:
    return sparse_entries(operator.operator, sparsity) / operator.scalar


@sparse_entries.register(lx.AddLinearOperator)
def _(operator: Any, sparsity: SparsityPattern | None = None) -> SparseMatrix:
    left, right = sparse_entries(operator.operator1, sparsity), sparse_entries(operator.operator2, sparsity)
    dtype = jnp.result_type(left.data, right.data)
    return left.astype(dtype) + right.astype(dtype)


def _compressed(call: Any, operator: Any, x: Any, sparsity: SparsityPattern | None) -> SparseMatrix:
    dtype = Structure.of(operator.in_structure()).dtype
    pure, data, captured = purify_module(call, operator, x)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*products, as many as a dense one")  # said better below
            prepared = prepared_jacobian(pure, x, data, captured, sparsity)
    except ValueError as error:
        if sparsity is None:
            error.add_note(_DENSE)
        raise
    if sparsity is None and prepared.num_colors >= prepared.shape[1] > 32:
        warnings.warn(f"The operator of shape {prepared.shape} has a dense pattern. {_DENSE}", stacklevel=2)
    matrix = prepared(x, data, captured)
    return matrix.astype(jnp.result_type(matrix.data, dtype))


_DENSE = (
    "It was detected from the operator as lineax hands it over, where index arrays that the function closes over or is "
    "given (a mesh's connectivity, say) are no longer known. If that is why it is dense, pin the pattern: write "
    "AutoSparse().prepare(detect_sparsity(fn, y, args))."
)


def _from_diagonals(main: Any, lower: Any = None, upper: Any = None) -> SparseMatrix:
    n = main.shape[0]
    here = np.arange(n)
    if lower is None:
        return SparseMatrix(main, SparsityPattern.from_coo(here, here, (n, n)))
    rows, cols = np.concatenate([here, here[1:], here[:-1]]), np.concatenate([here, here[:-1], here[1:]])
    pattern = SparsityPattern.from_coo(rows, cols, (n, n))
    order = np.lexsort((cols, rows))
    return SparseMatrix(jnp.concatenate([main, lower, upper])[order], pattern)


def probe(matrix: SparseMatrix, operator: lx.AbstractLinearOperator) -> Any:
    """Whether `matrix` and `operator` agree on one pseudo-random vector: a scalar bool, traced.

    Asked when the pattern was declared rather than detected. An entry outside it makes the products differ by about
    its size.
    """
    source, target = Structure.of(operator.in_structure()), Structure.of(operator.out_structure())
    v = jnp.asarray(0.5 + np.random.default_rng(1).random(source.size)).astype(matrix.dtype)
    expected = target.ravel(operator.mv(source.unravel(v)))
    size = SparseMatrix(jnp.abs(matrix.data), matrix.pattern) @ jnp.abs(v)
    rounding = 1e3 * jnp.finfo(matrix.dtype).eps
    return jnp.max(jnp.abs(matrix @ v - expected), initial=0.0) <= rounding * jnp.max(size, initial=0.0)
