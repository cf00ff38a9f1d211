"""The kernel of Gram matrices as a JAX function. Traced; batches as in `_calls.py`."""

from __future__ import annotations

from typing import Any

import jax
from jaxtyping import Array, Float

from sparsesolve._native._load import GRAM, require
from sparsesolve._native._shared import shared


def gram(
    tables: tuple[Any, ...], weights: Float[Array, " m"], values: Float[Array, " nnz"], size: int
) -> Float[Array, " size"]:
    """Values of `A^T diag(w) A`; `tables` are row starts and columns of `A` and of the product."""
    require()
    call = jax.ffi.ffi_call(GRAM, jax.ShapeDtypeStruct((size,), values.dtype), vmap_method="expand_dims")
    return call(*shared(tables), weights, values)
