"""Arguments of the Cholesky and L B L^T kernels that do not fit end in an error, as in `test_kernels`.

`test_kernels` says how to run this file with the sanitizers.
"""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve import _native
from sparsesolve._native._load import CHOLESKY_FACTOR, CHOLESKY_SOLVE
from sparsesolve.direct._native_cholesky import NativeCholeskyPlan
from tests.direct import problems
from tests.native.test_kernels import EXTREMES, REFUSED

pytestmark = pytest.mark.skipif(not _native.available(), reason=_native.status())

LOOKUP = ("fronts", "parent_map", "entry_source", "entry_target", "indptr", "columns")
ORDERS = ("fronts", "border", "parent_map", "col_order")
TABLES = tuple(dict.fromkeys(LOOKUP + ORDERS))


@pytest.fixture(scope="module", params=["positive", "symmetric", "hermitian"])
def arguments(request):
    """NumPy operands of both calls for a 5 x 3 x 3 grid, which has fronts of one panel and a larger one."""
    dtype = np.complex128 if request.param == "hermitian" else np.float64
    pattern, values = problems.split(problems.stencil(5, 3, 3), dtype)
    plan = NativeCholeskyPlan(pattern, request.param, np.zeros(0, np.int64))
    assert plan.num_fronts > 3 and plan.tables.fronts[:, 0].max() > 8
    tables = {name: np.array(table) for name, table in plan.tables._asdict().items()}
    factors = [np.array(x) for x in plan.factor(jnp.asarray(values))]
    return tables, values, factors, np.ones(pattern.shape[0], dtype)


def factor(tables, values, factors, sizes=None):
    sizes = [x.size for x in factors] if sizes is None else sizes
    results = [jax.ShapeDtypeStruct((size,), x.dtype) for size, x in zip(sizes, factors, strict=True)]
    call = jax.ffi.ffi_call(CHOLESKY_FACTOR, results)
    flags = {"pivoting": np.bool_(factors[1].size > 0), "hermitian": np.bool_(True)}
    return jax.block_until_ready(call(*(tables[name] for name in LOOKUP), values, **flags))


def solve(tables, factors, rhs):
    call = jax.ffi.ffi_call(CHOLESKY_SOLVE, jax.ShapeDtypeStruct(rhs.shape, rhs.dtype))
    operands = (*(tables[name] for name in ORDERS), *factors[:-1], rhs)
    return jax.block_until_ready(call(*operands, hermitian=np.bool_(True)))


def both(tables, values, factors, rhs):
    """Runs both calls; an error of the kernel is as good as a result. Returns how many errors there were."""
    failures = 0
    for call in (lambda: factor(tables, values, factors), lambda: solve(tables, factors, rhs)):
        try:
            call()
        except REFUSED as error:
            assert "sparsesolve: " in str(error)
            failures += 1
    return failures


def test_the_arguments_are_right_to_begin_with(arguments):
    tables, values, factors, rhs = arguments
    for mine, theirs in zip(factor(tables, values, factors), factors, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert np.isfinite(solve(tables, factors, rhs)).all()


@hypothesis.settings(deadline=None, max_examples=70, derandomize=True)
@hypothesis.given(name=st.sampled_from(TABLES), place=st.integers(0, 10**6), value=st.sampled_from(EXTREMES))
def test_any_number_in_any_table(arguments, name, place, value):
    tables, values, factors, rhs = arguments
    changed = tables[name].copy()
    changed.flat[place % changed.size] = value
    both(tables | {name: changed}, values, factors, rhs)


@hypothesis.settings(deadline=None, max_examples=30, derandomize=True)
@hypothesis.given(name=st.sampled_from(TABLES), seed=st.integers(0, 10**6), bound=st.sampled_from([2, 46, 2**31]))
def test_tables_of_noise(arguments, name, seed, bound):
    tables, values, factors, rhs = arguments
    noise = np.random.default_rng(seed).integers(0, bound, tables[name].shape).astype(np.int32)
    both(tables | {name: noise}, values, factors, rhs)


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_other_lengths(arguments, name):
    tables, values, factors, rhs = arguments
    for changed in (tables[name][:-1], np.concatenate([tables[name], tables[name][-1:]]), tables[name][:0]):
        assert both(tables | {name: changed}, values, factors, rhs) >= 1


def test_values_factors_and_results_of_other_sizes_and_types(arguments):
    tables, values, factors, rhs = arguments
    sizes = [x.size for x in factors]
    calls = [
        lambda: factor(tables, values[:-1], factors),
        lambda: factor(tables, np.stack([values, values]), factors),
        lambda: factor(tables, values.astype(np.complex64), factors),
        lambda: solve(tables, factors, rhs[:-1]),
        lambda: solve(tables, factors, rhs.astype(np.complex64)),
    ]
    for i in range(len(sizes)):
        for change in (-1, 1):
            other = [size + change * (j == i) for j, size in enumerate(sizes)]
            if min(other) >= 0:
                calls.append(lambda other=other: factor(tables, values, factors, other))
    for i in range(4):
        longer = [np.append(x, x[:1]) if j == i else x for j, x in enumerate(factors)]
        if factors[i].size:
            calls.append(lambda longer=longer: solve(tables, longer, rhs))
    if factors[1].size:
        calls.append(lambda: solve(tables, [factors[0], factors[1] + 1000, *factors[2:]], rhs))
        calls.append(lambda: solve(tables, [factors[0], factors[1] * 0 - 1, *factors[2:]], rhs))
    for call in calls:
        with pytest.raises(REFUSED, match="sparsesolve: "):
            call()
