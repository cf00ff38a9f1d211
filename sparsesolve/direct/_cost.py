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


# Whole methods, a factorization and a solve, fitted to one CPU core on chains, bands of 2 to 32, components of 3 to 60
# unknowns and random matrices of 70 to 1000 (XLA:CPU with LAPACK, and the compiled multifrontal kernels). On a GPU a
# loop is driven from the host, so that a step of a scan costs tens of microseconds whatever it does.
GPU_STEP_TIME = 4e4


def banded_time(n: int, w: int, gpu: bool = False) -> float:
    """Block Thomas with blocks of `w`."""
    step = 2 * GPU_STEP_TIME if gpu else 1500.0 + 75.0 * w * w
    return 6e4 + -(-n // w) * step


def tridiagonal_time(n: int, gpu: bool = False) -> float:
    """Two scans over the diagonals on a CPU, cyclic reduction on a GPU."""
    return 1e4 * max(1, n.bit_length()) + n if gpu else 6e4 + 65.0 * n


def block_diagonal_time(sizes: Any, counts: Any) -> float:
    """Inverses of components, `counts` of each of the `sizes`, a batch for each size."""
    sizes = sizes.astype(float)
    return 4e4 + float((2e4 + counts * (500.0 + 15.0 * sizes**2 + 0.85 * sizes**3)).sum())


def dense_time(n: int) -> float:
    """Dense LU with its conversion."""
    return 4e4 + 0.1 * 2.0 / 3.0 * n**3 + 5.0 * n * n


def multifrontal_time(front_times: float, native: bool) -> float:
    """The multifrontal method whose fronts take `front_times` by their own estimate."""
    return 2e4 + 1.3 * front_times if native else 1.5e5 + 2.2 * front_times


def multifrontal_at_least(n: int, native: bool) -> float:
    """Less than any multifrontal method takes for `n` unknowns: asked before an ordering is made."""
    return multifrontal_time(40.0 * n if native else 100.0 * n, native)


def simplicial_time(n: int, nnz: int, nnz_factor: int, updates: float) -> float:
    """The compiled simplicial method: `updates` multiply-adds, fitted to chains, block chains, circuits and grids.

    Matrices of a few hundred unknowns mostly come in batches, where it takes a third of the time of the multifrontal
    method (chemistry, n = 100; alone, a third more); so it is preferred there."""
    return (2e4 + 1.3 * (10.0 * n + 2.0 * nnz + 2.5 * nnz_factor + 0.4 * updates)) * (0.4 if n <= 512 else 1.0)


def simplicial_could_win(n: int, nnz_factor: int, flops: float) -> bool:
    """Whether a multifrontal plan of this size has so small fronts that the simplicial method is worth a look."""
    return n <= 512 or (n <= 100_000 and flops <= 30.0 * nnz_factor)
