"""One linear system two ways: a factorization, and a Krylov method with algebraic multigrid."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import lineax as lx

import sparsesolve as ss
from sparsesolve import gallery
from sparsesolve.demonstration._say import figures, say, timed_stages


def linear(n: int) -> Callable[[pathlib.Path], list[pathlib.Path]]:
    """2-D convection-diffusion on `n` by `n` points."""
    matrix = ss.SparseMatrix.from_scipy(gallery.convection_diffusion(n, n))
    say(f"2-D convection-diffusion on {n} x {n} points, one linear system")
    b = jnp.ones(n * n)
    for name, solver in (
        ("factorization", ss.AutoSparse().prepare(matrix.pattern, matrix.data)),
        ("GMRES + AMG", ss.GMRES(rtol=1e-10, preconditioner=ss.AMG().prepare(matrix.pattern, matrix.data))),
    ):
        _solve(name, solver, matrix, b)
    return lambda out: []


def _solve(name: str, solver: Any, matrix: ss.SparseMatrix, b: Any) -> None:
    def solve(data: Any, b: Any) -> Any:
        operator = ss.SparseLinearOperator(ss.SparseMatrix(data, matrix.pattern))
        solution = lx.linear_solve(operator, b, solver, throw=False)
        return solution.value, {key: jnp.asarray(solution.stats[key]) for key in solution.stats.keys() & _SHOWN.keys()}

    (x, stats), seconds = timed_stages(solve, matrix.data, b)
    residual = float(jnp.linalg.norm(b - matrix @ x) / jnp.linalg.norm(b))
    shown = [_SHOWN[key].format(int(stats[key])) for key in sorted(stats)]
    say(figures([name, *shown, f"relative residual {residual:.1e}", f"run {seconds['run']:.3f} s"]))


_SHOWN = {"nnz_factor": "{:,} entries in the factors", "num_steps": "{} iterations"}
