"""`least_squares` under jit, vmap, jvp, vjp and second derivatives; problems are found again by content."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.least_squares import LevenbergMarquardt, Loss, least_squares
from sparsesolve.least_squares.iteration._problem import call_cache, problem_cache

X = jnp.linspace(0.0, 2.0, 15)
DATA = 2.0 * jnp.exp(-1.3 * X) + 0.1 * jnp.sin(9.0 * X)
SPARSE = LevenbergMarquardt(linear_solver="cholesky")


def decay(y, data):
    return y[0] * jnp.exp(-y[1] * X) - data


def fitted(data, solver=None, **options):
    return least_squares(decay, solver, jnp.ones(2), data, **options).value


def test_a_batch_is_fitted_like_its_members():
    scale = jnp.linspace(0.5, 3.0, 40)
    many = jax.jit(jax.vmap(lambda s: least_squares(decay, None, jnp.ones(2), s * DATA, throw=False)))(scale)
    steps = []
    for i in (0, 7, 39):
        one = least_squares(decay, None, jnp.ones(2), scale[i] * DATA)
        np.testing.assert_allclose(many.value[i], one.value, rtol=1e-9)
        steps.append(int(one.stats["num_steps"]))
        assert abs(int(many.stats["num_steps"][i]) - steps[-1]) <= 1
    assert len(np.unique(many.stats["num_steps"])) > 1  # lanes end when they have converged


def test_batches_of_sparse_problems_and_nested_batches():
    data = jnp.stack([DATA, 1.1 * DATA, 0.7 * DATA, DATA + 0.1]).reshape(2, 2, 15)
    nested = jax.vmap(jax.vmap(lambda d: fitted(d, SPARSE)))(data)
    np.testing.assert_allclose(nested[1, 0], fitted(data[1, 0]), rtol=1e-8)


@pytest.mark.parametrize("solver", [None, SPARSE], ids=["dense", "sparse"])
def test_derivatives_of_both_modes_and_second_order(solver):
    def first(scale):
        return fitted(scale * DATA + 0.05 * scale**2, solver)[1]

    slope = jax.grad(first)(1.0)
    _, forward = jax.jvp(first, (1.0,), (1.0,))
    assert float(slope) == pytest.approx(float(forward), rel=1e-9)
    h = 1e-4
    assert float(slope) == pytest.approx(float((first(1 + h) - first(1 - h)) / (2 * h)), rel=1e-5)
    second = jax.grad(jax.grad(first))(1.0)
    difference = (jax.grad(first)(1 + h) - jax.grad(first)(1 - h)) / (2 * h)
    assert float(second) == pytest.approx(float(difference), rel=1e-4)


def test_the_gauss_newton_hessian_leaves_out_the_curvature():
    full = jax.jacfwd(fitted)(DATA)
    part = jax.jacfwd(lambda d: fitted(d, hessian="gauss_newton"))(DATA)
    y = fitted(DATA)
    jacobian = jax.jacfwd(decay)(y, DATA)
    np.testing.assert_allclose(part, jnp.linalg.pinv(jacobian), rtol=1e-6, atol=1e-9)
    assert float(jnp.abs(full - part).max()) > 1e-3


def test_derivatives_in_bounds_weights_and_scales_of_losses():
    def at_bound(upper):
        return fitted(DATA, bounds=(None, jnp.array([upper, 10.0])))

    y, slope = at_bound(1.5), jax.jacfwd(at_bound)(1.5)
    assert float(y[0]) == 1.5 and float(slope[0]) == pytest.approx(1.0)
    h = 1e-4
    np.testing.assert_allclose(slope, (at_bound(1.5 + h) - at_bound(1.5 - h)) / (2 * h), rtol=1e-5)

    def weighted(sigma):
        return fitted(DATA, sigma=jnp.ones(15).at[3].set(sigma))[0]

    expected = (weighted(2 + h) - weighted(2 - h)) / (2 * h)
    assert float(jax.grad(weighted)(2.0)) == pytest.approx(float(expected), rel=1e-5)

    def robust(scale):
        return fitted(DATA, loss=Loss("cauchy", scale))[0]

    expected = (robust(0.1 + h) - robust(0.1 - h)) / (2 * h)
    assert float(jax.grad(robust)(0.1)) == pytest.approx(float(expected), rel=1e-4)


def test_captured_values_get_derivatives():
    def through(scale):
        return least_squares(lambda y, args: decay(y, scale * DATA), None, jnp.ones(2)).value[0]

    assert float(jax.grad(through)(1.0)) == pytest.approx(float(through(1.0)), rel=1e-6)


def test_second_calls_find_the_problem_again():
    fitted(DATA)
    hits, size = call_cache.hits, len(problem_cache)
    fitted(2.0 * DATA)
    assert call_cache.hits == hits + 1
    least_squares(lambda y, data: decay(y, data), None, jnp.ones(2), DATA)
    least_squares(lambda y, data: decay(y, data), None, jnp.ones(2), 2 * DATA)
    assert len(problem_cache) <= size + 1


def test_the_dense_iteration_lowers_for_gpus():
    traced = jax.jit(lambda d: least_squares(decay, None, jnp.ones(2), d, throw=False).value).trace(DATA)
    assert "sparsesolve_" not in traced.lower(lowering_platforms=("cuda",)).as_text()
