"""One door to all kernels that are called from traced code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jaxtyping import Array

from sparsesolve._native._load import require


def call(target: str, results: Sequence[tuple[tuple[int, ...], Any]], *operands: Any, **flags: Any) -> list[Array]:
    """The results of a kernel, of the given shapes and dtypes.

    Under `vmap` the batch becomes leading dimensions, of length 1 where an operand is not batched.
    """
    require()
    structs = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in results]
    return list(jax.ffi.ffi_call(target, structs, vmap_method="expand_dims")(*operands, **flags))
