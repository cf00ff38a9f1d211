"""Batches: many matrices of one pattern, each with its right-hand side, factorized and solved in one call.

This package goes through `jax.vmap`; klujax takes batches itself; KLU, SuperLU loop over the members; the dense solver
is `jnp.linalg.solve`. The error is the largest backward error of a few members.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from benchmarks._base import Benchmark, Case, Trial
from benchmarks._klu import Klu
from benchmarks._matrices import TOLERANCE, backward_error, matrix, right_hand_side

_WHAT = "backward error"
_PEERS = ("sparsesolve", "klujax refactor_and_solve", "klujax solve", "KLU in a loop", "SuperLU in a loop")


def cases(quick: bool) -> list[Case]:
    """A reaction mechanism, chains and stencils; a tenth of the members in the quick run."""
    members = 10 if quick else 1
    table = [
        ("chemistry 100", "chemistry", [99], 1000, (*_PEERS, "dense")),
        ("block-tridiagonal 50 x 8", "block_tridiagonal", [50, 8], 256, _PEERS),
        ("block-tridiagonal 1000 x 8", "block_tridiagonal", [1000, 8], 256, _PEERS[:4]),
        ("5-point stencil 16 x 16", "convection_diffusion", [16, 16], 1000, (*_PEERS, "dense")),
        ("7-point stencil 8 x 8 x 8", "convection_diffusion", [8, 8, 8], 256, _PEERS),
        ("Brusselator 16 x 16 x 2", "brusselator", [16], 256, _PEERS),
        ("circuit 300", "circuit", [300], 500, _PEERS),
    ]
    return [
        Case(f"{size // members} x {title}", {"name": name, "arguments": args, "batch": size // members}, peers)
        for title, name, args, size, peers in table
    ]


class _Batch:
    """One pattern, values `(batch, nnz)` that vary by a tenth, right-hand sides `(batch, n)`."""

    def __init__(self, name: str, arguments: list[Any], batch: int):
        self.matrix = matrix(name, *arguments)
        factors = np.random.default_rng(1).uniform(0.9, 1.1, (batch, self.matrix.nnz))
        self.values = self.matrix.data * factors
        self.rhs = np.tile(right_hand_side(self.matrix), (batch, 1))

    def member(self, i: int) -> scipy.sparse.csr_matrix:
        a = self.matrix
        return scipy.sparse.csr_matrix((self.values[i], a.indices, a.indptr), shape=a.shape)

    def check(self, x: Any) -> float:
        x = np.asarray(x).reshape(self.rhs.shape)
        chosen = np.linspace(0, len(x) - 1, 5).astype(int)
        worst = max(backward_error(self.member(i), x[i], self.rhs[i]) for i in chosen)
        return worst if np.isfinite(x).all() else np.inf


def sparsesolve(name: str, arguments: list[Any], batch: int) -> Trial:
    """`vmap` of `solve_once`, which factorizes, solves, refines and checks the true residual of a member in one call.

    "factor, then solve" keeps the factors and checks nothing; "factor, then checked solve" keeps and checks."""
    import jax
    import jax.numpy as jnp

    from sparsesolve.direct import plan_direct, solve_once, solve_refined
    from sparsesolve.pattern import SparsityPattern

    problem = _Batch(name, arguments, batch)
    values, rhs = jnp.asarray(problem.values), jnp.asarray(problem.rhs)
    start = time.perf_counter()
    plan = plan_direct(SparsityPattern.from_scipy(problem.matrix), sample=problem.matrix.data)
    setup = time.perf_counter() - start

    def once(v: Any, b: Any) -> Any:
        return solve_once(plan, v, b)[0]

    def plain(v: Any, b: Any) -> Any:
        return plan.solve(plan.factor(v), b)

    def checked(v: Any, b: Any) -> Any:
        return solve_refined(plan, plan.factor(v), v, b)[0]

    start = time.perf_counter()
    compiled = jax.jit(jax.vmap(once)).lower(values, rhs).compile()
    compilation = time.perf_counter() - start
    apart = jax.jit(jax.vmap(plain)).lower(values, rhs).compile()
    with_check = jax.jit(jax.vmap(checked)).lower(values, rhs).compile()
    factor = jax.jit(jax.vmap(plan.factor)).lower(values).compile()
    parts = {
        "factor only": lambda: jax.block_until_ready(factor(values)),
        "factor, then solve": lambda: jax.block_until_ready(apart(values, rhs)),
        "factor, then checked solve": lambda: jax.block_until_ready(with_check(values, rhs)),
    }

    def check(x: Any) -> float:
        return max(problem.check(y) for y in (x, apart(values, rhs), with_check(values, rhs)))

    def run() -> Any:
        return jax.block_until_ready(compiled(values, rhs))

    return Trial(run, check, TOLERANCE, _WHAT, setup, compilation, {"method": plan.kind}, parts)


def dense(name: str, arguments: list[Any], batch: int) -> Trial:
    """`jnp.linalg.solve` of a batch of dense matrices, at most a hundred members (others by proportion)."""
    import jax
    import jax.numpy as jnp

    problem = _Batch(name, arguments, batch)
    full = jnp.asarray(np.stack([problem.member(i).toarray() for i in range(batch)]))
    rhs = jnp.asarray(problem.rhs)
    compiled = jax.jit(jax.vmap(jnp.linalg.solve)).lower(full, rhs).compile()
    return Trial(lambda: jax.block_until_ready(compiled(full, rhs)), problem.check, TOLERANCE, _WHAT)


def klujax_solve(name: str, arguments: list[Any], batch: int) -> Trial:
    """The public call."""
    problem, peer, (rows, cols, values, rhs) = _klujax(name, arguments, batch)
    import jax

    return Trial(lambda: jax.block_until_ready(peer.solve(rows, cols, values, rhs)), problem.check, TOLERANCE, _WHAT)


def klujax_refactor(name: str, arguments: list[Any], batch: int) -> Trial:
    """Its fastest way: symbolic analysis and pivots kept, refactorization and solve in one kernel."""
    problem, peer, (rows, cols, values, rhs) = _klujax(name, arguments, batch)
    import jax

    symbolic = peer.analyze(rows, cols, problem.matrix.shape[0])
    numeric = peer.factor(rows, cols, values, symbolic)

    def run() -> Any:
        return jax.block_until_ready(peer.refactor_and_solve(rows, cols, values, rhs, numeric, symbolic)[0])

    return Trial(run, problem.check, TOLERANCE, _WHAT)


def _klujax(name: str, arguments: list[Any], batch: int) -> Any:
    problem = _Batch(name, arguments, batch)
    import jax.numpy as jnp
    import klujax as peer

    coo = problem.matrix.tocoo()
    rows, cols = (jnp.asarray(x.astype(np.int32)) for x in (coo.row, coo.col))
    return problem, peer, (rows, cols, jnp.asarray(problem.values), jnp.asarray(problem.rhs))


def klu(name: str, arguments: list[Any], batch: int) -> Trial:
    """`klu_refactor` and `klu_solve` for one member after the other."""
    problem = _Batch(name, arguments, batch)
    solver = Klu(problem.matrix)
    order = scipy.sparse.csr_matrix(
        (np.arange(problem.matrix.nnz), problem.matrix.indices, problem.matrix.indptr), shape=problem.matrix.shape
    ).tocsc()
    columns = np.ascontiguousarray(problem.values[:, order.data])

    def run() -> np.ndarray:
        return np.stack([_one(solver, columns[i], problem.rhs[i]) for i in range(batch)])

    return Trial(run, problem.check, TOLERANCE, _WHAT)


def _one(solver: Klu, values: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    solver.refactor(values)
    return solver.solve(rhs)


def superlu(name: str, arguments: list[Any], batch: int) -> Trial:
    """`splu` and its solve for one member after the other."""
    problem = _Batch(name, arguments, batch)
    members = [scipy.sparse.csc_matrix(problem.member(i)) for i in range(batch)]

    def run() -> np.ndarray:
        return np.stack([scipy.sparse.linalg.splu(a).solve(b) for a, b in zip(members, problem.rhs, strict=True)])

    return Trial(run, problem.check, TOLERANCE, _WHAT)


_FUNCTIONS: tuple[Callable[..., Trial], ...] = (sparsesolve, klujax_refactor, klujax_solve, klu, superlu)

BENCHMARK = Benchmark(
    "batched",
    "batches of matrices with one pattern, float64",
    cases,
    {**dict(zip(_PEERS, _FUNCTIONS, strict=True)), "dense": dense},
    measured="factor and solve",
    budget=3.0,
)
