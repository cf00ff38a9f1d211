"""A spectrum of many peaks: nonlinear least squares from a plain residual."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

import sparsesolve as ss
from sparsesolve import gallery, report
from sparsesolve.demonstration._say import counted, figures, say, timed_stages, times
from sparsesolve.least_squares import RESULTS


def fit(n: int) -> Callable[[pathlib.Path], list[pathlib.Path]]:
    """As many peaks as there are grid points a side, at least 5."""
    problem = gallery.spectral_peaks(max(n, 5), noise=0.02)
    say(f"Fit of {problem.name}: {problem.description}")

    def solve(y0: Any, args: Any) -> Any:
        solution = ss.least_squares(problem.residual, None, y0, args, throw=False)
        counts = {name: solution.stats[name] for name in ("num_steps", "cost")}
        return solution.value, solution.result, counts

    (value, result, stats), seconds = timed_stages(solve, problem.y0, problem.args)
    if message := RESULTS[result]:
        raise SystemExit(f"The fit failed: {message}")
    parts = [
        f"{problem.num_unknowns:,} parameters",
        counted(int(stats["num_steps"]), "step"),
        f"chi^2 {2 * float(stats['cost']):.4f}, expected {problem.cost:.4f}",
        f"parameters off by {problem.error(value):.1e} at most",
    ]
    say(figures(parts), times(seconds))
    return lambda out: _draw(problem, value, out)


def _draw(problem: gallery.FitProblem, value: Any, out: pathlib.Path) -> list[pathlib.Path]:
    """The first peaks of the spectrum and of the fit."""
    figure, axes = report.new_figure(size=(6.0, 3.4))
    x, y = (np.asarray(problem.args[name]) for name in ("x", "y"))
    curve = np.asarray(problem.residual(value, problem.args)) + y
    shown = x < 10
    axes[0, 0].plot(x[shown], y[shown], ".", markersize=3, color=report.PALETTE[9])
    axes[0, 0].plot(x[shown], curve[shown], linewidth=1.2, color=report.PALETTE[0])
    axes[0, 0].set_title(f"the first of {problem.name}", fontsize=10)
    return [report.save_figure(figure, out / "peaks_fit.png")]
