"""A steady nonlinear PDE in the plane: Newton's method from a plain residual."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

import sparsesolve as ss
from sparsesolve import gallery, report
from sparsesolve.demonstration._say import counted, figures, say, timed_stages, times
from sparsesolve.nonlinear import RESULTS


def steady(n: int) -> Callable[[pathlib.Path], list[pathlib.Path]]:
    """2-D Bratu on `n` by `n` points."""
    problem = gallery.bratu_2d(n)
    say(f"2-D Bratu on {n} x {n} points: {problem.description}")

    def solve(y0: Any, args: Any) -> Any:
        solution = ss.root_find(problem.residual, ss.Newton(), y0, args, throw=False)
        return solution.value, solution.result, solution.stats

    (value, result, stats), seconds = timed_stages(solve, problem.y0, problem.args)
    if message := RESULTS[result]:
        raise SystemExit(f"The solve failed: {message}")
    pattern = ss.detect_sparsity(problem.residual, problem.y0, problem.args)
    residual = float(jnp.linalg.norm(problem.residual(value, problem.args)))
    parts = [
        f"{problem.num_unknowns:,} unknowns",
        f"nnz {int(stats['nnz']):,}",
        counted(int(stats["num_colors"]), "colour") + f" ({ss.color(pattern).num_colors} without peeling)",
        counted(int(stats["num_steps"]), "step"),
        f"residual {residual:.1e}",
        f"max(u) {float(jnp.max(value)):.6f}, off by {problem.error(value):.1e}",
    ]
    say(figures(parts), times(seconds))
    return lambda out: _draw(n, np.asarray(value), pattern, out)


def _draw(n: int, value: np.ndarray, pattern: ss.SparsityPattern, out: pathlib.Path) -> list[pathlib.Path]:
    """A picture of the solution and one of the Jacobian's pattern."""
    figure, axes = report.new_figure()
    title = f"2-D Bratu, {n} x {n}"
    report.plot_field(value, gallery.bratu_2d(n).points, title=title, cmap="magma", contours=8, ax=axes[0, 0])
    solution = report.save_figure(figure, out / "bratu_solution.png")
    figure, axes = report.new_figure(1, 3)
    coloring, size = ss.color(pattern), pattern.shape[0]
    report.spy(pattern, ax=axes[0, 0])
    corner = min(size, n + max(24, n // 4))  # as far as the outer diagonals
    report.spy(pattern, window=(0, corner), title=f"the first {corner} rows", ax=axes[0, 1])
    close = min(size, 24)
    title = f"the first {close}: {counted(coloring.num_colors, 'colour')}"
    report.spy(pattern, coloring=coloring, window=(0, close), title=title, ax=axes[0, 2])
    return [solution, report.save_figure(figure, out / "bratu_jacobian.png")]
