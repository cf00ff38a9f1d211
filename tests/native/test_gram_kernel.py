"""Arguments of the kernel of Gram matrices that do not fit end in an error, as in `test_kernels`, which says more."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from sparsesolve import _native
from tests.native.test_kernels import EXTREMES, REFUSED

pytestmark = pytest.mark.skipif(not _native.available(), reason=_native.status())


def arguments():
    """Row starts and columns of a 6 x 4 matrix and of its Gram matrix, weights and values."""
    dense = np.zeros((6, 4))
    for row in range(6):
        dense[row, [row % 4, (row + 1) % 4]] = row + 1.0, -2.0
    square = dense.T @ np.diag(np.arange(6.0)) @ dense
    square[np.abs(dense).T @ np.abs(dense) == 0] = np.nan
    tables = []
    for stored in (dense != 0, ~np.isnan(square)):
        starts = np.concatenate([[0], np.cumsum(stored.sum(1))])
        tables += [np.array(starts, np.int32), np.array(np.nonzero(stored)[1], np.int32)]
    return tables, np.arange(6.0), dense[dense != 0], square[~np.isnan(square)]


TABLES, WEIGHTS, VALUES, EXPECTED = arguments()


def refused(tables, weights=WEIGHTS, values=VALUES):
    try:
        _native.gram(tuple(tables), weights, values, EXPECTED.size).block_until_ready()
    except REFUSED as error:
        assert "sparsesolve: " in str(error)
        return True
    return False


def test_as_they_are():
    np.testing.assert_allclose(_native.gram(tuple(TABLES), WEIGHTS, VALUES, EXPECTED.size), EXPECTED, rtol=1e-14)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(st.integers(0, 3), st.integers(0, 10**6), st.sampled_from(EXTREMES))
def test_any_number_in_any_table(number, place, value):
    tables = [table.copy() for table in TABLES]
    table = tables[number]
    before = table[place % table.size]
    table[place % table.size] = np.int64(value).astype(np.int32)
    if table[place % table.size] == before:
        assert not refused(tables)
    elif not 0 <= value <= max(VALUES.size, EXPECTED.size):
        assert refused(tables)
    else:
        refused(tables)


def test_values_of_other_lengths():
    assert refused(TABLES, weights=WEIGHTS[:-1]) and refused(TABLES, values=VALUES[:-1])
    unsymmetric = [*TABLES[:3], TABLES[3][::-1].copy()]
    assert refused(unsymmetric)
