"""The compiled multifrontal LU against dense solves: matrices, types, transformations, singular values."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

from sparsesolve import _native
from sparsesolve.direct import plan_direct, solve_refined
from sparsesolve.direct._native_multifrontal import NativeMultifrontalPlan
from sparsesolve.pattern import SparsityPattern
from tests.direct import problems

pytestmark = pytest.mark.skipif(not _native.available(), reason=_native.status())

MATRICES = {
    "five points": lambda: problems.stencil(12, 13),
    "convection": lambda: problems.stencil(14, 11, convection=0.9),
    "three dimensions": lambda: problems.stencil(7, 6, 5),
    "brusselator": lambda: problems.brusselator(9),
    "finite elements": lambda: problems.p1_mesh(220),
    "chain": lambda: problems.band(150, 1),
    "band": lambda: problems.band(120, 4),
    "components": problems.blocks,
    "one unknown": lambda: sp.csr_matrix([[2.0]]),
}
DTYPES = [np.float32, np.float64, np.complex64, np.complex128]


def native(pattern, **options):
    plan = plan_direct(pattern, method="multifrontal", backend="native", **options)
    assert isinstance(plan, NativeMultifrontalPlan)
    return plan


def small():
    pattern, values = problems.split(problems.stencil(9, 10, convection=0.4))
    return native(pattern), jnp.asarray(values), jnp.linspace(1.0, 2.0, pattern.shape[0])


def dense(pattern, values):
    return sp.csr_matrix((np.asarray(values), pattern.indices, pattern.indptr), shape=pattern.shape).toarray()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MATRICES)
def test_backward_error_is_small(name, dtype):
    pattern, values = problems.split(MATRICES[name](), dtype)
    plan, matrix = native(pattern), dense(pattern, values)
    rhs = np.random.default_rng(0).standard_normal(pattern.shape[0]).astype(dtype)
    factors = plan.factor(jnp.asarray(values))
    assert factors.blocks.shape == (plan.nnz_factor,) and factors.blocks.dtype == dtype
    for transpose, a in ((False, matrix), (True, matrix.T)):
        x = plan.solve(factors, jnp.asarray(rhs), transpose=transpose)
        assert x.dtype == dtype
        error = np.abs(a @ x - rhs).max() / (np.abs(a).sum(1).max() * np.abs(x).max() + np.abs(rhs).max())
        assert error < 1e4 * np.finfo(dtype).eps


@pytest.mark.parametrize("name", ["saddle_point", "weak_diagonal", "circuit", "permuted"])
def test_hard_matrices_with_sample_and_refinement(name):
    matrix = {
        "saddle_point": lambda: problems.saddle_point(9),
        "weak_diagonal": lambda: problems.weak_diagonal(150),
        "circuit": lambda: problems.circuit(150),
        "permuted": lambda: problems.permuted(problems.stencil(9, 11, convection=0.5)),
    }[name]()
    pattern, values = problems.split(matrix)
    plan, data = native(pattern, sample=values), jnp.asarray(values)
    for transpose in (False, True):
        rhs = jnp.ones(pattern.shape[0])
        _, info = solve_refined(plan, plan.factor(data), data, rhs, transpose=transpose)
        assert info.converged and info.backward_error < 1e-14


@hypothesis.settings(deadline=None, max_examples=25, derandomize=True)
@hypothesis.given(n=st.integers(1, 60), per_row=st.floats(0.0, 6.0), seed=st.integers(0, 10**6))
def test_random_patterns(n, per_row, seed):
    rng = np.random.default_rng(seed)
    density = min(1.0, per_row / n)
    matrix = sp.random(n, n, density, random_state=rng) + sp.diags(2 + 4 * rng.random(n))
    pattern, values = problems.split(matrix)
    plan = NativeMultifrontalPlan(pattern, np.arange(n))
    rhs = rng.standard_normal(n)
    x = plan.solve(plan.factor(jnp.asarray(values)), jnp.asarray(rhs))
    np.testing.assert_allclose(dense(pattern, values) @ x, rhs, atol=1e-9 * max(1.0, np.abs(x).max()))


def test_agrees_with_the_portable_plan():
    pattern, values = problems.split(problems.brusselator(8))
    portable = plan_direct(pattern, method="multifrontal", backend="portable")
    plan, data, rhs = native(pattern), jnp.asarray(values), jnp.arange(1.0, pattern.shape[0] + 1)
    assert plan != portable and plan == NativeMultifrontalPlan(pattern, np.arange(pattern.shape[0]))
    expected = portable.solve(portable.factor(data), rhs)
    np.testing.assert_allclose(plan.solve(plan.factor(data), rhs), expected, rtol=1e-9)


def test_postorder_that_the_kernels_rely_on():
    from sparsesolve.direct import _ordering
    from sparsesolve.direct._fronts import analyze

    for make in MATRICES.values():
        pattern, _ = problems.split(make())
        graph = _ordering.adjacency(pattern.rows, pattern.indices, pattern.shape[0])
        parent = analyze(graph, _ordering.nested_dissection(graph), leaf=4).parent
        waiting = []
        for s in range(parent.size):
            count = int((parent == s).sum())
            assert sorted(waiting[len(waiting) - count :]) == np.flatnonzero(parent == s).tolist()
            waiting = [*waiting[: len(waiting) - count], s]


@pytest.mark.parametrize("count", [1, 2, 7, 33, 70])
def test_many_right_hand_sides(count):
    plan, data, rhs = small()
    factors = plan.factor(data)
    block = rhs[:, None] * jnp.linspace(-1.0, 3.0, count)[None, :] + jnp.eye(rhs.size, count)
    for transpose in (False, True):
        alone = [plan.solve(factors, block[:, j], transpose=transpose) for j in range(count)]
        np.testing.assert_allclose(plan.solve(factors, block, transpose=transpose), jnp.stack(alone, 1), rtol=1e-9)


def test_vmap_over_values_right_hand_sides_and_both():
    plan, data, rhs = small()
    scales, shifts = jnp.array([1.0, 2.0, 0.5]), jnp.array([1.0, -1.0])
    alone = plan.solve(plan.factor(data), rhs)
    factors = jax.vmap(lambda s: plan.factor(s * data))(scales)
    many = jax.vmap(lambda f, s: plan.solve(f, s * s * rhs))(factors, scales)
    np.testing.assert_allclose(many, scales[:, None] * alone[None, :], rtol=1e-9)
    expected = (shifts[None, :] / scales[:, None])[:, :, None] * alone[None, None, :]
    nested = jax.vmap(lambda f: jax.vmap(lambda c: plan.solve(f, c * rhs))(shifts))(factors)
    np.testing.assert_allclose(nested, expected, rtol=1e-9)
    swapped = jax.vmap(lambda c: jax.vmap(lambda f: plan.solve(f, c * rhs))(factors))(shifts)
    np.testing.assert_allclose(swapped, expected.transpose(1, 0, 2), rtol=1e-9)
    shared = jax.vmap(lambda f: plan.solve(f, rhs))(factors)
    np.testing.assert_allclose(shared, alone[None, :] / scales[:, None], rtol=1e-9)


def test_inside_scan_while_and_cond():
    plan, data, rhs = small()

    @jax.jit
    def march(x):
        def step(carry, scale):
            factors, x = carry
            factors = jax.lax.cond(scale > 1, lambda: plan.factor(scale * data), lambda: factors)
            return (factors, plan.solve(factors, x)), None

        (factors, x), _ = jax.lax.scan(step, (plan.factor(data), x), jnp.array([1.0, 2.0]))
        return jax.lax.while_loop(lambda s: s[1] < 2, lambda s: (plan.solve(factors, s[0]), s[1] + 1), (x, 0))[0]

    expected = rhs
    for _ in range(4):
        expected = plan.solve(plan.factor(data), expected)
    np.testing.assert_allclose(march(rhs), expected / 8, rtol=1e-9)


def test_linear_in_the_right_hand_side():
    plan, data, rhs = small()
    factors = plan.factor(data)
    x, dx = jax.jvp(lambda b: plan.solve(factors, b), (rhs,), (2 * rhs,))
    np.testing.assert_allclose(dx, 2 * x, rtol=1e-12)
    gradient = jax.grad(lambda b: plan.solve(factors, b) @ rhs)(rhs)
    np.testing.assert_allclose(gradient, plan.solve(factors, rhs, transpose=True), rtol=1e-9)
    jacobian = jax.jacrev(lambda b: plan.solve(factors, b))(rhs)
    np.testing.assert_allclose(jacobian @ dense(plan.pattern, data), np.eye(rhs.size), atol=1e-9)


def test_types_of_right_hand_sides():
    plan, data, rhs = small()
    x = plan.solve(plan.factor(data), rhs)
    z = plan.solve(plan.factor(data), rhs + 2j * rhs)
    assert z.dtype == np.complex128
    np.testing.assert_allclose(z, x + 2j * x, rtol=1e-12)
    y = plan.solve(plan.factor(data.astype(np.float32)), rhs)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, x, rtol=1e-3)


def test_singular_and_non_finite_values_are_a_status():
    plan, data, rhs = small()
    rows = plan.pattern.rows
    for broken in (jnp.where(rows == 3, 0.0, data), jnp.full_like(data, jnp.nan), data.at[5].set(jnp.inf), 0 * data):
        _, info = jax.jit(lambda v: solve_refined(plan, plan.factor(v), v, rhs))(broken)
        assert not info.converged
    scaled = data * jnp.where(rows % 2 == 0, 1e-100, 1e100)
    _, info = solve_refined(plan, plan.factor(scaled), scaled, rhs * jnp.where(jnp.arange(rhs.size) % 2 == 0, 0, 1e100))
    assert info.converged


def test_a_large_front_takes_the_blas():
    n = 300
    rng = np.random.default_rng(0)
    for dtype in DTYPES:
        matrix = rng.standard_normal((n, n)).astype(dtype)
        plan = native(SparsityPattern.from_dense(np.ones((n, n))))
        factors, rhs = plan.factor(jnp.asarray(matrix.ravel())), jnp.ones(n, dtype)
        for transpose, a in ((False, matrix), (True, matrix.T)):
            x = plan.solve(factors, rhs, transpose=transpose)
            assert np.abs(a @ x - 1).max() < 1e4 * np.finfo(dtype).eps * np.abs(x).max()


def test_choice_of_back_end(monkeypatch):
    pattern, _ = problems.split(problems.stencil(20, 20))
    assert isinstance(plan_direct(pattern, method="multifrontal"), NativeMultifrontalPlan)
    monkeypatch.setenv("SPARSESOLVE_NATIVE", "0")
    assert not isinstance(plan_direct(pattern, method="multifrontal"), NativeMultifrontalPlan)
    with pytest.raises(ValueError, match="SPARSESOLVE_NATIVE=0"):
        plan_direct(pattern, backend="native")
    with pytest.raises(ValueError, match="'native' or 'portable'"):
        plan_direct(pattern, backend="cuda")
