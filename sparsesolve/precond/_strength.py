"""Strength of connection: which entries of a matrix guide the coarsening, and which only enter its diagonal. Host-side.

With `w_ij = max(|a_ij|, |a_ji|)` and `m_i` the largest `w_ij` in row `i`, an off-diagonal entry is strong if

    w_ij >= theta sqrt(m_i m_j).

Like J. W. Ruge, K. Stueben, Algebraic multigrid (in: Multigrid Methods, SIAM 1987, doi:10.1137/1.9781611971057.ch4) and
unlike P. Vanek, J. Mandel, M. Brezina, Computing 56 (1996) 179-196, doi:10.1007/BF02238511, it compares with other
off-diagonal entries, not with the diagonal: `I + c L` has the same strong entries whatever `c`, so one plan serves all
steps of an implicit method. Like theirs it is symmetric. Cost: a few passes over the entries.
"""

from __future__ import annotations

import numpy as np

from sparsesolve.pattern import SparsityPattern

FOREIGN, WEAK, STRONG, DIAGONAL = np.arange(4, dtype=np.int8)


def classify_entries(pattern: SparsityPattern, data: np.ndarray, fields: np.ndarray, theta: float) -> np.ndarray:
    """The kind of each entry, int8 `(nnz,)`, the same for `(i, j)` and `(j, i)`.

    `FOREIGN` entries couple different fields and take no part in the interpolation; `WEAK` ones are lumped into the
    diagonal; `STRONG` and `DIAGONAL` ones interpolate.

    Args:
        pattern: symmetric, with the whole diagonal.
        data: sample values, `(nnz,)`.
        fields: number of the field of each unknown, `(n,)`.
        theta: threshold, 0 to 1.
    """
    rows, cols = pattern.rows, pattern.indices
    size = np.abs(data)
    size = np.maximum(size, size[pattern.transpose_order])
    if fields.any():
        size[fields[rows] != fields[cols]] = 0
        kinds = np.where(fields[rows] != fields[cols], FOREIGN, WEAK)
    else:
        kinds = np.full(pattern.nnz, WEAK)
    kinds[pattern.diagonal_positions] = DIAGONAL
    size[pattern.diagonal_positions] = 0
    root = np.sqrt(np.maximum.reduceat(size, pattern.indptr[:-1])) if pattern.nnz else size
    strong = (size > 0) & (size >= theta * root[rows] * root[cols])
    kinds[strong] = STRONG
    return kinds


def unit_sample(pattern: SparsityPattern) -> np.ndarray:
    """The graph Laplacian of a symmetric pattern: what stands for values where none are known."""
    data = np.full(pattern.nnz, -1.0)
    data[pattern.diagonal_positions] = np.maximum(np.diff(pattern.indptr) - 1, 1)
    return data


def without_surplus(pattern: SparsityPattern, data: np.ndarray, fields: np.ndarray) -> np.ndarray:
    """The sample with dominant diagonals cut down to the sum of the other entries of their row and field.

    The coarse matrices of `I + c L` mix the mass `P^T P` into their off-diagonal entries and hide the strength of `L`,
    most of all for small `c`. Without the surplus the plan is that of `L`, for all `c`.
    """
    rows, cols = pattern.rows, pattern.indices
    size = np.where(fields[rows] == fields[cols], np.abs(data), 0)
    size[pattern.diagonal_positions] = 0
    others = np.add.reduceat(size, pattern.indptr[:-1])
    diagonal = data[pattern.diagonal_positions]
    factor = np.minimum(1, others / np.where(diagonal == 0, 1, np.abs(diagonal)))
    out = data.copy()
    out[pattern.diagonal_positions] = diagonal * np.where(others > 0, factor, 1)
    return out
