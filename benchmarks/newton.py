"""Whole Newton solves, and gradients through them: the second call, when everything is compiled."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optimistix as optx

import sparsesolve as ss
from benchmarks._base import Benchmark, Case, Trial
from benchmarks._newton_peers import TOLERANCE, Residual, gradient_error, newton_krylov, splu, splu_gradient
from benchmarks._problems import build

_OURS, _SPLU, _KRYLOV = "sparsesolve", "newton + splu", "scipy newton_krylov"
_SPARSE, _DENSE = "optimistix + AutoSparse", "optimistix, dense"


def cases(quick: bool) -> list[Case]:
    """Bratu large and small, the small one with its gradient, a mesh and a flow; quick keeps the small ones smaller."""
    small = {"problem": "bratu_2d", "n": 32 if quick else 64}
    everyone = (_OURS, _SPLU, _KRYLOV, _SPARSE, _DENSE)
    gradients = tuple(f"{name}, gradient" for name in (_OURS, _SPLU, _SPARSE, _DENSE))
    size = f"bratu_2d, {small['n']}^2"
    found = [Case(size, small, everyone), Case(f"{size}, value and gradient", small, gradients)]
    if not quick:
        for problem, n in (("bratu_2d", 256), ("fem_diffusion", 100), ("cavity", 63)):
            found.append(Case(f"{problem}, {n}^2", {"problem": problem, "n": n}, (_OURS, _SPLU, _KRYLOV)))
    return found


def sparsesolve(problem: str, n: int) -> Trial:
    """`sparsesolve.root_find` under `jit`."""

    def solve(p: Any, y0: Any, args: Any) -> Any:
        solution = ss.root_find(p.residual, ss.Newton(), y0, args, throw=False)
        return solution.value, (solution.stats["num_steps"], solution.stats["num_colors"])

    return _solution(problem, n, solve)


def sparse_optimistix(problem: str, n: int) -> Trial:
    """`optimistix.root_find`, made sparse with one argument."""
    return _solution(problem, n, lambda p, y0, args: (_optimistix(p, ss.AutoSparse(), y0, args), None))


def dense_optimistix(problem: str, n: int) -> Trial:
    """`optimistix.root_find` with its default linear solver."""
    return _solution(problem, n, lambda p, y0, args: (_optimistix(p, None, y0, args), None))


def sparsesolve_gradient(problem: str, n: int) -> Trial:
    """`jax.grad` through `sparsesolve.root_find`."""
    return _gradient(problem, n, lambda p, y0, args: ss.root_find(p.residual, ss.Newton(), y0, args, throw=False).value)


def sparse_optimistix_gradient(problem: str, n: int) -> Trial:
    """`jax.grad` through optimistix with sparse solves forwards and backwards."""
    return _gradient(problem, n, lambda p, y0, args: _optimistix(p, ss.AutoSparse(), y0, args))


def dense_optimistix_gradient(problem: str, n: int) -> Trial:
    """`jax.grad` through optimistix."""
    return _gradient(problem, n, lambda p, y0, args: _optimistix(p, None, y0, args))


def _optimistix(p: Any, linear_solver: Any, y0: Any, args: Any) -> Any:
    if linear_solver is None:
        solver, adjoint = optx.Newton(rtol=1e-8, atol=1e-8), optx.ImplicitAdjoint()
    else:
        solver = optx.Newton(rtol=1e-8, atol=1e-8, linear_solver=linear_solver)
        adjoint = optx.ImplicitAdjoint(linear_solver=linear_solver)
    return optx.root_find(p.residual, solver, y0, args, adjoint=adjoint, throw=False).value


def _solution(problem: str, n: int, solve: Callable[..., Any]) -> Trial:
    p = build(problem, n)
    compiled, setup, compilation = _staged(lambda y0, args: solve(p, y0, args), p.y0, p.args)
    notes: dict[str, Any] = {}

    def run() -> Any:
        return jax.block_until_ready(compiled(p.y0, p.args))

    def check(result: Any) -> float:
        value, counts = result
        if counts is not None:
            notes.update(steps=int(counts[0]), colours=int(counts[1]))
        return Residual(p).relative_norm(value)

    return Trial(run, check, TOLERANCE, "relative residual", setup, compilation, notes)


def _gradient(problem: str, n: int, solve: Callable[..., Any]) -> Trial:
    p = build(problem, n)

    def mean(lam: Any, y0: Any) -> Any:
        return jnp.mean(solve(p, y0, {**p.args, "lam": lam}))

    lam = jnp.asarray(p.args["lam"])
    compiled, setup, compilation = _staged(jax.value_and_grad(mean), lam, p.y0)

    def run() -> Any:
        return jax.block_until_ready(compiled(lam, p.y0))[1]

    return Trial(run, gradient_error(problem, n), 1e-6, "error of gradient", setup, compilation)


def _staged(function: Callable[..., Any], *args: Any) -> tuple[Callable[..., Any], float, float]:
    """The compiled function, seconds of tracing (where plans are made), and of compiling."""
    start = time.perf_counter()
    traced = jax.jit(function).trace(*args)
    middle = time.perf_counter()
    compiled = traced.lower().compile()
    return compiled, middle - start, time.perf_counter() - middle


BENCHMARK = Benchmark(
    "newton",
    "whole Newton solves, compiled, and gradients through them",
    cases,
    {
        _OURS: sparsesolve,
        _SPLU: splu,
        _KRYLOV: newton_krylov,
        _SPARSE: sparse_optimistix,
        _DENSE: dense_optimistix,
        f"{_OURS}, gradient": sparsesolve_gradient,
        f"{_SPLU}, gradient": splu_gradient,
        f"{_SPARSE}, gradient": sparse_optimistix_gradient,
        f"{_DENSE}, gradient": dense_optimistix_gradient,
    },
)
