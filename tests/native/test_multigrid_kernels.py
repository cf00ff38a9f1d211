"""Arguments of the multigrid kernels that do not fit end in an error, as in `test_kernels`, which says more."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from sparsesolve import _native
from tests.direct import problems
from tests.native.test_kernels import EXTREMES, REFUSED

pytestmark = pytest.mark.skipif(not _native.available(), reason=_native.status())

FINE, COARSE = 30, 10


def product(tables, values, transpose=False):
    return _native.csr_product(*tables[:2], values["a"], values["x"], FINE, transpose=transpose)


def sweep(tables, values):
    vectors = (values["x"], (np.array(0.3), np.array(2.0)), values["x"], values["x"])
    return _native.chebyshev_sweep(*tables[:2], values["a"], *vectors, degree=3, residual=True)[1]


def galerkin(tables, values):
    return _native.galerkin_product(tuple(tables), values["a"], values["p"], values["p"], tables[5].size)


CALLS = (product, lambda tables, values: product(tables, values, transpose=True), sweep, galerkin)


@pytest.fixture(scope="module")
def arguments():
    """Row starts and columns of A, of P and of P^T A P, and values; P adds up three nodes of a 5 x 6 grid."""
    pattern, values = problems.split(problems.stencil(5, 6))
    group = np.arange(FINE) // 3
    product = np.zeros((COARSE, COARSE))
    np.add.at(product, (group[pattern.rows], group[pattern.indices]), values)
    stored = product != 0
    starts = np.concatenate([[0], np.cumsum(stored.sum(1))])
    tables = [pattern.indptr, pattern.indices, np.arange(FINE + 1), group, starts, np.nonzero(stored)[1]]
    tables = [np.array(table, np.int32) for table in tables]
    np.testing.assert_allclose(
        galerkin(tables, {"a": values, "p": np.ones(FINE)}), product[stored], atol=1e-12, err_msg="as they are"
    )
    return tables, {"a": values, "p": np.ones(FINE), "x": np.ones(FINE)}


def refused(tables, values):
    """How many of the calls end in an error, the others in a result."""
    count = 0
    for call in CALLS:
        try:
            call(tables, values).block_until_ready()
        except REFUSED as error:
            assert "sparsesolve: " in str(error)
            count += 1
    return count


def replaced(tables, number, table):
    return [*tables[:number], table, *tables[number + 1 :]]


@hypothesis.settings(deadline=None, max_examples=80, derandomize=True)
@hypothesis.given(number=st.integers(0, 5), place=st.integers(0, 10**6), value=st.sampled_from(EXTREMES))
def test_any_number_in_any_table(arguments, number, place, value):
    tables, values = arguments
    changed = tables[number].copy()
    changed[place % changed.size] = value
    refused(replaced(tables, number, changed), values)


@hypothesis.settings(deadline=None, max_examples=40, derandomize=True)
@hypothesis.given(number=st.integers(0, 5), seed=st.integers(0, 10**6), bound=st.sampled_from([2, 10, 30, 2**31]))
def test_tables_of_noise(arguments, number, seed, bound):
    tables, values = arguments
    noise = np.random.default_rng(seed).integers(0, bound, tables[number].size).astype(np.int32)
    refused(replaced(tables, number, noise), values)


def test_tables_and_values_of_other_lengths(arguments):
    tables, values = arguments
    assert refused(tables, values) == 0
    for number in range(6):
        users = len(CALLS) if number < 2 else 1
        for changed in (tables[number][:-1], np.append(tables[number], tables[number][-1:] + 1), tables[number][:0]):
            if number != 5:  # the length of the last one is that of the result
                assert refused(replaced(tables, number, changed), values) == users
    for name, users in (("a", 4), ("p", 1), ("x", 3)):
        for changed in (values[name][:-1], np.append(values[name], 1.0), values[name].astype(np.float32)):
            assert refused(tables, values | {name: changed}) >= users - (name == "x")


def test_aggregation_of_graphs_that_are_none():
    for starts in ([0, 2**31 - 1, 2], [0, 5, 2], [0, -1, 2], [0, 3, 1, 2]):
        with pytest.raises(ValueError, match="outside"):
            _native.aggregate_greedily(np.array(starts), np.array([1, 0]))
