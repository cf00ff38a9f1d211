"""Evaluation of a prepared Jacobian, compiled, at a new point.

In a solve the constant entries are computed once (`SparseJacobian.invariants`) and every evaluation uses them; a plain
call computes them anew. Both are measured.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks._base import Benchmark, Case, Trial
from benchmarks._problems import build

_SIDES = {"bratu_2d": (64, 316), "brusselator": (45, 224), "reaction_diffusion": (26, 129)}


def cases(quick: bool) -> list[Case]:
    """Three problems with 1e5 unknowns, 4e3 in the quick run."""
    return [
        Case(f"{problem}, {'4e3' if quick else '1e5'} unknowns", {"problem": problem, "n": sides[not quick]}, _PEERS)
        for problem, sides in _SIDES.items()
    ]


_PEERS = ("sparsesolve, in a solve", "sparsesolve, plain call", "asdex")


def _point(p: Any) -> Any:
    """A point where every derivative differs from zero."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: leaf + jnp.asarray(rng.uniform(0.1, 0.5, leaf.shape)), p.y0)


def _trial(p: Any, evaluate: Any, operands: tuple[Any, ...], colours: int, setup: float) -> Trial:
    """Compiles `evaluate(y, *operands)`, whose result has `@`, and checks its products against `jax.jvp`."""
    import jax
    from jax.flatten_util import ravel_pytree

    y = _point(p)
    flat, unravel = ravel_pytree(y)
    start = time.perf_counter()
    compiled = jax.jit(evaluate).lower(y, *operands).compile()
    seconds = time.perf_counter() - start

    def check(matrix: Any) -> float:
        v = np.random.default_rng(1).normal(size=flat.size)
        exact = ravel_pytree(jax.jvp(lambda u: p.residual(u, p.args), (y,), (unravel(v),))[1])[0]
        return float(np.abs(np.asarray(matrix @ v) - exact).max() / np.abs(exact).max())

    def run() -> Any:
        return jax.block_until_ready(compiled(y, *operands))

    return Trial(run, check, 1e-12, "relative error of J v", setup, seconds, {"colours": colours})


def in_a_solve(problem: str, n: int) -> Trial:
    """`SparseJacobian.evaluate` as Newton's loop calls it, with the constant entries at hand."""
    import jax

    p, jac, setup = _prepared(problem, n)
    invariants = jax.jit(jac.invariants)(p.y0, p.args)

    def evaluate(y: Any, args: Any, invariants: Any) -> Any:
        return jac.evaluate(y, args, invariants=invariants)[1]

    return _trial(p, evaluate, (p.args, invariants), jac.num_colors, setup)


def plain_call(problem: str, n: int) -> Trial:
    """`sparsesolve.jacobian` as a user calls it under `jit`."""
    p, jac, setup = _prepared(problem, n)
    return _trial(p, jac, (p.args,), jac.num_colors, setup)


def _prepared(problem: str, n: int) -> Any:
    import sparsesolve as ss

    p = build(problem, n)
    start = time.perf_counter()
    jac = ss.jacobian(p.residual, p.y0, p.args)
    return p, jac, time.perf_counter() - start


def asdex(problem: str, n: int) -> Trial:
    """`asdex.jacobian` of the raveled function, BCOO output."""
    import asdex as peer
    from jax.flatten_util import ravel_pytree

    p = build(problem, n)
    y0, unravel = ravel_pytree(p.y0)

    def flat(y: Any, args: Any) -> Any:
        return ravel_pytree(p.residual(unravel(y), args))[0]

    start = time.perf_counter()
    coloring = peer.jacobian_coloring(flat, y0, p.args)
    prepared = peer.jacobian_from_coloring(flat, coloring)
    setup = time.perf_counter() - start

    def evaluate(y: Any, args: Any) -> Any:
        return prepared(ravel_pytree(y)[0], args)

    return _trial(p, evaluate, (p.args,), int(coloring.num_colors), setup)


BENCHMARK = Benchmark(
    "jacobian",
    "values of the sparse Jacobian, compiled",
    cases,
    {"sparsesolve, in a solve": in_a_solve, "sparsesolve, plain call": plain_call, "asdex": asdex},
)
