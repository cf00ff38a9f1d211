"""The symbolic LU factorization that the library exports, called from the host when a plan is made."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np

from sparsesolve._native._load import library, require


class LUStructure(NamedTuple):
    """Rows of the columns of `L` below and of `U` above the diagonal, increasing."""

    l_start: np.ndarray  # (n + 1,) int64
    l_row: np.ndarray  # int32
    u_start: np.ndarray
    u_row: np.ndarray


def symbolic_lu(indptr: np.ndarray, indices: np.ndarray, most: int) -> LUStructure | None:
    """Structure of the factors of a matrix in CSC that is eliminated as it stands, without row exchanges.

    Args:
        indptr: `(n + 1,)` where columns begin.
        indices: row numbers.
        most: bound on the entries of either factor.

    Returns:
        The structure, or `None` if a factor has more than `most` entries.
    """
    require()
    function = _function("sparsesolve_symbolic_lu")
    n = indptr.size - 1
    indptr, indices = np.ascontiguousarray(indptr, np.int64), np.ascontiguousarray(indices, np.int32)
    if n < 0 or indptr[0] != 0 or indptr[-1] > indices.size or (np.diff(indptr) < 0).any():
        raise ValueError("indptr must begin at zero, not decrease, and end within indices.")
    starts = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    rows = np.empty(most, np.int32), np.empty(most, np.int32)
    size, pointer = ctypes.c_int64, ctypes.c_void_p
    arrays = [pointer(a.ctypes.data) for a in (*starts, *rows)]
    matrix = [pointer(a.ctypes.data) for a in (indptr, indices)]
    status = function(size(n), *matrix, size(most), size(most), *arrays)
    if status == 1:
        return None
    if status != 0:
        raise ValueError("A row number is outside the matrix." if status == 2 else "No memory for the symbolic LU.")
    l_row, u_row = (row[: start[-1]].copy() for row, start in zip(rows, starts, strict=True))
    return LUStructure(starts[0], l_row, starts[1], u_row)


def group_columns(structure: LUStructure, block: np.ndarray) -> tuple[LUStructure, np.ndarray, np.ndarray]:
    """Columns that the numeric factorization computes together because they share most of `U`'s rows.

    Args:
        structure: of the factors.
        block: `(n,)` diagonal block of each place; columns of different blocks stay apart.

    Returns:
        The structure with the rows of each column of `U` in three parts: its own, those that the columns computed
        together share, those among these columns. And, `(n,)` each, how many columns from `k` on are computed together
        (1, 2 or 4), and how many rows of a column are its own.
    """
    n = block.size
    u_row, block = structure.u_row.copy(), np.ascontiguousarray(block, np.int64)
    together, own = np.ones(n, np.int32), np.zeros(n, np.int32)
    arrays = (np.ascontiguousarray(structure.u_start, np.int64), u_row, block, together, own)
    status = _function("sparsesolve_group_columns")(
        ctypes.c_int64(n), *(ctypes.c_void_p(a.ctypes.data) for a in arrays)
    )
    if status != 0:
        raise MemoryError("No memory for the symbolic LU.")
    return structure._replace(u_row=u_row), together, own


def _function(name: str) -> Any:
    require()
    path = library().path
    assert path is not None
    function = getattr(ctypes.CDLL(str(path)), name)
    function.restype = ctypes.c_int
    return function
