"""The one place that imports matplotlib: figures without pyplot, so nothing global is touched and no window opens."""

from __future__ import annotations

import pathlib
from typing import Any

INK = "#22313f"
PALETTE = ("#1f6f8b", "#e07a3f", "#5a9e6f", "#b5446e", "#e3b23c", "#6c63ac", "#7fb7be", "#8c5a3c", "#9aa5b1", "#2d3047")
"""Colours for categories, dark enough on white and distinct in grey."""

HOW_TO_GET = 'pip install "sparsesolve[plot]"'


def matplotlib_or_raise() -> Any:
    """The matplotlib module, or one sentence that says how to get it."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(f"Pictures need matplotlib, which is not installed; write: {HOW_TO_GET}") from error
    return matplotlib


def new_figure(num_rows: int = 1, num_cols: int = 1, size: tuple[float, float] = (4.2, 3.8)) -> tuple[Any, Any]:
    """A figure and its array of axes, shape `(num_rows, num_cols)`.

    Args:
        num_rows: rows of axes.
        num_cols: columns of axes.
        size: width and height of each of the axes, in inches.

    Example:
        >>> from sparsesolve import report
        >>> figure, axes = report.new_figure(1, 2)
        >>> axes.shape
        (1, 2)
    """
    matplotlib_or_raise()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * num_cols, size[1] * num_rows), layout="constrained")
    axes = figure.subplots(num_rows, num_cols, squeeze=False)
    for ax in axes.flat:
        _quiet(ax)
    return figure, axes


def axes_or_new(ax: Any) -> Any:
    """`ax`, or the only axes of a new figure."""
    return ax if ax is not None else new_figure()[1][0, 0]


def save_figure(figure: Any, path: str | pathlib.Path) -> pathlib.Path:
    """Writes a figure (the format is the path's suffix), making its folder, and returns the path."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160, facecolor="white")
    return path


def category_colors(count: int) -> list[Any]:
    """One colour for each of `count` categories."""
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    colormap = matplotlib_or_raise().colormaps["turbo"]
    return [colormap((i + 0.5) / count) for i in range(count)]


def _quiet(ax: Any) -> None:
    """Thin grey frame, small labels: the data carries the ink."""
    ax.tick_params(which="both", labelsize=8, colors=INK, width=0.6, length=3)
    ax.title.set_fontsize(10)
    ax.title.set_color(INK)
    for spine in ax.spines.values():
        spine.set_linewidth(0.6)
        spine.set_color("#9aa5b1")
