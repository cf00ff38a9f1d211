"""jit, vmap, scan, while, jvp and lowering for other platforms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve._cache import clear_caches
from sparsesolve.direct import plan_direct, solve_refined
from tests.direct import problems

METHODS = {
    "tridiagonal": lambda: problems.stencil(40),
    "banded": lambda: problems.stencil(4, 20),
    "dense": lambda: problems.stencil(3, 4),
    "block_diagonal": problems.blocks,
    "multifrontal": lambda: problems.stencil(9, 10, convection=0.4),
}


@pytest.fixture(params=METHODS)
def prepared(request):
    pattern, values = problems.split(METHODS[request.param]())
    plan = plan_direct(pattern, method=request.param, backend="portable")
    return plan, jnp.asarray(values), jnp.linspace(1.0, 2.0, pattern.shape[0])


def test_vmap_over_values_and_right_hand_sides(prepared):
    plan, data, rhs = prepared
    scales = jnp.array([1.0, 2.0, 0.5])
    alone = plan.solve(plan.factor(data), rhs)
    factors = jax.vmap(lambda s: plan.factor(s * data))(scales)
    many = jax.vmap(lambda f, s: plan.solve(f, s * s * rhs))(factors, scales)
    np.testing.assert_allclose(many, scales[:, None] * alone[None, :], rtol=1e-9)
    block = jax.vmap(lambda b: plan.solve(plan.factor(data), b), in_axes=1, out_axes=1)(rhs[:, None] * scales[None, :])
    np.testing.assert_allclose(block, alone[:, None] * scales[None, :], rtol=1e-9)


def test_inside_scan_with_factors_in_the_carry(prepared):
    plan, data, rhs = prepared

    @jax.jit
    def march(x):
        def step(carry, scale):
            factors, x = carry
            x = plan.solve(factors, x)
            return (plan.factor(scale * data), x), jnp.sum(x)

        (_, x), _ = jax.lax.scan(step, (plan.factor(data), x), jnp.array([2.0, 4.0]))
        return x

    once = plan.solve(plan.factor(data), rhs)
    np.testing.assert_allclose(march(rhs), plan.solve(plan.factor(data), once) / 2, rtol=1e-9)


def test_jvp_of_a_solve_with_fixed_factors(prepared):
    plan, data, rhs = prepared

    def f(b, values):
        return plan.solve(jax.lax.stop_gradient(plan.factor(values)), b)

    x, dx = jax.jvp(f, (rhs, data), (2 * rhs, data))
    np.testing.assert_allclose(dx, 2 * x, rtol=1e-9)


def test_lowers_for_cuda(prepared):
    plan, data, rhs = prepared

    def f(values, b):
        return solve_refined(plan, plan.factor(values), values, b, transpose=True)

    text = jax.jit(f).trace(data, rhs).lower(lowering_platforms=("cuda",)).as_text()
    assert "lapack" not in text


def test_plans_are_cached_and_equal_by_content():
    first, _ = problems.split(problems.stencil(9, 10))
    second, _ = problems.split(problems.stencil(9, 10))
    assert plan_direct(first) is plan_direct(second)
    old = plan_direct(first)
    clear_caches()
    new = plan_direct(second)
    assert old is not new and old == new and hash(old) == hash(new)
    assert old != plan_direct(first, method="banded")
