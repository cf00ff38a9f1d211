"""Pictures of sparsity patterns at any size: exact for small ones, a density image for large ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsesolve.coloring import Coloring
from sparsesolve.pattern import SparsityPattern
from sparsesolve.report._figure import INK, axes_or_new, category_colors, matplotlib_or_raise


def spy(
    matrix: Any,
    *,
    coloring: Coloring | None = None,
    window: tuple[int, int] | None = None,
    resolution: int = 480,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Draws the entries of a sparsity pattern; cost O(nnz).

    Args:
        matrix: a `SparsityPattern`, anything with a `.pattern` (`SparseMatrix`, `SparseJacobian`), or a SciPy matrix.
        coloring: if given, every entry takes the colour of its column (of its row where rows are coloured).
        window: draws only rows and columns `start <= i < stop`.
        resolution: largest number of dots a side; larger patterns are drawn as the density of entries.
        title: of the axes; by default shape and number of entries.
        ax: matplotlib axes to draw into; by default those of a new figure.

    Returns:
        The matplotlib axes.

    Example:
        >>> import numpy as np
        >>> from sparsesolve import report
        >>> from sparsesolve.pattern import SparsityPattern
        >>> ax = report.spy(SparsityPattern.from_dense(np.eye(5)))
        >>> ax.get_title()
        '5 x 5, 5 entries'
    """
    matplotlib_or_raise()
    ax = axes_or_new(ax)
    pattern = _pattern_of(matrix)
    m, n = pattern.shape
    rows, cols, colors = pattern.rows, pattern.indices, _entry_colors(pattern, coloring)
    (top, bottom), (left, right) = ((0, m), (0, n)) if window is None else (window, window)
    bottom, right = min(bottom, m), min(right, n)
    inside = (rows >= top) & (rows < bottom) & (cols >= left) & (cols < right)
    rows, cols = rows[inside] - top, cols[inside] - left
    height, width = max(1, bottom - top), max(1, right - left)
    scale = max(1.0, max(height, width) / resolution)
    dots = (max(1, round(height / scale)), max(1, round(width / scale)))
    at = (rows.astype(np.int64) * dots[0] // height, cols.astype(np.int64) * dots[1] // width)
    image = _density(at, dots) if colors is None else _painted(at, dots, colors[inside], coloring)
    extent = (left - 0.5, left + width - 0.5, top + height - 0.5, top - 0.5)
    ax.imshow(image, extent=extent, interpolation="nearest", aspect="equal")
    ax.xaxis.set_major_locator(_whole_numbers())
    ax.yaxis.set_major_locator(_whole_numbers())
    ax.set_title(title if title is not None else f"{m:,} x {n:,}, {pattern.nnz:,} entries", color=INK, fontsize=10)
    return ax


def _pattern_of(matrix: Any) -> SparsityPattern:
    if isinstance(matrix, SparsityPattern):
        return matrix
    pattern = getattr(matrix, "pattern", None)
    return pattern if isinstance(pattern, SparsityPattern) else SparsityPattern.from_scipy(matrix)


def _entry_colors(pattern: SparsityPattern, coloring: Coloring | None) -> np.ndarray | None:
    """The colour that reads each entry: its column's, else its row's (numbered after the columns' colours)."""
    if coloring is None:
        return None
    by_column = -np.ones(pattern.nnz, np.int64)
    if coloring.column_colors is not None:
        by_column = coloring.column_colors[pattern.indices].astype(np.int64)
    if coloring.row_colors is None:
        return by_column
    by_row = coloring.row_colors[pattern.rows]
    return np.where(by_row >= 0, by_row + coloring.num_column_colors, by_column)


def _density(at: tuple[np.ndarray, np.ndarray], dots: tuple[int, int]) -> np.ndarray:
    """White to deep blue by the number of entries under a dot. Even a single entry stays clearly visible."""
    counts = np.zeros(dots)
    np.add.at(counts, at, 1.0)
    shade = np.where(counts > 0, 0.45 + 0.55 * np.sqrt(counts / max(1.0, counts.max())), 0.0)[..., None]
    return (1 - shade) * np.ones(3) + shade * np.array([0.07, 0.28, 0.42])


def _painted(
    at: tuple[np.ndarray, np.ndarray], dots: tuple[int, int], colors: np.ndarray, coloring: Coloring | None
) -> np.ndarray:
    from matplotlib.colors import to_rgb

    assert coloring is not None
    table = np.array([to_rgb(color) for color in category_colors(max(1, coloring.num_colors))])
    image = np.ones((*dots, 3))
    image[at] = np.where((colors >= 0)[:, None], table[np.maximum(colors, 0)], 0.8)
    return image


def _whole_numbers() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=4, integer=True)
