"""Products and Galerkin products by the compiled kernels: values stay in CSR order, tables are the patterns alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from sparsesolve._native import csr_product
from sparsesolve.pattern import SparsityPattern


@dataclasses.dataclass(frozen=True)
class RowsLayout:
    """`A v`, or `A^T v`, by rows. Tables: row starts and columns."""

    size: int
    transpose: bool

    def arrange(self, tables: Any, data: Inexact[Array, " nnz"]) -> Any:
        return data

    def multiply(self, tables: Any, arranged: Any, v: Inexact[Array, " n"]) -> Inexact[Array, " m"]:
        dtype = jnp.result_type(arranged, v)
        indptr, indices = tables
        values, v = arranged.astype(dtype), v.astype(dtype)
        return csr_product(indptr, indices, values, v, self.size, transpose=self.transpose)


def rows_product(pattern: SparsityPattern, *, transpose: bool = False) -> tuple[RowsLayout, Any]:
    """Layout and tables of products with matrices of a pattern."""
    return RowsLayout(pattern.shape[1 if transpose else 0], transpose), (pattern.indptr, pattern.indices)
