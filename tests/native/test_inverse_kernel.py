"""Arguments of the kernel of selected inverses that do not fit end in an error, as in `test_kernels`."""

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

from sparsesolve import _native
from sparsesolve.direct._native_cholesky import NativeCholeskyPlan
from sparsesolve.pattern import SparsityPattern
from tests.native.test_kernels import EXTREMES, REFUSED

pytestmark = pytest.mark.skipif(not _native.available(), reason=_native.status())


def prepared():
    line = sp.diags([-1.0, -1.0], [-1, 1], (7, 7))
    matrix = sp.csr_matrix(sp.kron(line, sp.eye(7)) + sp.kron(sp.eye(7), line) + 5.0 * sp.eye(49))
    matrix.sort_indices()
    plan = NativeCholeskyPlan(SparsityPattern.from_scipy(matrix), "positive", np.zeros(0, np.int64))
    return plan, plan.factor(jnp.asarray(matrix.data))


def refused(plan, factors, tables=None, size=None):
    tables = plan._host_tables if tables is None else tables
    pivots, border = plan._host_tables.fronts[:, 0].astype(int), plan._host_tables.fronts[:, 1]
    size = int((pivots * (pivots + border)).sum()) if size is None else size
    try:
        _native.invert_symmetric(tables, size, factors).block_until_ready()
    except REFUSED as error:
        assert "sparsesolve: " in str(error)
        return True
    return False


def test_as_they_are_and_buffers_of_other_lengths():
    plan, factors = prepared()
    assert not refused(plan, factors)
    assert refused(plan, factors, size=10)
    assert refused(plan, factors._replace(blocks=factors.blocks[:-1]))
    assert refused(plan, factors._replace(blocks=factors.blocks.astype(complex)))


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(st.sampled_from(["fronts", "parent_map"]), st.integers(0, 10**6), st.sampled_from(EXTREMES))
def test_any_number_in_any_table(name, place, value):
    plan, factors = prepared()
    table = getattr(plan._host_tables, name).copy()
    before = table.flat[place % table.size]
    table.flat[place % table.size] = np.int64(value).astype(np.int32)
    counted = name == "fronts" and place % 4 == 3  # entries are of no concern here
    if table.flat[place % table.size] == before:
        assert not refused(plan, factors)
    elif not counted and not 0 <= value <= 49:
        assert refused(plan, factors, plan._host_tables._replace(**{name: table}))
    else:
        refused(plan, factors, plan._host_tables._replace(**{name: table}))
