"""Memory without values as a JAX function. Traced; batches as in `_calls.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Array

from sparsesolve._native._call import call
from sparsesolve._native._load import UNTOUCHED


def untouched(shape: tuple[int, ...], dtype: Any, near: Array, which: int) -> Array:
    """An array with undefined values, which costs nothing where nothing is written; a batch of them where `near`, a
    scalar, is one. Arrays of the same shape in one program need different numbers `which`."""
    (made,) = call(UNTOUCHED, [(shape, dtype)], near, which=np.int64(which))
    return made
