"""Arguments that do not fit end in an error, never in a crash or a read outside.

To look for reads outside, build with the sanitizers and run all tests of kernels with them (GCC's names; it takes some
minutes, and `-O1` comes after the package's own `-O3`). The last line brings the ordinary kernels back:

    FLAGS="'-O1', '-g1', '-fno-omit-frame-pointer', '-fsanitize=address,undefined'"
    python -c "from sparsesolve._native._build import build; build(extra=($FLAGS))"
    LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
        UBSAN_OPTIONS=print_stacktrace=1 python -m pytest -x -s tests/native tests/direct/test_native_multifrontal.py \
        tests/direct/test_native_cholesky.py tests/direct/test_simplicial.py tests/matrix/test_native_products.py \
        tests/precond/test_multigrid_parts.py
    python -m sparsesolve._native

`-s` lets messages of the undefined-behaviour sanitizer through, which fail no test: search the output for "runtime
error". Last clean run of `tests/native`, threads included: November 2026, GCC 12.2, jaxlib 0.10.2.
"""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve import _native
from sparsesolve._native._load import FACTOR, SOLVE
from sparsesolve.direct._native_multifrontal import NativeMultifrontalPlan
from tests.direct import problems

pytestmark = pytest.mark.skipif(not _native.available(), reason=_native.status())

TABLES = _native.NativeTables._fields
REFUSED = (ValueError, RuntimeError)  # what JAX makes of an error status
EXTREMES = [-(2**31), -1, 0, 1, 3, 7, 29, 30, 31, 1000, 2**30, 2**31 - 1]


@pytest.fixture(scope="module")
def arguments():
    """NumPy operands of both calls for a 5 x 6 grid."""
    pattern, values = problems.split(problems.stencil(5, 6, convection=0.3))
    plan = NativeMultifrontalPlan(pattern, np.arange(pattern.shape[0]))
    tables = {name: np.array(table) for name, table in zip(TABLES, plan.tables, strict=True)}
    factors = [np.array(x) for x in plan.factor(jnp.asarray(values))]
    return tables, values, factors, np.ones(pattern.shape[0])


def factor(tables, data, sizes=None):
    n = tables["row_order"].size
    blocks, *rest = sizes or (int(_factor_size(tables["fronts"])), n, n, n)
    real = data.real.dtype
    types = [(blocks, data.dtype), (rest[0], np.int32), (rest[1], real), (rest[2], real)]
    results = [jax.ShapeDtypeStruct((size,), dtype) for size, dtype in types]
    names = ("fronts", "parent_map", "entry_source", "entry_target", "indptr", "columns")
    return jax.block_until_ready(jax.ffi.ffi_call(FACTOR, results)(*(tables[name] for name in names), data))


def solve(tables, factors, rhs, transpose=False):
    call = jax.ffi.ffi_call(SOLVE, jax.ShapeDtypeStruct(rhs.shape, rhs.dtype))
    names = ("fronts", "border", "parent_map", "row_order", "col_order")
    operands = (*(tables[name] for name in names), *factors, rhs)
    return jax.block_until_ready(call(*operands, transpose=np.bool_(transpose)))


def _factor_size(fronts):
    k, m = fronts[:, 0].astype(float), fronts[:, 1].astype(float)
    return np.clip((k * k + 2 * k * m).sum(), 0, 10**6)


def both(tables, values, factors, rhs):
    """Runs both calls; an error of the kernel is as good as a result."""
    for call in (lambda: factor(tables, values), lambda: solve(tables, factors, rhs)):
        try:
            call()
        except REFUSED as error:
            assert "sparsesolve: " in str(error)


def test_the_arguments_are_right_to_begin_with(arguments):
    tables, values, factors, rhs = arguments
    for mine, theirs in zip(factor(tables, values), factors, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert np.isfinite(solve(tables, factors, rhs)).all()


@hypothesis.settings(deadline=None, max_examples=120, derandomize=True)
@hypothesis.given(name=st.sampled_from(TABLES), place=st.integers(0, 10**6), value=st.sampled_from(EXTREMES))
def test_any_number_in_any_table(arguments, name, place, value):
    tables, values, factors, rhs = arguments
    changed = tables[name].copy()
    changed.flat[place % changed.size] = value
    both(tables | {name: changed}, values, factors, rhs)


@hypothesis.settings(deadline=None, max_examples=60, derandomize=True)
@hypothesis.given(name=st.sampled_from(TABLES), seed=st.integers(0, 10**6), bound=st.sampled_from([2, 31, 2**31]))
def test_tables_of_noise(arguments, name, seed, bound):
    tables, values, factors, rhs = arguments
    noise = np.random.default_rng(seed).integers(0, bound, tables[name].shape).astype(np.int32)
    both(tables | {name: noise}, values, factors, rhs)


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_other_lengths(arguments, name):
    tables, values, factors, rhs = arguments
    for changed in (tables[name][:-1], np.concatenate([tables[name], tables[name][-1:]]), tables[name][:0]):
        wrong = tables | {name: changed}
        failures = 0
        for call in (lambda wrong=wrong: factor(wrong, values), lambda wrong=wrong: solve(wrong, factors, rhs)):
            try:
                call()
            except REFUSED as error:
                failures += "sparsesolve: " in str(error)
        assert failures >= 1


def test_values_factors_and_results_of_other_sizes(arguments):
    tables, values, factors, rhs = arguments
    n, size = rhs.size, factors[0].size
    wrong = [
        lambda: factor(tables, values[:-1]),
        lambda: factor(tables, values, (size - 1, n, n, n)),
        lambda: factor(tables, values, (size + 1, n, n, n)),
        lambda: factor(tables, values, (size, n - 1, n, n)),
        lambda: factor(tables, values, (size, n, n + 1, n)),
        lambda: factor(tables, values, (size, n, n, n - 1)),
        lambda: solve(tables, [factors[0][:-1], *factors[1:]], rhs),
        lambda: solve(tables, [factors[0], factors[1][:-1], *factors[2:]], rhs),
        lambda: solve(tables, [*factors[:3], factors[3][:-1]], rhs),
        lambda: solve(tables, factors, rhs[:-1]),
        lambda: solve(tables, factors, np.ones((2, n))),
        lambda: solve(tables, [factors[0], factors[1] * 0 - 1, *factors[2:]], rhs),
        lambda: solve(tables, [factors[0], factors[1] + 1000, *factors[2:]], rhs),
    ]
    for call in wrong:
        with pytest.raises(REFUSED, match="sparsesolve: "):
            call()


def test_types_and_batches_that_do_not_fit(arguments):
    tables, values, factors, rhs = arguments
    wrong = [
        lambda: factor(tables, np.arange(values.size)),
        lambda: factor(tables | {"indptr": tables["indptr"].astype(np.int64)}, values),
        lambda: factor(tables | {"indptr": np.stack([tables["indptr"]] * 2)}, values),
        lambda: factor(tables | {"fronts": tables["fronts"][:, :3]}, values),
        lambda: factor(tables | {"fronts": tables["fronts"].ravel()}, values, (factors[0].size, 30, 30, 30)),
        lambda: solve(tables, factors, rhs.astype(np.float32)),
        lambda: solve(tables, [factors[0].astype(np.float32), *factors[1:]], rhs),
        lambda: factor(tables, np.stack([values, values])),
    ]
    for call in wrong:
        with pytest.raises(REFUSED, match="sparsesolve: "):
            call()
