"""MKL PARDISO phase by phase. pypardiso finds the library; its own calls copy and compare the matrix every time."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import scipy.sparse


class Pardiso:
    """A matrix in PARDISO: analysis (phase 11) in the constructor, then `factor` (22) and `solve` (33).

    Args:
        a: CSR; for `symmetric` its upper triangle is used and must be positive definite (mtype 2, otherwise 11).
        symmetric: Cholesky.
    """

    def __init__(self, a: scipy.sparse.csr_matrix, symmetric: bool = False):
        import pypardiso

        solver = pypardiso.PyPardisoSolver()
        self._function = solver.libmkl.pardiso
        self._function.argtypes = self._function.restype = None
        stored: Any = scipy.sparse.triu(a, format="csr") if symmetric else a
        self._values = np.ascontiguousarray(stored.data, float)
        self._indptr, self._indices = (x.astype(np.int32) + 1 for x in (stored.indptr, stored.indices))
        self._n, self._mtype = a.shape[0], 2 if symmetric else 11
        self._handle, self._iparm = np.zeros(64, np.int64), np.zeros(64, np.int32)
        self._rhs = self._x = np.zeros(self._n)
        self._call(11)

    def factor(self) -> None:
        """Numeric factorization."""
        self._call(22)

    def solve(self, rhs: np.ndarray) -> np.ndarray:
        """Solution with the factors; PARDISO refines it by itself where it has perturbed pivots."""
        self._rhs, self._x = np.ascontiguousarray(rhs, float), np.empty(self._n)
        self._call(33)
        return self._x

    @property
    def kilobytes(self) -> int:
        """Its own count of memory: the larger of the peak of the analysis and what is needed afterwards."""
        return max(int(self._iparm[14]), int(self._iparm[15]) + int(self._iparm[16]))

    def close(self) -> None:
        """Frees its memory."""
        self._call(-1)

    def _call(self, phase: int) -> None:
        error = ctypes.c_int32(0)
        one, zero = ctypes.c_int32(1), ctypes.c_int32(0)
        by = ctypes.byref
        self._function(
            *(self._handle.ctypes.data_as(ctypes.c_void_p), by(one), by(one), by(ctypes.c_int32(self._mtype))),
            *(by(ctypes.c_int32(phase)), by(ctypes.c_int32(self._n)), _pointer(self._values)),
            *(_pointer(self._indptr), _pointer(self._indices), by(zero), by(one), _pointer(self._iparm), by(zero)),
            *(_pointer(self._rhs), _pointer(self._x), by(error)),
        )
        if error.value:
            raise RuntimeError(f"PARDISO's phase {phase} ended with error {error.value}")


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)
