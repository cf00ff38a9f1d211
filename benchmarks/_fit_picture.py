"""How the sums of squares of published problems fall, step by step."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

import sparsesolve as ss
from sparsesolve import report

_SOLVERS = {
    "Levenberg-Marquardt": ss.LevenbergMarquardt(),
    "dogleg": ss.Dogleg(),
    "Gauss-Newton, line search": ss.GaussNewton(),
}


def draw(problems: dict[str, tuple[Any, float]], path: pathlib.Path) -> pathlib.Path:
    """A picture with one diagram a problem: relative excess over the least sum of squares by steps."""
    figure, axes = report.new_figure(1, max(len(problems), 1), size=(4.6, 3.8))
    for ax, (name, (p, least)) in zip(axes[0], problems.items(), strict=False):
        for colour, (label, solver) in zip(report.PALETTE, _SOLVERS.items(), strict=False):
            sol = ss.least_squares(
                p.residual, solver, p.y0, p.args, retract=p.retract, max_steps=50, throw=False, history=True
            )
            excess = np.maximum(2 * np.asarray(sol.stats["costs"]) / least - 1, 1e-9)
            ax.semilogy(excess, "o-", markersize=3, linewidth=1.2, color=colour, label=label)
        ax.set_title(f"{name}: excess over {least:.8g}", fontsize=9)
        ax.set_xlabel("steps", fontsize=8)
        ax.legend(fontsize=7, frameon=False)
    return report.save_figure(figure, path)
