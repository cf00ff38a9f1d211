"""Work-precision diagrams: what an answer costs against how right it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sparsesolve.report._figure import INK, PALETTE, axes_or_new, matplotlib_or_raise

_MARKERS = "os^Dv<>P"


def plot_work_precision(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    *,
    work: str = "seconds",
    title: str | None = None,
    names: Sequence[str] = (),
    legend: bool = True,
    ax: Any = None,
) -> Any:
    """Draws work against error on logarithmic axes, one line an entry; lower and further left is better.

    Args:
        curves: name to pairs `(error, work)`, one for each tolerance.
        work: what the second number is.
        title: of the axes.
        names: those of several diagrams side by side, so that a name has one colour in all; by default those of
            `curves`.
        legend: whether to draw one.
        ax: matplotlib axes to draw into; by default those of a new figure.

    Returns:
        The matplotlib axes.

    Example:
        >>> from sparsesolve import report
        >>> ax = report.plot_work_precision({"BDF": [(1e-3, 0.1), (1e-6, 0.4)]})
    """
    matplotlib_or_raise()
    ax = axes_or_new(ax)
    order = list(dict.fromkeys((*names, *curves)))
    for name, points in curves.items():
        pairs = sorted((error, cost) for error, cost in points if error > 0 and cost > 0)
        if not pairs:
            continue
        errors, costs = zip(*pairs, strict=True)
        i = order.index(name)
        marker = _MARKERS[i % len(_MARKERS)]
        ax.loglog(errors, costs, f"{marker}-", color=PALETTE[i % len(PALETTE)], linewidth=1.3, markersize=4, label=name)
    ax.set_xlabel("error at the end", fontsize=9, color=INK)
    ax.set_ylabel(work, fontsize=9, color=INK)
    ax.grid(True, which="major", color="#e6eaee", linewidth=0.6)
    ax.set_axisbelow(True)
    if legend:
        ax.legend(fontsize=8, frameon=False)
    if title is not None:
        ax.set_title(title, color=INK, fontsize=10)
    return ax
