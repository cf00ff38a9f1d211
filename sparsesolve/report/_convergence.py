"""Residual norms of an iteration on a logarithmic scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsesolve.report._figure import INK, PALETTE, axes_or_new, matplotlib_or_raise


def plot_convergence(histories: dict[str, Any], *, title: str | None = None, ax: Any = None) -> Any:
    """Draws residual norms against steps, one line an entry.

    Args:
        histories: name to residual norms, shape `(steps + 1,)`; trailing NaN are left out.
        title: of the axes.
        ax: matplotlib axes to draw into; by default those of a new figure.

    Returns:
        The matplotlib axes.

    Example:
        >>> from sparsesolve import report
        >>> ax = report.plot_convergence({"Newton": [1.0, 1e-2, 1e-5, 1e-11]})
    """
    matplotlib_or_raise()
    ax = axes_or_new(ax)
    for i, (name, norms) in enumerate(histories.items()):
        values = np.asarray(norms, float)
        values = values[np.isfinite(values)]
        ax.semilogy(values, "o-", color=PALETTE[i % len(PALETTE)], linewidth=1.3, markersize=4, label=name)
    ax.set_xlabel("step", fontsize=9, color=INK)
    ax.set_ylabel("residual norm", fontsize=9, color=INK)
    ax.grid(True, which="major", color="#e6eaee", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.legend(fontsize=8, frameon=False)
    if title is not None:
        ax.set_title(title, color=INK, fontsize=10)
    return ax
