"""Patterns with known colour counts, used by the tests of this folder."""

import itertools

import numpy as np
from scipy.spatial import Delaunay

from sparsesolve.pattern import SparsityPattern


def cross(dimension: int) -> list[tuple[int, ...]]:
    """The offsets of the (2 d + 1)-point stencil."""
    unit = np.eye(dimension, dtype=int)
    return [(0,) * dimension, *map(tuple, unit), *map(tuple, -unit)]


def box(dimension: int) -> list[tuple[int, ...]]:
    """The offsets of the 3^d-point stencil."""
    return list(itertools.product((-1, 0, 1), repeat=dimension))


def stencil(shape: tuple[int, ...], offsets: list, *, periodic: bool = False, notes: bool = True) -> SparsityPattern:
    """A stencil on a grid; with `notes` the pattern knows the shape of the grid."""
    number = np.arange(np.prod(shape)).reshape(shape)
    rows, cols = [], []
    for offset in offsets:
        if periodic:
            rows.append(number.ravel())
            cols.append(np.roll(number, [-step for step in offset], range(len(shape))).ravel())
        else:
            here = tuple(slice(max(0, -s), size - max(0, s)) for s, size in zip(offset, shape, strict=True))
            there = tuple(slice(max(0, s), size - max(0, -s)) for s, size in zip(offset, shape, strict=True))
            rows.append(number[here].ravel())
            cols.append(number[there].ravel())
    shapes = (shape,) if notes else None
    size = number.size
    return SparsityPattern.from_coo(
        np.concatenate(rows), np.concatenate(cols), (size, size), column_shapes=shapes, row_shapes=shapes
    )


def brusselator(n: int, layout: str) -> SparsityPattern:
    """Two species on a periodic n x n grid, 5-point diffusion, coupled point by point."""
    one = stencil((n, n), cross(2), periodic=True)
    points = n * n
    here = np.arange(points)
    rows = np.concatenate([one.rows, one.rows + points, here, here + points])
    cols = np.concatenate([one.indices, one.indices + points, here + points, here])
    if layout == "interleaved":  # [..., species] last
        rows, cols = ((index % points) * 2 + index // points for index in (rows, cols))
    shapes = {
        "two leaves": ((n, n), (n, n)),
        "stacked": ((2, n, n),),
        "interleaved": ((n, n, 2),),
        "flat": ((2 * points,),),
        "unknown": None,
    }[layout]
    return SparsityPattern.from_coo(rows, cols, (2 * points, 2 * points), column_shapes=shapes)


def mesh(n: int, *, shuffle: bool = False) -> SparsityPattern:
    """P1 elements on the Delaunay triangulation of a jittered n x n grid of nodes."""
    rng = np.random.default_rng(0)
    nodes = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), axis=-1).astype(float)
    nodes[1:-1, 1:-1] += rng.uniform(-0.3, 0.3, (n - 2, n - 2, 2))
    triangles = Delaunay(nodes.reshape(-1, 2)).simplices
    if shuffle:
        triangles = rng.permutation(n * n)[triangles]
    pairs = np.stack(np.broadcast_arrays(triangles[:, :, None], triangles[:, None, :]))
    return SparsityPattern.from_coo(*pairs.reshape(2, -1), (n * n, n * n))


def banded(n: int, half_width: int) -> SparsityPattern:
    return stencil((n,), [(k,) for k in range(-half_width, half_width + 1)], notes=False)


def arrow(n: int, *, rows: int = 0, columns: int = 0) -> SparsityPattern:
    """A diagonal with some dense rows and columns at the start."""
    dense = np.eye(n, dtype=bool)
    dense[:rows] = True
    dense[:, :columns] = True
    return SparsityPattern.from_dense(dense)
