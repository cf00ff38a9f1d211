"""Structured patterns whose colour counts are known."""

import numpy as np
import pytest

from sparsesolve.coloring import best_coloring, check_coloring, color
from sparsesolve.pattern import SparsityPattern
from tests.coloring.patterns import arrow, banded, box, brusselator, cross, mesh, stencil


@pytest.mark.parametrize("notes", [True, False])
@pytest.mark.parametrize(
    ("shape", "offsets", "count"),
    [
        ((31, 40), cross(2), 5),
        ((30, 41), box(2), 9),
        ((9, 10, 12), cross(3), 7),
        ((8, 10, 11), box(3), 27),
        ((50,), cross(1), 3),
    ],
)
def test_stencils_reach_the_bound(shape, offsets, count, notes):
    pattern = stencil(shape, offsets, notes=notes)
    coloring = color(pattern)
    assert coloring.num_colors == coloring.lower_bound == count
    check_coloring(pattern, coloring)


@pytest.mark.parametrize(
    ("shape", "offsets", "count"), [((10, 15), cross(2), 5), ((12, 15), box(2), 9), ((12, 30), box(2), 9)]
)
def test_periodic_stencils_reach_the_bound(shape, offsets, count):
    # 12 x 15 has no cyclic lattice for 9 colours: the coset group is Z_3 x Z_3.
    pattern = stencil(shape, offsets, periodic=True)
    assert color(pattern).num_colors == count


@pytest.mark.parametrize("layout", ["two leaves", "stacked", "interleaved", "flat", "unknown"])
@pytest.mark.parametrize("n", [12, 18])
def test_brusselator_needs_six_colors(n, layout):
    pattern = brusselator(n, layout)
    coloring = color(pattern)
    assert coloring.num_colors == 6
    check_coloring(pattern, coloring)


def test_staggered_grids():
    # u on (n + 1, n), v on (n, n + 1): each reads its own neighbours and the four of the other around it.
    n = 13
    u, v = np.arange((n + 1) * n).reshape(n + 1, n), np.arange(n * (n + 1)).reshape(n, n + 1) + (n + 1) * n
    pairs = [(u, u), (v, v), (u[1:-1], v[:-1, :-1]), (u[1:-1], v[1:, 1:]), (u[:-1], v[:, :-1]), (v[:, 1:], u[1:])]
    rows = np.concatenate([a.ravel() for a, _ in pairs])
    cols = np.concatenate([b.ravel() for _, b in pairs])
    size = 2 * n * (n + 1)
    pattern = SparsityPattern.from_coo(rows, cols, (size, size), column_shapes=(u.shape, v.shape))
    coloring = color(pattern)
    assert coloring.num_colors == coloring.lower_bound
    check_coloring(pattern, coloring)


@pytest.mark.parametrize("n", [12, 25])
def test_p1_meshes_need_at_most_nine(n):
    pattern = mesh(n)
    coloring = color(pattern)
    assert coloring.num_colors <= 9
    check_coloring(pattern, coloring)


def test_large_mesh_is_a_lattice_but_for_a_few_columns():
    pattern = mesh(200)
    coloring = color(pattern)
    assert coloring.num_colors <= 10
    assert coloring.method == "lattice but for a few columns"
    check_coloring(pattern, coloring)


def test_shuffled_mesh():
    pattern = mesh(20, shuffle=True)
    coloring = color(pattern)
    assert coloring.num_colors <= coloring.lower_bound + 1
    check_coloring(pattern, coloring)


@pytest.mark.parametrize("half_width", [0, 1, 2, 5])
def test_banded(half_width):
    assert color(banded(40, half_width)).num_colors == 2 * half_width + 1


def test_global_parameter_beside_a_grid():
    # A dense column hides the lattice unless it is set aside.
    grid = stencil((20, 30), cross(2))
    n = 600
    rows = np.concatenate([grid.rows, np.arange(n)])
    cols = np.concatenate([grid.indices, np.full(n, n)])
    pattern = SparsityPattern.from_coo(rows, cols, (n, n + 1), column_shapes=((20, 30), ()))
    coloring = color(pattern)
    assert coloring.num_colors == 6
    check_coloring(pattern, coloring)


@pytest.mark.parametrize(
    ("rows", "columns", "products"), [(1, 0, 2), (0, 1, 2), (1, 1, 3), (3, 0, 4), (0, 3, 4), (3, 2, 6), (0, 0, 1)]
)
def test_arrows(rows, columns, products):
    pattern = arrow(40, rows=rows, columns=columns)
    for coloring in (color(pattern, "bidirectional"), best_coloring(pattern)):
        check_coloring(pattern, coloring)
        assert coloring.num_colors == products


def test_dense_rows_that_do_not_meet_share_a_vjp():
    n = 60
    rows = np.concatenate([np.arange(2, n), np.zeros(30), np.ones(30)])
    cols = np.concatenate([np.arange(2, n), np.arange(30), np.arange(30, 60)])
    pattern = SparsityPattern.from_coo(rows, cols, (n, n))
    coloring = color(pattern, "bidirectional")
    check_coloring(pattern, coloring)
    assert (coloring.num_column_colors, coloring.num_row_colors) == (1, 1)


def test_best_coloring_chooses_the_partition():
    assert best_coloring(banded(30, 1)).partition == "column"
    assert best_coloring(arrow(30, columns=1)).partition == "column"
    assert best_coloring(arrow(30, rows=1)).num_colors == 2
    wide = SparsityPattern.from_dense(np.ones((2, 30), bool))
    assert (best_coloring(wide).partition, best_coloring(wide).num_colors) == ("row", 2)


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        (stencil((12, 13), cross(2)), 5),  # star chromatic number of grids: Fertin, Raspaud, Reed 2004
        (stencil((10,), cross(1)), 3),
        (arrow(50, rows=1, columns=1), 2),
        (arrow(50, rows=2, columns=2), 3),
        (mesh(12), 9),
    ],
)
def test_symmetric(pattern, count):
    coloring = color(pattern, "symmetric")
    check_coloring(pattern, coloring)
    assert coloring.lower_bound <= coloring.num_colors <= count


def test_symmetric_needs_fewer_colors_than_columns_on_a_mesh():
    pattern = mesh(16, shuffle=True)
    assert color(pattern, "symmetric").num_colors < color(pattern).num_colors


def test_a_million_unknowns():
    assert color(stencil((1000, 1000), cross(2))).num_colors == 5
    assert color(brusselator(708, "two leaves")).num_colors == 6
