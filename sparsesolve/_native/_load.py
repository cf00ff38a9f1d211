"""Finds, loads and registers the compiled kernels, on first use and never at import.

Reasons for their absence are kept as one sentence each: without kernels everything runs on the portable path.
`SPARSESOLVE_NATIVE=0` in the environment turns them off, `SPARSESOLVE_NUM_THREADS` says how many threads of XLA's pool
a call may use (read when the library is loaded; all of them if it is not set). Results do not depend on it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import pathlib
import re
from typing import NamedTuple

import jax
import scipy.linalg.cython_blas

from sparsesolve._native import _build

FACTOR, SOLVE = "sparsesolve_multifrontal_factor", "sparsesolve_multifrontal_solve"
CHOLESKY_FACTOR, CHOLESKY_SOLVE = "sparsesolve_cholesky_factor", "sparsesolve_cholesky_solve"
SIMPLICIAL_FACTOR, SIMPLICIAL_SOLVE = "sparsesolve_simplicial_factor", "sparsesolve_simplicial_solve"
CHECKED, CHOLESKY_CHECKED = "sparsesolve_multifrontal_checked", "sparsesolve_cholesky_checked"
SIMPLICIAL_CHECKED, SIMPLICIAL_ONCE = "sparsesolve_simplicial_checked", "sparsesolve_simplicial_once"
DIAGONALS, STENCIL = "sparsesolve_diagonals", "sparsesolve_stencil"
PADDED_ROWS, CSR_ROWS = "sparsesolve_padded_rows", "sparsesolve_csr_rows"
CSR_PRODUCT, CHEBYSHEV_SWEEP = "sparsesolve_csr_product", "sparsesolve_chebyshev_sweep"
GALERKIN, GRAM = "sparsesolve_galerkin", "sparsesolve_gram"
CHOLESKY_INVERSE, UNTOUCHED = "sparsesolve_cholesky_inverse", "sparsesolve_untouched"
_HANDLERS = {
    FACTOR: "SparsesolveFactor",
    SOLVE: "SparsesolveSolve",
    CHOLESKY_FACTOR: "SparsesolveCholeskyFactor",
    CHOLESKY_SOLVE: "SparsesolveCholeskySolve",
    SIMPLICIAL_FACTOR: "SparsesolveSimplicialFactor",
    SIMPLICIAL_SOLVE: "SparsesolveSimplicialSolve",
    DIAGONALS: "SparsesolveDiagonals",
    STENCIL: "SparsesolveStencil",
    PADDED_ROWS: "SparsesolvePaddedRows",
    CSR_ROWS: "SparsesolveCsrRows",
    CSR_PRODUCT: "SparsesolveCsrProduct",
    CHEBYSHEV_SWEEP: "SparsesolveChebyshevSweep",
    GALERKIN: "SparsesolveGalerkin",
    GRAM: "SparsesolveGram",
    CHOLESKY_INVERSE: "SparsesolveCholeskyInverse",
    CHECKED: "SparsesolveCheckedSolve",
    CHOLESKY_CHECKED: "SparsesolveCholeskyChecked",
    SIMPLICIAL_CHECKED: "SparsesolveSimplicialChecked",
    SIMPLICIAL_ONCE: "SparsesolveSimplicialOnce",
    UNTOUCHED: "SparsesolveUntouched",
}


class _Library(NamedTuple):
    path: pathlib.Path | None
    problem: str


def available() -> bool:
    """Whether the kernels can be called: compiled, loadable, not turned off, and JAX computes on the CPU."""
    return not _problem()


def status() -> str:
    """One line: active, or why not."""
    problem = _problem()
    return (
        f"native CPU kernels: off, {problem}"
        if problem
        else "native CPU kernels: active (multifrontal and simplicial LU, Cholesky and LDL^T, multigrid)"
    )


def _problem() -> str:
    if os.environ.get("SPARSESOLVE_NATIVE", "1") == "0":
        return "SPARSESOLVE_NATIVE=0 is set"
    if jax.default_backend() != "cpu":
        return f"JAX's default backend is {jax.default_backend()}"
    return library().problem


def require() -> None:
    """Makes sure that the kernels are registered, before a call of them is traced.

    Raises:
        RuntimeError: there are none.
    """
    if problem := library().problem:
        raise RuntimeError(f"The native kernels cannot be called: {problem}. Write backend='portable' to do without.")


@functools.cache
def library() -> _Library:
    """Loads and registers the library once."""
    try:
        path = _find()
        loaded = ctypes.CDLL(str(path))
        if not loaded.sparsesolve_processor_fits():
            return _Library(None, f"{path.name} was compiled for another processor; run python -m sparsesolve._native")
        loaded.sparsesolve_set_blas(*(ctypes.c_void_p(_blas(name)) for name in ("sgemm", "dgemm", "cgemm", "zgemm")))
        loaded.sparsesolve_set_threads(num_threads())
        if missing := [handler for handler in _HANDLERS.values() if not hasattr(loaded, handler)]:
            older = f"{path.name} was compiled from older sources, without {missing[0]}"
            return _Library(None, f"{older}; run python -m sparsesolve._native")
        for name, handler in _HANDLERS.items():
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(loaded, handler)), platform="cpu")
    except (_build.BuildError, OSError, AttributeError, RuntimeError, ValueError) as error:
        return _Library(None, " ".join(str(error).split()))
    return _Library(path, "")


def num_threads() -> int:
    """The most threads a call may use, as `SPARSESOLVE_NUM_THREADS` says; 0: as many as XLA has.

    Raises:
        ValueError: it is not a number.
    """
    value = os.environ.get("SPARSESOLVE_NUM_THREADS", "").strip() or "0"
    if not value.isdecimal():
        raise ValueError(f"SPARSESOLVE_NUM_THREADS={value!r} is not a number of threads; write 1, 2, ... or unset it")
    return min(int(value), 1024)


def _find() -> pathlib.Path:
    """The library for this jaxlib, or for the latest interface before its own (XLA keeps old ones working)."""
    wanted = _build.interface_version()
    found = {}
    for path in _build.HERE.glob("_kernels-ffi*.so"):
        if match := re.fullmatch(r"_kernels-ffi(\d+)\.(\d+)\.so", path.name):
            found[int(match[1]), int(match[2])] = path
    usable = [version for version in found if version <= wanted]
    if usable:
        return found[max(usable)]
    if found:
        raise _build.BuildError(
            f"compiled for a newer jaxlib (interface {max(found)}, here {wanted}); run python -m sparsesolve._native"
        )
    raise _build.BuildError("not compiled; run python -m sparsesolve._native")


def _blas(name: str) -> int | None:
    """Address of a BLAS routine in SciPy's own BLAS; `None`, and the kernels do without, if it is not as expected."""
    capsule = getattr(scipy.linalg.cython_blas, "__pyx_capi__", {}).get(name)
    if capsule is None:
        return None
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = get_name(capsule)
    if signature is None or signature.count(b"int *") != 6 or signature.count(b"*") != 13:
        return None  # other integers, or another convention
    return get_pointer(capsule, signature)
