"""Arguments of the simplicial kernels that do not fit end in an error, never in a crash or a read outside.

`test_kernels.py` says how to run this file under the sanitizers.
"""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve import _native
from sparsesolve._native._load import SIMPLICIAL_FACTOR, SIMPLICIAL_SOLVE
from sparsesolve.direct._simplicial import SimplicialPlan
from tests.direct import problems
from tests.direct.test_simplicial import block_triangular, block_tridiagonal

pytestmark = pytest.mark.skipif(not _native.available(), reason=_native.status())

TABLES = _native.SimplicialTables._fields
REFUSED = (ValueError, RuntimeError)  # what JAX makes of an error status
EXTREMES = [-(2**31), -1, 0, 1, 2, 3, 4, 7, 29, 30, 31, 1000, 2**30, 2**31 - 1]
FACTOR_TABLES = (
    *("columns", "l_row", "u_row", "in_source", "in_row", "off_source", "off_row", "l_runs", "indptr", "row_order"),
)
SOLVE_TABLES = ("columns", "l_row", "u_row", "off_row", "l_runs", "blocks", "row_order", "col_order")


@pytest.fixture(scope="module", params=["runs", "scattered"])
def arguments(request):
    """NumPy operands of both calls, of a plan with runs and of one with many diagonal blocks."""
    matrix = block_tridiagonal(5, 6) if request.param == "runs" else block_triangular(30)
    pattern, values = problems.split(matrix)
    plan = SimplicialPlan(pattern, np.arange(pattern.shape[0]))
    tables = {name: np.array(table) for name, table in zip(TABLES, plan.tables, strict=True)}
    assert (tables["l_runs"].size > 0) == (request.param == "runs")
    factors = [np.array(x) for x in plan.factor(jnp.asarray(values))]
    return tables, values, factors, np.ones(pattern.shape[0])


def factor(tables, data, sizes=None):
    n, batch = tables["row_order"].size, data.shape[:-1]
    total = sum(tables[name].size for name in ("l_row", "u_row", "off_row")) + n
    blocks, scales = sizes or (total, n)
    results = [jax.ShapeDtypeStruct((*batch, size), data.dtype) for size in (blocks, scales)]
    call = jax.ffi.ffi_call(SIMPLICIAL_FACTOR, results)
    expand = (None,) * len(batch)
    return jax.block_until_ready(call(*(tables[name][expand] for name in FACTOR_TABLES), data))


def solve(tables, factors, rhs, transpose=False):
    call = jax.ffi.ffi_call(SIMPLICIAL_SOLVE, jax.ShapeDtypeStruct(rhs.shape, rhs.dtype))
    expand = (None,) * (rhs.ndim - 1)
    operands = (*(tables[name][expand] for name in SOLVE_TABLES), *(x[expand] for x in factors), rhs)
    return jax.block_until_ready(call(*operands, transpose=np.bool_(transpose)))


def all_calls(tables, values, factors, rhs):
    """Runs the calls alone and in a batch; an error of the kernel is as good as a result. How many were refused."""
    refused = 0
    for call in (
        lambda: factor(tables, values),
        lambda: factor(tables, np.stack([values] * 9)),
        lambda: solve(tables, factors, rhs),
        lambda: solve(tables, factors, np.stack([rhs] * 9), transpose=True),
    ):
        try:
            call()
        except REFUSED as error:
            assert "sparsesolve: " in str(error)
            refused += 1
    return refused


def test_the_arguments_are_right_to_begin_with(arguments):
    tables, values, factors, rhs = arguments
    for mine, theirs in zip(factor(tables, values), factors, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert np.isfinite(solve(tables, factors, rhs)).all()
    assert all_calls(tables, values, factors, rhs) == 0


@hypothesis.settings(deadline=None, max_examples=100, derandomize=True)
@hypothesis.given(name=st.sampled_from(TABLES), place=st.integers(0, 10**6), value=st.sampled_from(EXTREMES))
def test_any_number_in_any_table(arguments, name, place, value):
    tables, values, factors, rhs = arguments
    changed = tables[name].copy()
    if changed.size:
        changed.flat[place % changed.size] = value
    all_calls(tables | {name: changed}, values, factors, rhs)


@hypothesis.settings(deadline=None, max_examples=40, derandomize=True)
@hypothesis.given(name=st.sampled_from(TABLES), seed=st.integers(0, 10**6), bound=st.sampled_from([2, 31, 2**31]))
def test_tables_of_noise(arguments, name, seed, bound):
    tables, values, factors, rhs = arguments
    noise = np.random.default_rng(seed).integers(0, bound, tables[name].shape).astype(np.int32)
    all_calls(tables | {name: noise}, values, factors, rhs)


def test_tables_values_and_factors_of_other_sizes(arguments):
    tables, values, factors, rhs = arguments
    n, size = rhs.size, factors[0].size
    for name in TABLES:
        longer = np.concatenate([tables[name], np.ones_like(tables["blocks" if tables[name].ndim == 1 else name][:1])])
        if tables[name].size:
            assert all_calls(tables | {name: tables[name][:-1]}, values, factors, rhs) >= 2
            assert all_calls(tables | {name: longer}, values, factors, rhs) >= 2
    wrong = [
        lambda: factor(tables, values[:-1]),
        lambda: factor(tables, values, (size - 1, n)),
        lambda: factor(tables, values, (size, n + 1)),
        lambda: factor(tables, np.arange(values.size)),
        lambda: factor(tables | {"columns": tables["columns"].ravel()}, values),
        lambda: factor(tables | {"indptr": np.stack([tables["indptr"]] * 2)}, values),
        lambda: solve(tables, [factors[0][:-1], factors[1]], rhs),
        lambda: solve(tables, [factors[0], factors[1][:-1]], rhs),
        lambda: solve(tables, factors, rhs[:-1]),
        lambda: solve(tables, factors, rhs.astype(np.float32)),
    ]
    for call in wrong:
        with pytest.raises(REFUSED, match="sparsesolve: "):
            call()
