"""Pictures of fields on grids and on triangular meshes."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsesolve.report._figure import INK, axes_or_new, category_colors, matplotlib_or_raise


def plot_field(
    values: Any,
    points: tuple[Any, ...] | None = None,
    *,
    title: str | None = None,
    cmap: str = "viridis",
    categories: bool = False,
    contours: int = 0,
    ax: Any = None,
) -> Any:
    """Draws a field: an array on a grid indexed `[x, y]`, or nodal values on a mesh.

    Args:
        values: shape `(nx, ny)` on a grid, `(nodes,)` on a mesh.
        points: the coordinates along both axes of a grid (default: indices), or `(nodes, triangles)` of a mesh with
            shapes `(nodes, 2)` and `(triangles, 3)`.
        title: of the axes.
        cmap: name of a matplotlib colour map.
        categories: draws whole numbers (colours of a colouring) with one distinct colour each, without a scale.
        contours: number of contour lines over the picture.
        ax: matplotlib axes to draw into; by default those of a new figure.

    Returns:
        The matplotlib axes.

    Example:
        >>> import numpy as np
        >>> from sparsesolve import report
        >>> x = np.linspace(0, 1, 20)
        >>> ax = report.plot_field(np.sin(x[:, None] * x[None, :]), (x, x), title="a field")
    """
    matplotlib_or_raise()
    ax = axes_or_new(ax)
    values = np.asarray(values)
    if values.ndim == 1 and points is not None:
        image = _draw_mesh(ax, values, points, cmap, contours)
    elif values.ndim == 2:
        image = _draw_grid(ax, values, points, cmap, contours, categories)
    else:
        raise ValueError(
            f"plot_field got values of shape {values.shape}; it draws (nx, ny) on a grid, or (nodes,) with "
            "points=(nodes, triangles). Pick one field or one slice."
        )
    ax.set_aspect("equal")
    if title is not None:
        ax.set_title(title, color=INK, fontsize=10)
    if not categories:
        bar = ax.figure.colorbar(image, ax=ax, shrink=0.85, pad=0.02)
        bar.ax.tick_params(labelsize=8, colors=INK, width=0.6, length=3)
        bar.outline.set_linewidth(0.4)
    return ax


def _draw_grid(ax: Any, values: np.ndarray, points: Any, cmap: str, contours: int, categories: bool) -> Any:
    x, y = (np.arange(n) for n in values.shape) if points is None else (np.asarray(p) for p in points)
    half_x, half_y = (0.5 * (p[-1] - p[0]) / max(1, p.size - 1) if p.size > 1 else 0.5 for p in (x, y))
    extent = (x[0] - half_x, x[-1] + half_x, y[0] - half_y, y[-1] + half_y)
    if categories:
        from matplotlib.colors import ListedColormap

        count = int(values.max()) + 1
        colors = ListedColormap(category_colors(count))
        return ax.imshow(values.T, origin="lower", extent=extent, cmap=colors, vmin=-0.5, vmax=count - 0.5)
    smooth = "bilinear" if min(values.shape) >= 32 else "nearest"
    image = ax.imshow(values.T, origin="lower", extent=extent, cmap=cmap, interpolation=smooth)
    if contours:
        ax.contour(x, y, values.T, contours, colors="white", linewidths=0.5, alpha=0.7)
    return image


def _draw_mesh(ax: Any, values: np.ndarray, points: Any, cmap: str, contours: int) -> Any:
    nodes, triangles = np.asarray(points[0]), np.asarray(points[1])
    image = ax.tripcolor(nodes[:, 0], nodes[:, 1], triangles, values, shading="gouraud", cmap=cmap)
    if len(triangles) <= 4000:
        ax.triplot(nodes[:, 0], nodes[:, 1], triangles, color="white", linewidth=0.25, alpha=0.6)
    if contours:
        ax.tricontour(nodes[:, 0], nodes[:, 1], triangles, values, contours, colors="white", linewidths=0.5, alpha=0.7)
    return image
