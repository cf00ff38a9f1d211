"""The cost model behind the choices of a plan: front sizes, buckets, and which method to take.

Times in nanoseconds of one CPU core, fitted to XLA:CPU (batched matrix products of small blocks reach 30 GF/s, a
scatter takes 2-3 ns an entry, LAPACK's LU of a small block a few GF/s). Only their ratios matter.
"""

from __future__ import annotations

from typing import Any

FLOP_TIME = 0.035
ENTRY_TIME = 1.5  # an entry written once
FRONT_TIME = 400.0  # fixed part of a front's pivot block inversion


def front_flops(k: Any, m: Any) -> Any:
    """Floating-point operations of a front: inverse of the pivot block and two matrix products."""
    return 2.0 * k * k * k + 2.0 * k * k * m + 2.0 * k * m * m


def front_time(k: Any, m: Any, leaf: bool = False) -> Any:
    """Estimated time of a front with `k` pivots and `m` border unknowns: inverse of the pivot block, two products,
    assembly (a leaf has no children to collect), the addition to the parent, the factors written."""
    inverse = FRONT_TIME + 10.0 * k * k + 0.13 * k * k * k
    products = FLOP_TIME * 2.0 * k * m * (k + m)
    assembly = ENTRY_TIME * (1.0 if leaf else 2.5) * (k + m) * (k + m)
    return inverse + products + assembly + 2.0 * ENTRY_TIME * m * m + ENTRY_TIME * (k * k + 2.0 * k * m)


def banded_time(n: int, w: int) -> float:
    """Estimated time of block Thomas with blocks of `w`."""
    step = 4000.0 + 10.0 * FLOP_TIME * 2.0 * w**3 + 3.0 * ENTRY_TIME * w * w
    return -(-n // w) * step


def dense_time(n: int) -> float:
    """Estimated time of a dense LU with its conversion."""
    return 5000.0 + 2.0 / 3.0 * n**3 * 2.0 * FLOP_TIME + n * n
