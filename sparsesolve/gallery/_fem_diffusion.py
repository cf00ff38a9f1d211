"""Nonlinear diffusion by linear finite elements on an unstructured triangulation: gathers, dense 3 x 3, scatter-adds.

    -div((1 + beta u^2) grad u) = f   on the unit square,   u = g on the boundary,

with the manufactured solution `u = sin(pi x) sin(pi y) + x`. Nodes are a jittered grid, triangles SciPy's Delaunay
triangulation. The coefficient is taken at the centroid, the load by the edge midpoint rule (exact for quadratics); the
L2 error is O(h^2). Rows of boundary nodes read `u - g`.

Reference: S. C. Brenner, L. R. Scott, The Mathematical Theory of Finite Element Methods (2008), sections 0.4 and 5.4,
doi:10.1007/978-0-387-75934-0; F. Brezzi, M. Fortin's midpoint rule as in P. G. Ciarlet (1978), section 4.1.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.spatial import Delaunay

from sparsesolve.gallery._problem import Problem, require_size


def fem_diffusion(n: int, beta: float = 1.0, seed: int = 0) -> Problem:
    """P1 finite elements for nonlinear diffusion on a Delaunay mesh of the unit square.

    Args:
        n: nodes a side, `n^2` nodes and unknowns.
        beta: strength of the nonlinearity, at least 0. The load in `args` belongs to this value.
        seed: of the jitter.

    Example:
        >>> from sparsesolve import gallery
        >>> problem = gallery.fem_diffusion(10)
        >>> nodes, triangles = problem.points
        >>> nodes.shape
        (100, 2)
    """
    require_size("fem_diffusion", n, 3)
    nodes, triangles, boundary = _mesh(n, seed)
    gradients, areas = _elements(nodes, triangles)
    exact = _exact(nodes)
    load = _load(nodes, triangles, areas, beta)

    def residual(u: Float[Array, " nodes"], args: Any) -> Float[Array, " nodes"]:
        corners = u[triangles]
        slopes = jnp.asarray(gradients, u.dtype)
        gradient = jnp.einsum("ei,eid->ed", corners, slopes)
        coefficient = 1.0 + args["beta"] * jnp.mean(corners, axis=1) ** 2
        flux = (jnp.asarray(areas, u.dtype) * coefficient)[:, None] * gradient
        elements = jnp.einsum("ed,eid->ei", flux, slopes)
        assembled = jnp.zeros_like(u).at[triangles].add(elements)
        return jnp.where(boundary, u - args["boundary"], assembled - args["load"])

    def error(u: Any) -> float:
        """L2 norm of the error by the edge midpoint rule."""
        middle = _midpoints(nodes, triangles)
        values = np.asarray(u)[triangles]
        difference = (values + np.roll(values, -1, axis=1)) / 2 - _exact(middle)
        return float(np.sqrt(np.sum(areas[:, None] * difference**2) / 3))

    return Problem(
        name="FEM diffusion",
        residual=residual,
        y0=jnp.where(boundary, exact, 0.0),
        args={"beta": float(beta), "load": jnp.asarray(load), "boundary": jnp.asarray(exact)},
        error=error,
        description=f"-div((1 + {beta:g} u^2) grad u) = f, P1 elements on {len(triangles)} triangles",
        reference="manufactured solution sin(pi x) sin(pi y) + x; L2 norm of the error, O(h^2)",
        points=(nodes, triangles),
        solution=exact,
    )


def _mesh(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes `(n^2, 2)`, triangles `(t, 3)` counted counter-clockwise, and which nodes are on the boundary."""
    x = np.linspace(0.0, 1.0, n)
    nodes = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
    boundary = np.any((nodes == 0.0) | (nodes == 1.0), axis=1)
    jitter = np.random.default_rng(seed).uniform(-0.3, 0.3, nodes.shape) / (n - 1)
    nodes = nodes + np.where(boundary[:, None], 0.0, jitter)
    triangles = Delaunay(nodes).simplices
    _, areas = _elements(nodes, triangles)
    # Qhull may close the hull with slivers along a side: they carry no area and no equation.
    return nodes, triangles[areas > 1e-10 / n**2].astype(np.int32), boundary


def _elements(nodes: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the three hat functions `(t, 3, 2)` and the area `(t,)` of every triangle."""
    a, b, c = (nodes[triangles[:, i]] for i in range(3))
    opposite = np.stack([c - b, a - c, b - a], axis=1)
    doubled = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    turned = np.stack([-opposite[..., 1], opposite[..., 0]], axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):  # slivers, dropped by the caller
        return turned / doubled[:, None, None], np.abs(doubled) / 2


def _exact(points: np.ndarray) -> np.ndarray:
    return np.sin(np.pi * points[..., 0]) * np.sin(np.pi * points[..., 1]) + points[..., 0]


def _right_hand_side(points: np.ndarray, beta: float) -> np.ndarray:
    """`f = -(1 + beta u^2) laplace(u) - 2 beta u |grad u|^2` of the exact solution."""
    (sx, sy), (cx, cy) = (tuple(g(np.pi * points[..., i]) for i in (0, 1)) for g in (np.sin, np.cos))
    u = sx * sy + points[..., 0]
    slope = (np.pi * cx * sy + 1) ** 2 + (np.pi * sx * cy) ** 2
    return (1 + beta * u**2) * 2 * np.pi**2 * sx * sy - 2 * beta * u * slope


def _midpoints(nodes: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Midpoints of the edges 0-1, 1-2, 2-0 of every triangle, `(t, 3, 2)`."""
    corners = nodes[triangles]
    return (corners + np.roll(corners, -1, axis=1)) / 2


def _load(nodes: np.ndarray, triangles: np.ndarray, areas: np.ndarray, beta: float) -> np.ndarray:
    """Integrals of `f` times each hat function; at a midpoint the two hats of its edge are 1/2."""
    weighted = _right_hand_side(_midpoints(nodes, triangles), beta) * areas[:, None] / 6
    load = np.zeros(len(nodes))
    np.add.at(load, triangles, weighted)
    np.add.at(load, np.roll(triangles, -1, axis=1), weighted)
    return load
