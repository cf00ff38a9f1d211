"""Direct solution: refactorization with new values on a known pattern, solves, analysis ("set-up"), memory.

"solve" is the plain pair of triangular solves; "checked solve" what a user of this package gets: refined until the true
residual is at rounding level, and reported. The error is the backward error of a checked solve for this package, of a
solve for the others. On a CUDA device the portable path runs against `jax.experimental.sparse.linalg.spsolve`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks._base import Benchmark, Case, SkipError, Trial
from benchmarks._direct_peers import WHAT, cholmod, klu, klujax, pardiso, pardiso_cholesky, superlu, umfpack
from benchmarks._matrices import FILES, TOLERANCE, checker, matrix, right_hand_side

_OURS, _TWO, _CHOLESKY, _SINGLE = "sparsesolve", "sparsesolve, 2 threads", "sparsesolve Cholesky", "sparsesolve, GPU"
_GRID, _LARGE = (_OURS, "PARDISO", "SuperLU"), (_OURS, "PARDISO")
_THREADS = (_TWO, "PARDISO, 2 threads")
_SMALL = (_OURS, "PARDISO", "KLU", "klujax", "UMFPACK", "SuperLU")
_DEFINITE = (_CHOLESKY, "PARDISO Cholesky", "CHOLMOD", _OURS)


def cases(quick: bool) -> list[Case]:
    """Grids in two and three dimensions, meshes, chains, mechanisms, circuits, files, and families nobody tuned for."""
    grids = [
        _case("convection-diffusion 2-D, 1e4", "convection_diffusion", [100, 100], (*_SMALL[:3], *_SMALL[4:])),
        _case("convection-diffusion 3-D, 8e3", "convection_diffusion", [20, 20, 20], (*_GRID, "UMFPACK")),
        _case("Brusselator, 2e4", "brusselator", [100], _GRID),
        _case("block-tridiagonal, 1000 x 8", "block_tridiagonal", [1000, 8], _SMALL),
        _case("chemistry, 100", "chemistry", [99], _SMALL),
        _case("circuit, 2e4", "circuit", [20_000], _SMALL),
        _case("jumping diffusion 2-D, 1e4", "jumping_diffusion", [100], _DEFINITE),
    ]
    if quick:
        return [*grids, *gpu_cases(quick)]
    large = [
        _case("convection-diffusion 2-D, 1e5", "convection_diffusion", [316, 316], (*_GRID, "UMFPACK", *_THREADS)),
        _case("convection-diffusion 2-D, 1e6", "convection_diffusion", [1000, 1000], _LARGE),
        _case("convection-diffusion 3-D, 6.4e4", "convection_diffusion", [40, 40, 40], (*_LARGE, *_THREADS)),
        _case("convection-diffusion 3-D, 2e5", "convection_diffusion", [58, 58, 58], _LARGE),
        _case("Brusselator, 1e5", "brusselator", [224], _GRID),
        _case("P1 elements, 1e5", "fem_diffusion", [316], (*_GRID, "UMFPACK")),
        _case("jumping diffusion 2-D, 1e5", "jumping_diffusion", [316], _DEFINITE),
        _case("elasticity, 5e4", "elasticity", [158], _DEFINITE),
    ]
    files = [_case(f"{name} (SuiteSparse)", name, [], _SMALL) for name in FILES]
    others = [
        _case("Helmholtz, 4e4", "helmholtz", [200, 20.3], _GRID),
        _case("Stokes, 3e4", "stokes", [100], (*_GRID, "UMFPACK")),
        _case("Markov chain, 3e3", "markov_chain", [3000], (*_GRID, "KLU", "UMFPACK")),
        _case("optimal control, 7e3", "optimal_control", [500], _SMALL),
        _case("cavity, 8e3", "cavity", [63], (*_GRID, "UMFPACK")),
        _case("six species, 1.5e4", "reaction_diffusion", [50], (*_GRID, "UMFPACK")),
    ]
    return [*grids, *large, *files, *others, *gpu_cases(quick)]


def gpu_cases(quick: bool) -> list[Case]:
    """The portable path on a CUDA device against cuSPARSE's QR, which is all that JAX offers there."""
    sides = (32,) if quick else (141, 447)
    peers = (_SINGLE, "jax spsolve, GPU")
    return [_case(f"GPU, convection-diffusion 2-D, {s * s}", "convection_diffusion", [s, s], peers) for s in sides]


