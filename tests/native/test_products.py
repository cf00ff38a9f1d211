"""Product kernels with arguments that do not fit: an error, never a crash or a read outside (see test_kernels)."""

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from sparsesolve import _native
from sparsesolve.matrix import product_plan
from sparsesolve.matrix._stored import StencilLayout, stored_product
from sparsesolve.pattern import SparsityPattern
from tests.matrix.test_products import five_point, irregular

pytestmark = pytest.mark.skipif(not _native.available(), reason=_native.status())

REFUSED = (ValueError, RuntimeError)
EXTREMES = [-(2**31), -1, 0, 1, 3, 7, 29, 30, 31, 255, 1000, 2**30, 2**31 - 1]


def stencil_call(tables, values, v, offsets=(-6, -1, 0, 1, 6), transpose=False):
    out = jax.ShapeDtypeStruct((1, 30, 1), v.dtype)
    call = jax.ffi.ffi_call(_native.STENCIL, out)
    return call(*tables, values, v, offsets=np.array(offsets), transpose=np.bool_(transpose)).block_until_ready()


def csr_call(tables, values, v, transpose=False):
    call = jax.ffi.ffi_call(_native.CSR_ROWS, jax.ShapeDtypeStruct((1, 30, 1), v.dtype))
    return call(*tables, values, v, transpose=np.bool_(transpose)).block_until_ready()


def padded_call(tables, values, v, widths=(2, 20), limit=12):
    columns, places = tables[:-1], tables[-1]
    call = jax.ffi.ffi_call(_native.PADDED_ROWS, jax.ShapeDtypeStruct((1, 30, 1), v.dtype))
    options = {"widths": np.array(widths), "longest_by_columns": np.int64(limit)}
    return call(v, places, *columns, *values, **options).block_until_ready()


@pytest.fixture(scope="module")
def calls():
    """For each kernel: the call, its tables, its values and a vector."""
    v = np.ones((1, 30, 1))
    grid = five_point(5, 6)
    plan = product_plan(SparsityPattern.from_scipy(grid))
    stencil = (stencil_call, list(plan.tables), grid.data[None], v)
    rows = irregular([2] * 25 + [20] * 5, 30)
    stored = stored_product(SparsityPattern.from_scipy(rows), product_plan(SparsityPattern.from_scipy(rows)))
    assert not isinstance(stored.layout, StencilLayout)
    csr = (csr_call, list(stored.tables), rows.data[None], v)
    columns = [rows.indices[:50].reshape(25, 2).T.copy(), rows.indices[50:].reshape(5, 20).copy()]
    data = [*rows.data[:50].reshape(25, 2).T[:, None, :], rows.data[50:].reshape(1, 5, 20)]
    padded = (padded_call, [*columns, np.arange(30, dtype=np.int32)], data, v)
    for (call, tables, values, v), matrix in ((stencil, grid), (csr, rows), (padded, rows)):
        np.testing.assert_allclose(call(tables, values, v)[0, :, 0], matrix @ np.ones(30))
    return [stencil, csr, padded]


@hypothesis.settings(deadline=None, max_examples=150, derandomize=True)
@hypothesis.given(
    kernel=st.integers(0, 2),
    table=st.integers(0, 2),
    place=st.integers(0, 10**6),
    value=st.sampled_from(EXTREMES),
    transpose=st.booleans(),
)
def test_any_number_in_any_table(calls, kernel, table, place, value, transpose):
    call, tables, values, v = calls[kernel]
    changed = tables[table].copy()
    changed.flat[place % changed.size] = np.array(value).astype(changed.dtype)
    tables = [*tables[:table], changed, *tables[table + 1 :]]
    try:
        call(tables, values, v, **({} if kernel == 2 else {"transpose": transpose}))
    except REFUSED as error:
        assert "sparsesolve: " in str(error)


def test_sizes_and_types_that_do_not_fit(calls):
    for call, tables, values, v in calls:
        wrong = [
            lambda c=call, t=tables, x=values: c(t, x, np.ones((1, 29, 1))),
            lambda c=call, t=tables, x=values: c(t, x, np.ones((2, 30, 1))),
            lambda c=call, t=tables, x=values: c(t, x, np.ones((1, 30, 2))),
            lambda c=call, t=tables, x=values: c(t, x, np.ones((1, 30, 1), np.float32)),
            lambda c=call, t=tables, x=values: c(t, x, np.ones((1, 30, 1), np.int64)),
            lambda c=call, t=tables, x=values, v=v: c([t[0][:-1], *t[1:]], x, v),
            lambda c=call, t=tables, x=values, v=v: c([*t[:-1], t[-1][:-1]], x, v),
            lambda c=call, t=tables, x=values, v=v: c([t[0].astype(np.int64), *t[1:]], x, v),
            lambda c=call, t=tables, x=values, v=v: c(t, x[:-1] if isinstance(x, list) else x[:, :-1], v),
        ]
        for attempt in wrong:
            with pytest.raises(REFUSED, match="sparsesolve: "):
                attempt()


def test_offsets_that_do_not_fit(calls):
    call, tables, values, v = calls[0]
    for offsets in ((-6, -1, 0, 1), (-6, -1, 0, 1, 2**40), (-(2**63), -1, 0, 1, 6), (-6, -1, 0, 1, 29)):
        with pytest.raises(REFUSED, match="sparsesolve: "):
            call(tables, values, v, offsets=offsets)
    unused = [*tables[:2], np.insert(tables[2], 5, -1, axis=1)]  # a diagonal of no row, far outside
    expected = call(tables, values, v)
    np.testing.assert_array_equal(call(unused, values, v, offsets=(-6, -1, 0, 1, 6, 10**9)), expected)
    diagonals = jax.ffi.ffi_call(_native.DIAGONALS, jax.ShapeDtypeStruct((1, 30, 1), np.float64))
    with pytest.raises(REFUSED, match="one value for each row"):
        diagonals(v, np.ones((1, 29)), offsets=np.array([0]), transpose=np.bool_(False)).block_until_ready()
    out = diagonals(v, np.ones((1, 30)), offsets=np.array([10**6]), transpose=np.bool_(False))
    np.testing.assert_array_equal(out, np.zeros((1, 30, 1)))
