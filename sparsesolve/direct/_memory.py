"""Whether arrays of a plan fit in this machine's memory. Host-side."""

from __future__ import annotations

import os

from sparsesolve.pattern import SparsityPattern


def check_fits(num_bytes: int, what: str, pattern: SparsityPattern) -> None:
    """Raises when `num_bytes` exceed the machine's memory, with the figure.

    Raises:
        ValueError: it does not fit.
    """
    available = physical_memory()
    if num_bytes > available:
        n = pattern.shape[0]
        raise ValueError(
            f"The {what} of this {n} x {n} matrix with {pattern.nnz} entries would take {num_bytes / 1e9:.1f} GB in "
            f"float64; this machine has {available / 1e9:.1f} GB. Use an iterative solver with a preconditioner, or a "
            "coarser discretization."
        )


def physical_memory() -> int:
    """Bytes of main memory; a terabyte where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 10**12
