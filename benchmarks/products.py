"""Products with a sparse matrix, compiled: `A @ x`, `A^T x`, and `A @ X` with eight columns, against SciPy's CSR.

SciPy's transposed product uses the CSC view of the same arrays, which is its fastest way. BCSR is JAX's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse

from benchmarks._base import Benchmark, Case, Trial
from benchmarks._matrices import matrix

_WHAT, _TOLERANCE = "relative error", 1e-13
_BOTH, _ALL = ("sparsesolve", "SciPy CSR"), ("sparsesolve", "SciPy CSR", "JAX BCSR")


def cases(quick: bool) -> list[Case]:
    """Stencils and systems on grids; meshes, networks and blocks, which are no stencils."""
    table = [
        ("5-point stencil", "convection_diffusion", [100, 100] if quick else [1000, 1000], _ALL),
        ("7-point stencil", "convection_diffusion", [20, 20, 20] if quick else [100, 100, 100], _BOTH),
        ("Brusselator", "brusselator", [50] if quick else [500], _BOTH),
        ("six species", "reaction_diffusion", [20] if quick else [200], _BOTH),
        ("elasticity", "elasticity", [50] if quick else [300], _BOTH),
        ("P1 elements", "fem_diffusion", [60] if quick else [400], _ALL),
        ("block-tridiagonal", "block_tridiagonal", [500 if quick else 20_000, 8], _BOTH),
        ("circuit", "circuit", [2000 if quick else 200_000], _BOTH),
        ("Markov chain", "markov_chain", [2000 if quick else 200_000], _BOTH),
    ]
    return [Case(title, {"name": name, "arguments": arguments}, peers) for title, name, arguments, peers in table]


def sparsesolve(name: str, arguments: list[Any]) -> Trial:
    """`SparseMatrix` under `jit`, values and operand as arguments."""
    from sparsesolve.matrix import SparseMatrix
    from sparsesolve.pattern import SparsityPattern

    a = matrix(name, *arguments)
    pattern = SparsityPattern.from_scipy(a)
    return _compiled(a, lambda values: SparseMatrix(values, pattern))


def bcsr(name: str, arguments: list[Any]) -> Trial:
    """`jax.experimental.sparse.BCSR`."""
    import jax.numpy as jnp
    from jax.experimental import sparse

    a = matrix(name, *arguments)
    indices, indptr = jnp.asarray(a.indices), jnp.asarray(a.indptr)
    return _compiled(a, lambda values: sparse.BCSR((values, indices, indptr), shape=a.shape), transposed=False)


def scipy_csr(name: str, arguments: list[Any]) -> Trial:
    """SciPy's compiled loops."""
    a = matrix(name, *arguments)
    x, many = _operands(a)
    parts = {"A^T x": lambda: a.T @ x, "A X, 8 columns": lambda: a @ many}
    return Trial(lambda: a @ x, lambda y: _error(a, y, x), _TOLERANCE, _WHAT, notes=_size(a), parts=parts)


def _compiled(a: scipy.sparse.csr_matrix, build: Callable[[Any], Any], transposed: bool = True) -> Trial:
    import jax
    import jax.numpy as jnp

    values, (x, many) = jnp.asarray(a.data), (jnp.asarray(v) for v in _operands(a))
    functions: dict[str, tuple[Callable[..., Any], Any]] = {
        "run": (lambda v, u: build(v) @ u, x),
        "A^T x": (lambda v, u: build(v).T @ u if not hasattr(build(v), "__rmatmul__") else u @ build(v), x),
        "A X, 8 columns": (lambda v, u: build(v) @ u, many),
    }
    if not transposed:
        del functions["A^T x"]
    start = time.perf_counter()
    compiled = {key: jax.jit(f).lower(values, operand).compile() for key, (f, operand) in functions.items()}
    compilation = time.perf_counter() - start
    calls = {
        key: lambda key=key, u=operand: jax.block_until_ready(compiled[key](values, u))
        for key, (_, operand) in functions.items()
    }

    def check(y: Any) -> float:
        errors = [_error(a, y, x), _error(a, calls["A X, 8 columns"](), many)]
        return max(errors + ([_error(a.T, calls["A^T x"](), x)] if transposed else []))

    run = calls.pop("run")
    return Trial(run, check, _TOLERANCE, _WHAT, None, compilation, _size(a), calls)


def _operands(a: scipy.sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal(a.shape[1]), rng.standard_normal((a.shape[1], 8))


def _size(a: scipy.sparse.csr_matrix) -> dict[str, Any]:
    return {"n": a.shape[0], "nnz": a.nnz}


def _error(a: Any, y: Any, x: Any) -> float:
    expected = a @ np.asarray(x)
    return float(np.abs(np.asarray(y) - expected).max() / np.abs(expected).max())


BENCHMARK = Benchmark(
    "products",
    "products of a sparse matrix with vectors, float64",
    cases,
    {"sparsesolve": sparsesolve, "SciPy CSR": scipy_csr, "JAX BCSR": bcsr},
    measured="A x",
    budget=1.5,
)
