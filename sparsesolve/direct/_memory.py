"""Whether arrays of a plan fit in this machine's memory. Host-side.

Plans are counted in entries of the values' type: factors, and the working space that a factorization needs besides
(the stack of update matrices, the pool of the portable method).
"""

from __future__ import annotations

import contextvars
import os

import numpy as np

from sparsesolve.pattern import SparsityPattern

factor_dtype: contextvars.ContextVar[str] = contextvars.ContextVar("factor_dtype", default="float64")
"""The type that plans being made are counted in; `plan_direct` sets it for factors of lower precision."""


def fits(num_entries: float) -> bool:
    """Whether so many entries are less than the machine's memory."""
    return num_entries * np.dtype(factor_dtype.get()).itemsize <= physical_memory()


def check_entries(num_entries: float, what: str, pattern: SparsityPattern) -> None:
    """Raises when `num_entries` numbers exceed the machine's memory, with the figure.

    Raises:
        ValueError: they do not fit.
    """
    check_fits(num_entries * np.dtype(factor_dtype.get()).itemsize, what, pattern)


def check_fits(num_bytes: float, what: str, pattern: SparsityPattern) -> None:
    """Raises when `num_bytes` exceed the machine's memory, with the figure.

    Raises:
        ValueError: it does not fit.
    """
    available = physical_memory()
    if num_bytes > available:
        n = pattern.shape[0]
        raise ValueError(
            f"The {what} of this {n} x {n} matrix with {pattern.nnz} entries would take {num_bytes / 1e9:.3g} GB in "
            f"{factor_dtype.get()}; this machine has {available / 1e9:.3g} GB. Use an iterative solver "
            "with a preconditioner, or a coarser discretization."
        )


def stack_entries(pivots: np.ndarray, border: np.ndarray, parent: np.ndarray) -> float:
    """Most entries of update matrices alive at once when fronts are eliminated in their order (a postorder): those of
    the children of a front are released after its own was assembled."""
    update = border.astype(float) ** 2
    inner = parent >= 0
    released = np.bincount(parent[inner], weights=update[inner], minlength=pivots.size)
    return float((np.cumsum(update - released) + released).max(initial=0.0))


def physical_memory() -> int:
    """Bytes of main memory; a terabyte where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 10**12