def _case(title: str, name: str, arguments: list[Any], peers: tuple[str, ...]) -> Case:
    return Case(title, {"name": name, "arguments": arguments}, peers)


def sparsesolve(name: str, arguments: list[Any]) -> Trial:
    """What `AutoSparse` does once it has a plan: factors, solves with them, checks."""
    return _trial(name, arguments, "auto")


def sparsesolve_cholesky(name: str, arguments: list[Any]) -> Trial:
    """The same with the method for positive definite matrices."""
    return _trial(name, arguments, "auto", symmetry="positive")


def sparsesolve_gpu(name: str, arguments: list[Any]) -> Trial:
    """The portable path on a CUDA device."""
    require_gpu()
    return _trial(name, arguments, "portable")


def _trial(name: str, arguments: list[Any], backend: Any, symmetry: Any = None) -> Trial:
    import jax
    import jax.numpy as jnp

    from sparsesolve.direct import plan_direct, solve_refined
    from sparsesolve.pattern import SparsityPattern

    a = matrix(name, *arguments)
    b = right_hand_side(a)
    values, rhs = jnp.asarray(a.data), jnp.asarray(b)
    start = time.perf_counter()
    plan = plan_direct(SparsityPattern.from_scipy(a), sample=a.data, backend=backend, symmetry=symmetry)
    setup = time.perf_counter() - start
    start = time.perf_counter()
    factor = jax.jit(plan.factor).lower(values).compile()
    found = {"factors": jax.eval_shape(plan.factor, values)}
    solve = jax.jit(lambda f, r: plan.solve(f, r)).lower(found["factors"], rhs).compile()
    compilation = time.perf_counter() - start
    checked = jax.jit(lambda f, v, r: solve_refined(plan, f, v, r)).lower(found["factors"], values, rhs).compile()

    def run() -> None:
        found["factors"] = None
        found["factors"] = jax.block_until_ready(factor(values))

    def solve_once() -> Any:
        return jax.block_until_ready(solve(found["factors"], rhs))

    def checked_solve() -> Any:
        return jax.block_until_ready(checked(found["factors"], values, rhs))

    notes = {"method": plan.kind, "nnz": a.nnz, "factors": f"{8 * plan.nnz_factor / 2**20:.3g} MB"}
    parts = {"solve": solve_once, "checked solve": checked_solve}
    check = checker(a, b, lambda: checked_solve()[0])
    return Trial(run, check, TOLERANCE, WHAT, setup, compilation, notes, parts)


def spsolve_gpu(name: str, arguments: list[Any]) -> Trial:
    """`jax.experimental.sparse.linalg.spsolve` on a CUDA device: one QR a call, nothing kept."""
    require_gpu()
    import jax
    import jax.numpy as jnp
    from jax.experimental.sparse.linalg import spsolve

    a = matrix(name, *arguments)
    b = right_hand_side(a)
    operands = (jnp.asarray(a.data), jnp.asarray(a.indices), jnp.asarray(a.indptr), jnp.asarray(b))
    start = time.perf_counter()
    compiled = jax.jit(spsolve).lower(*operands).compile()
    compilation = time.perf_counter() - start

    def run() -> Any:
        return jax.block_until_ready(compiled(*operands))

    return Trial(run, checker(a, b, run), TOLERANCE, WHAT, None, compilation, {"run": "factor and solve"})


def require_gpu() -> None:
    """Skips a peer where there is no CUDA device."""
    import jax

    if jax.default_backend() != "gpu":
        raise SkipError(f"JAX's default backend is {jax.default_backend()}, there is no CUDA device")


_PEERS: dict[str, Callable[..., Trial]] = {
    _OURS: sparsesolve,
    _TWO: sparsesolve,
    _CHOLESKY: sparsesolve_cholesky,
    _SINGLE: sparsesolve_gpu,
    "PARDISO": pardiso,
    "PARDISO, 2 threads": pardiso,
    "PARDISO Cholesky": pardiso_cholesky,
    "SuperLU": superlu,
    "KLU": klu,
    "klujax": klujax,
    "UMFPACK": umfpack,
    "CHOLMOD": cholmod,
    "jax spsolve, GPU": spsolve_gpu,
}

BENCHMARK = Benchmark(
    "direct",
    "sparse factorization and solves, float64; ratios compare with the first peer",
    cases,
    _PEERS,
    measured="refactor",
    budget=3.0,
    cores=dict.fromkeys(_THREADS, 2),
)
