"""Algebraic multigrid: `(I + c L) x = b` by CG to a relative residual of 1e-8, on grids and meshes.

The time is the whole first solve with everything compiled: set-up on the host, numbers of the hierarchy, CG. "refresh +
solve" is a further solve with new values, as in every implicit step: this package keeps its plan, for pyamg that is the
whole again. "solve alone" is for the same matrix. L has mesh width one: its eigenvalues reach 8 in two dimensions, 12
in three.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from benchmarks._base import Benchmark, Case, Trial
from benchmarks._problems import build

TOLERANCE, RTOL = 1.01e-8, 1e-8
_WHAT = "relative residual"
_OURS, _PYAMG, _PLAIN, _DIRECT = "sparsesolve AMG", "pyamg", "SciPy CG", "sparsesolve direct"


def cases(quick: bool) -> list[Case]:
    """Grids in two and three dimensions and a mesh of triangles; small, moderate and large c."""
    sides = {"2-D": (100,), "3-D": (22,), "mesh": (100,)}
    if not quick:
        sides = {"2-D": (100, 316), "3-D": (22, 58), "mesh": (100, 316)}
    found = []
    for kind, numbers in sides.items():
        for side in numbers:
            for c in (1.0, 100.0, 1e4):
                found.append(_case(kind, side, c, direct=side == 58 and c == 100.0))
    return found if quick else [*found, _case("2-D", 1000, 100.0)]


def _case(kind: str, side: int, c: float, direct: bool = False) -> Case:
    peers = (_OURS, _PYAMG, *((_PLAIN,) if c == 100.0 else ()), *((_DIRECT,) if direct else ()))
    size = side**3 if kind == "3-D" else side**2
    return Case(f"{kind}, {size}, c = {c:g}", {"kind": kind, "side": side, "c": c}, peers)


def shifted_laplacian(kind: str, side: int, c: float) -> scipy.sparse.csr_matrix:
    """`I + c L` with the 5-point or 7-point Laplacian, or that of linear elements on an unstructured mesh."""
    if kind == "mesh":
        laplacian = _mesh_laplacian(side)
    else:
        line = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(side, side))
        laplacian = scipy.sparse.kronsum(line, line)
        if kind == "3-D":
            laplacian = scipy.sparse.kronsum(laplacian, line)
    out = scipy.sparse.csr_matrix(scipy.sparse.eye_array(laplacian.shape[0]) + c * laplacian)
    out.sort_indices()
    return out


def _mesh_laplacian(side: int) -> scipy.sparse.csr_matrix:
    """The stiffness matrix of linear elements at the interior nodes."""
    nodes, triangles = (np.asarray(x) for x in build("fem_diffusion", side).points)
    corners = nodes[triangles]
    opposite = corners[:, [2, 0, 1]] - corners[:, [1, 2, 0]]
    doubled = np.abs(opposite[:, 0, 0] * opposite[:, 1, 1] - opposite[:, 0, 1] * opposite[:, 1, 0])
    local = np.einsum("tid,tjd->tij", opposite, opposite) / (2 * doubled[:, None, None])
    rows, cols = np.repeat(triangles, 3, axis=1), np.tile(triangles, (1, 3))
    whole = scipy.sparse.csr_matrix((local.ravel(), (rows.ravel(), cols.ravel())), shape=2 * (len(nodes),))
    inside = np.flatnonzero(((nodes > 1e-9) & (nodes < 1 - 1e-9)).all(axis=1))
    return whole[inside][:, inside]


def right_hand_side(n: int) -> np.ndarray:
    """Rough and smooth parts alike."""
    return np.random.default_rng(0).standard_normal(n)


def _residual(a: scipy.sparse.csr_matrix, b: np.ndarray) -> Callable[[Any], float]:
    def check(x: Any) -> float:
        error = float(np.linalg.norm(b - a @ np.asarray(x)) / np.linalg.norm(b))
        return error if np.isfinite(error) else np.inf

    return check


def sparsesolve(kind: str, side: int, c: float) -> Trial:
    """`CG(preconditioner=AMG())`: prepared with a sample on the host, refreshed and solved with under `jit`."""
    import sparsesolve as ss

    return _ours(kind, side, c, lambda: ss.CG(rtol=RTOL, atol=0.0, preconditioner=ss.AMG()))


def sparsesolve_direct(kind: str, side: int, c: float) -> Trial:
    """`SparseCholesky`: analysis on the host, factorization and solve under `jit`."""
    import sparsesolve as ss

    return _ours(kind, side, c, ss.SparseCholesky)


def _ours(kind: str, side: int, c: float, make: Callable[[], Any]) -> Trial:
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import lineax as lx

    import sparsesolve as ss
    from sparsesolve._cache import clear_caches

    a = shifted_laplacian(kind, side, c)
    b = right_hand_side(a.shape[0])
    rhs = jnp.asarray(b)

    @eqx.filter_jit
    def solve(solver: Any, matrix: Any, rhs: Any) -> Any:
        operator = ss.SparseLinearOperator(matrix, lx.positive_semidefinite_tag)
        solution = lx.linear_solve(operator, rhs, solver, throw=False)
        return solution.value, solution.stats.get("num_steps", 0)

    def prepare() -> Any:
        clear_caches()
        matrix = ss.SparseMatrix.from_scipy(a)
        return jax.block_until_ready((make().prepare(matrix.pattern, matrix.data), matrix))

    start = time.perf_counter()
    solver, matrix = prepare()
    setup = time.perf_counter() - start
    start = time.perf_counter()
    _, steps = jax.block_until_ready(solve(solver, matrix, rhs))
    compilation = time.perf_counter() - start

    def again() -> Any:
        return jax.block_until_ready(solve(solver, matrix, rhs))[0]

    def whole() -> Any:
        return jax.block_until_ready(solve(*prepare(), rhs))[0]

    notes: dict[str, Any] = {"steps": int(steps)} if int(steps) else {}
    plan = getattr(getattr(solver, "preconditioner", None), "plan", None)
    if plan is not None:
        notes["complexity"] = f"{plan.operator_complexity:.2f}"
    return Trial(whole, _residual(a, b), TOLERANCE, _WHAT, setup, compilation, notes, {"refresh + solve": again})


def pyamg(kind: str, side: int, c: float) -> Trial:
    """`pyamg.smoothed_aggregation_solver` with its defaults, told of the symmetry, and its CG."""
    import pyamg as peer

    a = shifted_laplacian(kind, side, c)
    b = right_hand_side(a.shape[0])
    norms: list[float] = []

    def setup() -> Any:
        return peer.smoothed_aggregation_solver(a, symmetry="symmetric")

    def solve(hierarchy: Any) -> Any:
        norms.clear()
        return hierarchy.solve(b, tol=RTOL, accel="cg", residuals=norms)

    start = time.perf_counter()
    hierarchy = setup()
    seconds = time.perf_counter() - start
    solve(hierarchy)
    notes = {"steps": len(norms) - 1, "complexity": f"{hierarchy.operator_complexity():.2f}"}

    def whole() -> Any:
        return solve(setup())

    parts = {"solve alone": lambda: solve(hierarchy)}
    return Trial(whole, _residual(a, b), TOLERANCE, _WHAT, seconds, None, notes, parts)


def plain(kind: str, side: int, c: float) -> Trial:
    """`scipy.sparse.linalg.cg` without a preconditioner."""
    a = shifted_laplacian(kind, side, c)
    b = right_hand_side(a.shape[0])
    notes: dict[str, Any] = {}

    def run() -> np.ndarray:
        count = [0]

        def step(_: Any) -> None:
            count[0] += 1

        x = scipy.sparse.linalg.cg(a, b, rtol=0.99 * RTOL, atol=0.0, maxiter=20_000, callback=step)[0]
        notes["steps"] = count[0]
        return x

    return Trial(run, _residual(a, b), TOLERANCE, _WHAT, notes=notes)


BENCHMARK = Benchmark(
    "amg",
    "CG with algebraic multigrid on I + c L, rtol 1e-8; ratios compare with the first peer",
    cases,
    {_OURS: sparsesolve, _PYAMG: pyamg, _PLAIN: plain, _DIRECT: sparsesolve_direct},
    measured="whole",
    budget=1.5,
)
