"""Threads: the same bits whatever their number, also for errors and for many calls at once."""

import concurrent.futures
import ctypes

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

from sparsesolve import _native
from sparsesolve._native import _load
from sparsesolve.direct import plan_direct, solve_once
from sparsesolve.direct._native_multifrontal import NativeMultifrontalPlan
from sparsesolve.matrix import matvec, product_plan
from tests.direct import problems

pytestmark = pytest.mark.skipif(not _native.available(), reason=_native.status())


@pytest.fixture
def set_threads():
    """Limits the threads of each call from here on."""
    path = _load.library().path
    assert path is not None
    yield ctypes.CDLL(str(path)).sparsesolve_set_threads
    ctypes.CDLL(str(path)).sparsesolve_set_threads(_load.num_threads())


def plan_of(matrix, dtype=np.float64):
    pattern, values = problems.split(matrix, dtype)
    return NativeMultifrontalPlan(pattern, np.arange(pattern.shape[0])), jnp.asarray(values)


CASES = {
    "two dimensions": (lambda: problems.stencil(110, 110, convection=0.3), np.float64),
    "three dimensions": (lambda: problems.stencil(19, 19, 18, convection=0.3), np.float64),
    "single precision": (lambda: problems.stencil(16, 17, 18, convection=0.3), np.float32),
    "complex": (lambda: problems.stencil(80, 80, convection=0.3), np.complex128),
    "one front": (lambda: np.random.default_rng(0).standard_normal((700, 700)), np.float64),
}


@pytest.mark.parametrize("name", CASES)
def test_any_number_gives_the_same_bits(name, set_threads):
    make, dtype = CASES[name]
    plan, data = plan_of(make(), dtype)
    assert plan.nnz_factor > 2e5  # enough that threads are used at all
    rhs = jnp.asarray(np.random.default_rng(1).standard_normal((3, data_size(plan))).astype(dtype))
    results = []
    for threads in (1, 2, 0):
        set_threads(threads)
        factors = plan.factor(data)
        single = [plan.solve(factors, rhs[0], transpose=transpose) for transpose in (False, True)]
        together = jax.vmap(lambda b, factors=factors: plan.solve(factors, b))(rhs)
        results.append(jax.tree.map(np.asarray, (factors, single, together)))
    jax.tree.map(np.testing.assert_array_equal, results[0], results[1])
    jax.tree.map(np.testing.assert_array_equal, results[0], results[2])


def data_size(plan):
    return plan.pattern.shape[0]


def test_members_of_a_batch(set_threads):
    plan, data = plan_of(problems.stencil(30, 30, convection=0.3))
    scales, rhs = jnp.linspace(1.0, 3.0, 30), jnp.ones(900)
    results = []
    for threads in (1, 2):
        set_threads(threads)
        factors = jax.vmap(lambda s: plan.factor(s * data))(scales)
        results.append(np.asarray(jax.vmap(plan.solve, (0, None))(factors, rhs)))
    np.testing.assert_array_equal(*results)
    alone = plan.solve(plan.factor(data), rhs)
    np.testing.assert_allclose(results[0] * scales[:, None], np.broadcast_to(alone, (30, 900)), rtol=1e-9)


def test_many_calls_at_once_come_to_an_end(set_threads):
    plan, data = plan_of(problems.stencil(80, 80, convection=0.3))
    rhs = jnp.ones(6400)
    set_threads(0)
    expected = np.asarray(plan.solve(plan.factor(data), rhs))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(lambda: np.asarray(plan.solve(plan.factor(data), rhs))) for _ in range(40)]
        for call in calls:
            np.testing.assert_array_equal(call.result(timeout=120), expected)


def test_an_error_inside_a_subtree_is_raised(set_threads):
    plan, data = plan_of(problems.stencil(110, 110))
    set_threads(2)
    broken = plan.tables._replace(parent_map=plan.tables.parent_map.at[5].set(2**30))
    with pytest.raises((ValueError, RuntimeError), match="parent_map: rows must increase"):
        jax.block_until_ready(_native.factor(broken, plan.nnz_factor, data))
    assert np.isfinite(plan.factor(data).blocks).all()


def test_number_from_the_environment(monkeypatch):
    monkeypatch.setenv("SPARSESOLVE_NUM_THREADS", "3")
    assert _load.num_threads() == 3
    monkeypatch.delenv("SPARSESOLVE_NUM_THREADS")
    assert _load.num_threads() == 0
    monkeypatch.setenv("SPARSESOLVE_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="'many' is not a number of threads"):
        _load.num_threads()


@pytest.mark.parametrize("kind", ["stencil", "scattered"])
def test_products_of_large_matrices(kind, set_threads):
    n = 160_000
    columns = np.random.default_rng(0).integers(0, n, (6, n))
    scattered = sp.csr_matrix((np.ones(6 * n), (np.tile(np.arange(n), 6), columns.ravel())), shape=(n, n))
    matrix = problems.stencil(400, 400) if kind == "stencil" else scattered
    pattern, values = problems.split(matrix)
    v = np.random.default_rng(0).standard_normal((n, 2))
    results = []
    for threads in (1, 2):
        set_threads(threads)
        plan = product_plan(pattern)
        many = plan.multiply(plan.arrange(jnp.asarray(values)), v[:, 0])
        results.append([np.asarray(x) for x in (matvec(pattern, values, v[:, 0]), matvec(pattern, values, v), many)])
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)
    a = sp.csr_matrix((values, pattern.indices, pattern.indptr), shape=pattern.shape)
    np.testing.assert_allclose(results[0][1], a @ v, atol=1e-12)


@pytest.mark.skipif(not _native.available(), reason=_native.status())
def test_checked_solves_of_a_batch(set_threads):
    pattern, values = problems.split(problems.stencil(20, 20, convection=0.3))
    plans = [plan_direct(pattern, method=method) for method in ("simplicial", "multifrontal")]
    data = jnp.asarray(values * np.random.default_rng(0).uniform(0.9, 1.1, (41, values.size)))
    rhs = jnp.asarray(np.random.default_rng(1).standard_normal((41, 400)))
    for plan in plans:
        results = []
        for threads in (1, 2):
            set_threads(threads)
            x, info = jax.vmap(lambda d, b, plan=plan: solve_once(plan, d, b))(data, rhs)
            assert bool(info.converged.all())
            results.append(np.asarray(x))
        np.testing.assert_array_equal(*results)
