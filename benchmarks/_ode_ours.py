"""`solve_ode` as a peer among stiff integrators: its answer, its counts, compilation apart."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import sparsesolve as ss
from benchmarks._base import Trial
from benchmarks._ode_peers import build


def ours(solver: Callable[[], Any] | None) -> Callable[..., Trial]:
    """`solve_ode` with a solver, or its own choice."""

    def prepare(problem: str, size: int | None, rtol: float) -> Trial:
        p = build(problem, size)
        atol = jax.tree.map(lambda y: np.broadcast_to(p.scale, y.shape) * rtol, p.y0)
        chosen = None if solver is None else solver()

        def run() -> Any:
            sol = ss.solve_ode(
                p.rhs, p.t0, p.t1, p.y0, p.args,
                solver=chosen, rtol=rtol, atol=atol, mass=p.mass, jump_ts=p.jump_ts, throw=False,
            )  # fmt: skip
            return jax.block_until_ready(jax.tree.map(lambda leaf: leaf[-1], sol.ys)), sol.stats

        start = time.perf_counter()
        run()
        first = time.perf_counter() - start
        start = time.perf_counter()
        run()
        notes: dict[str, Any] = {}

        def check(result: Any) -> float:
            y, stats = result
            for name in ("steps", "rejected_steps", "jacobians", "factorizations"):
                notes[name.split("_")[0]] = int(stats[f"num_{name}"])
            assert p.error is not None
            return p.error(y)

        return Trial(
            run, check, 1e3 * rtol, "error at the end", None, max(0.0, first - (time.perf_counter() - start)), notes
        )

    return prepare
