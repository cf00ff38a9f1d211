"""The kernel of Gram matrices as a JAX function. Traced; batches as in `_calls.py`."""

from __future__ import annotations

from typing import Any

from jaxtyping import Array, Float

from sparsesolve._native._call import call
from sparsesolve._native._load import GRAM
from sparsesolve._native._shared import shared


def gram(
    tables: tuple[Any, ...], weights: Float[Array, " m"], values: Float[Array, " nnz"], size: int
) -> Float[Array, " size"]:
    """Values of `A^T diag(w) A`; `tables` are row starts and columns of `A` and of the product."""
    (product,) = call(GRAM, [((size,), values.dtype)], *shared(tables), weights, values)
    return product
