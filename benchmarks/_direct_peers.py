"""Direct solvers of others, each with one thread: SciPy's SuperLU, MKL PARDISO, KLU, klujax, UMFPACK, CHOLMOD.

UMFPACK and CHOLMOD come with the cvxopt wheel (scikit-umfpack has none and does not build without a system's
SuiteSparse). klujax forces CPU and 64 bits when it is imported: every peer has a process of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from benchmarks._base import Trial
from benchmarks._klu import Klu
from benchmarks._matrices import TOLERANCE, checker, matrix, right_hand_side
from benchmarks._pardiso import Pardiso

WHAT = "backward error"


def superlu(name: str, arguments: list[Any]) -> Trial:
    """`scipy.sparse.linalg.splu` in the fastest of its useful configurations; it orders anew every time."""
    a = matrix(name, *arguments)
    b, csc = right_hand_side(a), scipy.sparse.csc_matrix(a)
    symmetric = {"SymmetricMode": True}
    ways: dict[str, dict[str, Any]] = {
        "MMD_AT_PLUS_A": {"permc_spec": "MMD_AT_PLUS_A"},
        "MMD_AT_PLUS_A, SymmetricMode": {
            "permc_spec": "MMD_AT_PLUS_A",
            "diag_pivot_thresh": 0.01,
            "options": symmetric,
        },
        "COLAMD": {"permc_spec": "COLAMD"},
    }
    found: dict[str, Any] = {}
    if a.shape[0] > 30_000:
        best = "MMD_AT_PLUS_A"
    else:
        best = min(ways, key=lambda way: _once(lambda: scipy.sparse.linalg.splu(csc, **ways[way])))

    def run() -> None:
        found["lu"] = scipy.sparse.linalg.splu(csc, **ways[best])

    def solve() -> np.ndarray:
        return found["lu"].solve(b)

    return Trial(run, checker(a, b, solve), TOLERANCE, WHAT, notes={"order": best}, parts={"solve": solve})


def pardiso(name: str, arguments: list[Any]) -> Trial:
    """MKL PARDISO, unsymmetric (mtype 11), its defaults: METIS, scaling and matching."""
    return _pardiso(name, arguments, symmetric=False)


def pardiso_cholesky(name: str, arguments: list[Any]) -> Trial:
    """MKL PARDISO, positive definite (mtype 2)."""
    return _pardiso(name, arguments, symmetric=True)


def _pardiso(name: str, arguments: list[Any], symmetric: bool) -> Trial:
    a = matrix(name, *arguments)
    b = right_hand_side(a)
    Pardiso(scipy.sparse.eye_array(2, format="csr"), symmetric).close()  # loads the library
    start = time.perf_counter()
    solver = Pardiso(a, symmetric)
    setup = time.perf_counter() - start
    notes: dict[str, Any] = {}

    def solve() -> np.ndarray:
        notes["own count"] = f"{solver.kilobytes / 1024:.0f} MB"
        return solver.solve(b)

    return Trial(solver.factor, checker(a, b, solve), TOLERANCE, WHAT, setup, notes=notes, parts={"solve": solve})


def klu(name: str, arguments: list[Any]) -> Trial:
    """KLU's own `klu_refactor` and `klu_solve`."""
    a = matrix(name, *arguments)
    b = right_hand_side(a)
    start = time.perf_counter()
    solver = Klu(a)
    setup = time.perf_counter() - start

    def solve() -> np.ndarray:
        return solver.solve(b)

    parts: dict[str, Callable[[], Any]] = {"solve": solve, "first factor": solver.factor}
    return Trial(solver.refactor, checker(a, b, solve), TOLERANCE, WHAT, setup, parts=parts)


def klujax(name: str, arguments: list[Any]) -> Trial:
    """klujax: `refactor`, `solve_with_numeric`, and the public `solve` that does everything in each call."""
    a = matrix(name, *arguments)
    b = right_hand_side(a)
    import jax
    import jax.numpy as jnp
    import klujax as peer

    coo = a.tocoo()
    rows, cols = (jnp.asarray(x.astype(np.int32)) for x in (coo.row, coo.col))
    values, rhs = jnp.asarray(coo.data), jnp.asarray(b)
    start = time.perf_counter()
    symbolic = peer.analyze(rows, cols, a.shape[0])
    setup = time.perf_counter() - start
    numeric = peer.factor(rows, cols, values, symbolic)
    jax.block_until_ready(peer.solve(rows, cols, values, rhs))

    def run() -> None:
        peer.refactor(rows, cols, values, numeric, symbolic)

    def solve() -> Any:
        return jax.block_until_ready(peer.solve_with_numeric(numeric, rhs, symbolic))

    def public() -> Any:
        return jax.block_until_ready(peer.solve(rows, cols, values, rhs))

    parts = {"solve": solve, "public call": public}
    return Trial(run, checker(a, b, solve), TOLERANCE, WHAT, setup, parts=parts)


def umfpack(name: str, arguments: list[Any]) -> Trial:
    """UMFPACK as cvxopt calls it."""
    from cvxopt import umfpack as peer

    a = matrix(name, *arguments)
    b, stored = right_hand_side(a), _cvxopt(a)
    start = time.perf_counter()
    symbolic = peer.symbolic(stored)
    setup = time.perf_counter() - start
    found: dict[str, Any] = {}

    def run() -> None:
        found["lu"] = peer.numeric(stored, symbolic)

    def solve() -> np.ndarray:
        return _solved(b, lambda x: peer.solve(stored, found["lu"], x))

    return Trial(run, checker(a, b, solve), TOLERANCE, WHAT, setup, parts={"solve": solve})


def cholmod(name: str, arguments: list[Any]) -> Trial:
    """CHOLMOD as cvxopt calls it."""
    from cvxopt import cholmod as peer

    a = matrix(name, *arguments)
    b, stored = right_hand_side(a), _cvxopt(scipy.sparse.csr_matrix(scipy.sparse.tril(a)))
    start = time.perf_counter()
    factors = peer.symbolic(stored)
    setup = time.perf_counter() - start

    def run() -> None:
        peer.numeric(stored, factors)

    def solve() -> np.ndarray:
        return _solved(b, lambda x: peer.solve(factors, x))

    return Trial(run, checker(a, b, solve), TOLERANCE, WHAT, setup, parts={"solve": solve})


def _cvxopt(a: scipy.sparse.csr_matrix) -> Any:
    import cvxopt

    coo = scipy.sparse.csc_matrix(a).tocoo()
    return cvxopt.spmatrix(*(cvxopt.matrix(x) for x in (coo.data, coo.row, coo.col)), a.shape)


def _solved(b: np.ndarray, solve: Callable[[Any], None]) -> np.ndarray:
    """Both solvers of cvxopt overwrite the right-hand side."""
    import cvxopt

    x = cvxopt.matrix(b)
    solve(x)
    return np.array(x)


def _once(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    try:
        call()
    except RuntimeError:  # exactly singular in this order
        return np.inf
    return time.perf_counter() - start
