"""Random patterns: every colouring is valid, bounds hold, and the pieces do what they promise."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis.extra import numpy as hnp

from sparsesolve.coloring import Coloring, best_coloring, check_coloring, color
from sparsesolve.coloring._greedy import greedy_coloring
from sparsesolve.coloring._orders import ORDERS
from sparsesolve.coloring._partial import fewer_colors
from sparsesolve.coloring._problem import ColumnProblem
from sparsesolve.coloring._recolor import iterated_recoloring
from sparsesolve.coloring._sublattice import coset, count_sublattices, sublattices
from sparsesolve.pattern import SparsityPattern
from tests.coloring.patterns import arrow, mesh

few = hypothesis.settings(deadline=None, max_examples=60, derandomize=True)
masks = st.tuples(st.integers(0, 9), st.integers(0, 9)).flatmap(lambda shape: hnp.arrays(bool, shape))


@few
@hypothesis.given(masks)
def test_all_partitions_are_valid(mask):
    pattern = SparsityPattern.from_dense(mask)
    for partition in ("column", "row", "bidirectional"):
        coloring = color(pattern, partition)
        check_coloring(pattern, coloring)
        assert coloring.lower_bound <= coloring.num_colors
    check_coloring(pattern, best_coloring(pattern))


@few
@hypothesis.given(st.integers(0, 9).flatmap(lambda n: hnp.arrays(bool, (n, n))), st.sampled_from([None, *ORDERS]))
def test_symmetric_is_valid(mask, order):
    pattern = SparsityPattern.from_dense(mask | mask.T)
    coloring = color(pattern, "symmetric", order=order)
    check_coloring(pattern, coloring)
    assert coloring.lower_bound <= coloring.num_colors
    if order is None:
        assert coloring.num_colors <= color(pattern).num_colors


@pytest.mark.parametrize("order", ORDERS)
def test_orders_are_permutations_and_greedy_is_valid(order):
    problem = ColumnProblem.of_columns(mesh(8, shuffle=True))
    columns = ORDERS[order](problem)
    assert np.array_equal(np.sort(columns), np.arange(64))
    assert problem.is_valid(greedy_coloring(problem, columns))


def test_smallest_last_keeps_the_degeneracy_bound():
    problem = ColumnProblem.of_columns(arrow(30, columns=1))
    assert greedy_coloring(problem, ORDERS["smallest last"](problem)).max() + 1 == 2


def test_given_permutation_is_followed():
    pattern = arrow(6, columns=1)
    coloring = color(pattern, order=np.arange(6)[::-1])
    assert coloring.colors.tolist() == [1, 0, 0, 0, 0, 0]
    assert coloring.method == "given order"


@pytest.mark.parametrize("improve", [iterated_recoloring, fewer_colors])
@pytest.mark.parametrize("words", [1, 2])
def test_improvements_never_need_more(improve, words):
    rng = np.random.default_rng(3)
    n = 80 * words
    pattern = SparsityPattern.from_coo(rng.integers(0, 60, 60 * 30), rng.integers(0, n, 60 * 30), (60, n))
    problem = ColumnProblem.of_columns(pattern)
    first = greedy_coloring(problem, np.arange(n))
    better = improve(problem, first, problem.lower_bound)
    assert problem.is_valid(better)
    assert better.max() <= first.max()


def test_tabu_search_beats_greedy_on_a_mesh():
    problem = ColumnProblem.of_columns(mesh(16, shuffle=True))
    natural = greedy_coloring(problem, np.arange(problem.num_columns))
    assert fewer_colors(problem, natural, problem.lower_bound).max() < natural.max()


@pytest.mark.parametrize(("dimension", "index", "count"), [(1, 5, 1), (2, 4, 7), (2, 6, 12), (3, 4, 35), (3, 27, 1210)])
def test_number_of_sublattices(dimension, index, count):
    assert len(sublattices(dimension, index)) == count_sublattices(dimension, index) == count


def test_cosets_number_the_quotient():
    axis = np.arange(-6, 6)
    for form in sublattices(2, 6):
        numbers = coset(form, [axis[:, None], axis[None, :]])
        assert sorted(set(numbers.ravel().tolist())) == list(range(6))
        # Two points share a number exactly when their difference is a combination of the rows of the form.
        steps = np.linalg.solve(form.T.astype(float), np.array([[2.0], [-3.0]])).ravel()
        inside = np.allclose(steps, np.round(steps))
        assert (coset(form, [np.array(2), np.array(-3)]) == 0) == inside


def test_witness_for_columns():
    pattern = SparsityPattern.from_dense(np.array([[1, 0, 0], [0, 1, 1]], bool))
    bad = Coloring("column", np.array([0, 1, 1], np.int32), None)
    with pytest.raises(ValueError, match="in colour 1, columns 1 and 2 both have a nonzero in row 1; 1 more"):
        check_coloring(pattern, bad)


def test_witness_for_rows_and_missing_colors():
    pattern = SparsityPattern.from_dense(np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="in colour 0, rows 0 and 1 both have a nonzero in column 0"):
        check_coloring(pattern, Coloring("row", None, np.zeros(2, np.int32)))
    with pytest.raises(ValueError, match="column 1 has no colour"):
        check_coloring(pattern, Coloring("column", np.array([0, -1], np.int32), None))
    with pytest.raises(ValueError, match="belongs to another pattern"):
        check_coloring(pattern, Coloring("column", np.zeros(3, np.int32), None))
    with pytest.raises(ValueError, match="it has none"):
        check_coloring(pattern, Coloring("column", None, None))


def test_witness_for_a_two_colored_path():
    path = SparsityPattern.from_dense(np.eye(4, dtype=bool) | np.eye(4, k=1, dtype=bool) | np.eye(4, k=-1, dtype=bool))
    with pytest.raises(ValueError, match=r"Entry \(1, 2\) cannot be read: in colour 0, columns 0 and 2"):
        check_coloring(path, Coloring("symmetric", np.array([0, 1, 0, 1], np.int32), None))


def test_bad_input():
    square = arrow(4, rows=1)
    with pytest.raises(ValueError, match=r"entry \(0, 1\) is stored and \(1, 0\) is not; write pattern.union"):
        color(square, "symmetric")
    with pytest.raises(ValueError, match="square pattern"):
        color(SparsityPattern.from_dense(np.ones((2, 3), bool)), "symmetric")
    with pytest.raises(ValueError, match="no partition 'columns'; choose one of column, row"):
        color(square, "columns")
    with pytest.raises(ValueError, match="no order 'best'; choose one of natural"):
        color(square, order="best")
    with pytest.raises(ValueError, match=r"permutation of 0..3"):
        color(square, order=[0, 1, 1, 2])
    with pytest.raises(ValueError, match="leave out `order`"):
        color(square, "bidirectional", order="natural")


def test_empty_patterns():
    for shape in [(0, 0), (3, 0), (0, 3), (3, 3)]:
        pattern = SparsityPattern.from_dense(np.zeros(shape, bool))
        for partition in ("column", "row", "bidirectional"):
            coloring = color(pattern, partition)
            check_coloring(pattern, coloring)
            assert coloring.num_colors == 0
        assert best_coloring(pattern).num_colors == 0
