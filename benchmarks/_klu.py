"""KLU without a wrapper's work: the C functions that the klujax wheel carries, called through ctypes."""

from __future__ import annotations

import ctypes
import importlib.util
from typing import Any

import numpy as np
import scipy.sparse


class Klu:
    """`klu_analyze` and `klu_factor` in the constructor, then `refactor` and `solve`."""

    def __init__(self, a: scipy.sparse.csr_matrix):
        spec = importlib.util.find_spec("klujax_cpp")
        if spec is None or spec.origin is None:
            raise ImportError("klujax", name="klujax")
        self._library = ctypes.CDLL(spec.origin)
        for name in ("klu_analyze", "klu_factor"):
            getattr(self._library, name).restype = ctypes.c_void_p
        csc = scipy.sparse.csc_matrix(a)
        csc.sort_indices()
        self._n = a.shape[0]
        self._arrays = csc.indptr.astype(np.int32), csc.indices.astype(np.int32), csc.data.astype(float)
        self._indptr, self._indices, self._values = (_pointer(x) for x in self._arrays)
        self._common = ctypes.create_string_buffer(4096)  # klu_common takes about 200 bytes
        self._library.klu_defaults(self._common)
        symbolic = self._library.klu_analyze(self._n, self._indptr, self._indices, self._common)
        self._symbolic = self._require(symbolic, "analyze")
        self._numeric = self._factor()

    def _factor(self) -> Any:
        numeric = self._library.klu_factor(self._indptr, self._indices, self._values, self._symbolic, self._common)
        return self._require(numeric, "factor")

    def factor(self) -> None:
        """A factorization that chooses its pivots; the old one is freed."""
        new = self._factor()
        self._library.klu_free_numeric(ctypes.byref(self._numeric), self._common)
        self._numeric = new

    def refactor(self, values: np.ndarray | None = None) -> None:
        """A factorization with the pivots of the last `factor`, of other values (in CSC order) if given."""
        data = self._values if values is None else _pointer(values)
        arguments = (self._indptr, self._indices, data, self._symbolic, self._numeric, self._common)
        if not self._library.klu_refactor(*arguments):
            raise RuntimeError("klu_refactor failed")

    def solve(self, rhs: np.ndarray) -> np.ndarray:
        """Solution with the factors."""
        x = np.array(rhs, float)
        if not self._library.klu_solve(self._symbolic, self._numeric, self._n, 1, _pointer(x), self._common):
            raise RuntimeError("klu_solve failed")
        return x

    @staticmethod
    def _require(address: int | None, what: str) -> ctypes.c_void_p:
        if not address:
            raise RuntimeError(f"klu_{what} failed")
        return ctypes.c_void_p(address)


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)
