"""Refuses what cannot work: Jacobians larger than the machine's memory, chunks of no colours. Plan side."""

from __future__ import annotations

import os

import numpy as np

from sparsesolve.pattern import SparsityPattern

_INT32_MAX = 2**31 - 1


def check_size(pattern: SparsityPattern, dtype: np.dtype, caller: str) -> None:
    """Raises when the values, their column numbers and one gather table exceed the machine's memory."""
    m, n = pattern.shape
    needed = pattern.nnz * (np.dtype(dtype).itemsize + 8)
    available = _physical_memory()
    if needed <= available and pattern.nnz <= _INT32_MAX:
        return
    raise ValueError(
        f"The {caller} of shape ({m}, {n}) has {pattern.nnz} entries that can be nonzero ({pattern.density:.1%}): "
        f"that takes {needed / 1e9:.1f} GB, and this machine has {available / 1e9:.1f} GB. Look for the operation that "
        "couples all unknowns (a sum, an fft, a dense solve), or use products J @ v by jax.jvp instead."
    )


def check_chunk_size(chunk_size: int | None, caller: str) -> None:
    """Raises unless `chunk_size` is `None` or positive."""
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(
            f"{caller} got chunk_size={chunk_size}, which computes no colours at a time; write a positive number, or "
            "None for all colours at once."
        )


def _physical_memory() -> int:
    """Bytes; where the system does not say, no limit."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**63
