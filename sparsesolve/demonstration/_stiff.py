"""A stiff reaction-diffusion system in time: BDF on a sparse Jacobian, its factors kept over many steps."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import sparsesolve as ss
from sparsesolve import gallery, report
from sparsesolve.demonstration._say import figures, say, times


def stiff(n: int) -> Callable[[pathlib.Path], list[pathlib.Path]]:
    """The 2-D Brusselator on `n / 4` by `n / 4` points (at least 8), fed inside a disk from t = 1.1 on."""
    size = max(8, n // 4)
    problem = gallery.brusselator_ode(size, alpha=0.02)
    say(f"2-D Brusselator in time on {size} x {size} points: {problem.description}")

    def solve() -> Any:
        return jax.block_until_ready(
            ss.solve_ode(problem.rhs, 0.0, 4.0, problem.y0, problem.args, rtol=1e-5, atol=1e-7, jump_ts=problem.jump_ts)
        )

    marks = [time.perf_counter()]
    solve()
    marks.append(time.perf_counter())
    solution = solve()
    marks.append(time.perf_counter())
    first, second = np.diff(marks).tolist()
    shown = ("steps", "rejected_steps", "jacobians", "factorizations")
    parts = [f"{problem.num_unknowns:,} unknowns"]
    parts += [f"{int(solution.stats[f'num_{name}'])} {name.replace('_', ' ')}" for name in shown]
    say(figures(parts), times({"first call": first, "second call": second}))
    field = np.asarray(solution.ys["u"][0])
    return lambda out: _draw(field, problem.points, out)


def _draw(field: np.ndarray, points: tuple[np.ndarray, ...], out: pathlib.Path) -> list[pathlib.Path]:
    """A picture of the first species at the end."""
    figure, axes = report.new_figure()
    report.plot_field(field, points, title="Brusselator at t = 4, u", cmap="magma", ax=axes[0, 0])
    return [report.save_figure(figure, out / "brusselator_in_time.png")]
