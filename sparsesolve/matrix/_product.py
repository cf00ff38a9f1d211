"""The choice of layout for a pattern, and `matvec`, the product everything above uses. The plan is host-side."""

from __future__ import annotations

from jaxtyping import Array, Inexact

from sparsesolve.matrix import _native_product
from sparsesolve.matrix._csr import bucketed_rows_product
from sparsesolve.matrix._dia import DiagonalLayout, diagonal_product
from sparsesolve.matrix._ell import padded_rows_product
from sparsesolve.matrix._plans import cached_plan
from sparsesolve.matrix._prepared import Product
from sparsesolve.matrix._stored import stored_product
from sparsesolve.pattern import SparsityPattern


def product_plan(pattern: SparsityPattern, *, transpose: bool = False) -> Product:
    """The fastest product layout for a pattern: diagonals, padded rows, or buckets of rows.

    Computed once per pattern and remembered. Diagonals win on stencils and bands because they read no index tables;
    padded rows where the rows have about the same length; buckets everywhere else.
    """
    return cached_plan(pattern, ("product", transpose), lambda: _choose(pattern, transpose))


def _choose(pattern: SparsityPattern, transpose: bool) -> Product:
    if transpose:
        forward = product_plan(pattern)
        if isinstance(forward.layout, DiagonalLayout):
            return forward.transposed()
    elif (diagonals := diagonal_product(pattern)) is not None:
        return diagonals
    rows = pattern.T if transpose else pattern
    order = pattern.transpose_order if transpose else None
    padded = padded_rows_product(rows, order)
    return padded if padded is not None else bucketed_rows_product(rows, order)


def matvec(
    pattern: SparsityPattern, data: Inexact[Array, " nnz"], v: Inexact[Array, "n ..."], *, transpose: bool = False
) -> Inexact[Array, "m ..."]:
    """`A v` (or `A^T v`) for the matrix with CSR values `data`; `v` is a vector or a block of columns.

    Works on traced values under `jit`, `vmap`, `jvp`, `vjp`. Where many products with the same values follow, take
    `plan = product_plan(pattern)`, `arranged = plan.arrange(data)` once, and `plan.multiply(arranged, v)`: the
    gather of the values into the layout costs several products.
    """
    if not _native_product.usable():
        return product_plan(pattern, transpose=transpose)(data, v)
    plan = cached_plan(pattern, "single product", lambda: stored_product(pattern, product_plan(pattern)))
    return (plan.transposed() if transpose else plan).multiply(data, v)
