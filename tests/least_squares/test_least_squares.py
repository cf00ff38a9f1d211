"""`least_squares` and its solvers on small problems with known answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.least_squares import RESULTS, Dogleg, GaussNewton, LevenbergMarquardt, least_squares

SOLVERS = {
    "lm": LevenbergMarquardt(),
    "lm nielsen": LevenbergMarquardt(damping="nielsen"),
    "lm cholesky": LevenbergMarquardt(linear_solver="cholesky"),
    "lm geodesic": LevenbergMarquardt(linear_solver="cholesky", geodesic=True),
    "lm cg": LevenbergMarquardt(linear_solver="cg"),
    "gauss-newton": GaussNewton(),
    "dogleg": Dogleg(),
    "subspace": Dogleg(subspace=True, linear_solver="cholesky"),
}


def chained_rosenbrock(y, args):
    """`2 (n - 1)` residuals, minimum 0 at 1."""
    return {"valley": args["steep"] * (y[1:] - y[:-1] ** 2), "floor": 1.0 - y[:-1]}


@pytest.mark.parametrize("name", SOLVERS)
def test_solvers_find_the_minimum(name):
    y0 = jnp.linspace(-0.5, 1.5, 8)
    sol = least_squares(chained_rosenbrock, SOLVERS[name], y0, {"steep": 3.0})
    np.testing.assert_allclose(sol.value, 1.0, rtol=1e-9)
    assert sol.stats["num_colors"] < 8 and int(sol.stats["num_steps"]) < 100
    assert float(sol.stats["cost"]) < 1e-20
    assert int(sol.stats["num_jacobians"]) <= int(sol.stats["num_steps"])


def test_residuals_that_do_not_vanish_and_counts():
    x = jnp.linspace(0.0, 2.0, 25)
    data = 2.0 * jnp.exp(-1.3 * x) + 0.05 * jnp.sin(40.0 * x)

    def residual(y, data):
        return y["a"] * jnp.exp(-y["k"] * x) - data

    sol = least_squares(residual, None, {"a": 1.0, "k": 0.0}, data, history=True)
    jacobian = sol.state.jacobian().todense()
    np.testing.assert_allclose(jacobian.T @ sol.state.residual(), 0.0, atol=1e-9)
    steps = int(sol.stats["num_steps"])
    assert int(sol.stats["num_residuals"]) == steps + 1
    assert sol.stats["costs"].shape == (steps + 1,)
    assert float(sol.stats["costs"][-1]) == float(sol.stats["cost"])
    expected = 0.5 * float(jnp.sum(residual(sol.value, data) ** 2))
    assert float(sol.stats["cost"]) == pytest.approx(expected, rel=1e-12)


def test_single_precision_stops_at_its_own_resolution():
    x = jnp.linspace(0.0, 2.0, 25, dtype=jnp.float32)
    data = 2.0 * jnp.exp(-1.3 * x) + 0.05 * jnp.sin(40.0 * x)
    sol = least_squares(lambda y, d: y[0] * jnp.exp(-y[1] * x) - d, None, jnp.ones(2, jnp.float32), data)
    assert sol.value.dtype == jnp.float32
    exact = least_squares(
        lambda y, d: y[0] * jnp.exp(-y[1] * x.astype(float)) - d, None, jnp.ones(2), data.astype(float)
    )
    np.testing.assert_allclose(sol.value, exact.value, rtol=2e-5)


def test_rejected_steps_reuse_the_jacobian():
    sol = least_squares(chained_rosenbrock, None, jnp.array([-1.2, 1.0]), {"steep": 10.0})
    assert int(sol.stats["num_jacobians"]) < int(sol.stats["num_steps"])


def test_running_out_of_steps_is_told():
    y0 = jnp.array([-1.2, 1.0])
    with pytest.raises(RuntimeError, match="max_steps=3"):
        least_squares(chained_rosenbrock, None, y0, {"steep": 10.0}, max_steps=3)
    sol = least_squares(chained_rosenbrock, None, y0, {"steep": 10.0}, max_steps=3, throw=False)
    assert "maximum number of" in RESULTS[sol.result]


def test_bounds_hold_and_free_parameters_are_optimal():
    def residual(y, args):
        return jnp.stack([y[0] - 3.0, 2.0 * (y[1] - y[0]), y[2] + 1.0])

    sol = least_squares(residual, None, jnp.array([0.5, 0.5, 0.5]), bounds=(0.0, jnp.array([1.0, 2.0, jnp.inf])))
    np.testing.assert_allclose(sol.value, [1.0, 1.0, 0.0], atol=1e-12)


def test_a_loss_weighs_outliers_down():
    x = jnp.linspace(0.0, 1.0, 30)
    data = (1.0 + 2.0 * x).at[::7].add(5.0)

    def residual(y, data):
        return y[0] + y[1] * x - data

    plain = least_squares(residual, None, jnp.zeros(2), data).value
    robust = least_squares(residual, None, jnp.zeros(2), data, loss=lambda s: jnp.log1p(s / 1e-4) * 1e-4).value
    assert float(jnp.max(jnp.abs(plain - jnp.array([1.0, 2.0])))) > 0.3
    np.testing.assert_allclose(robust, [1.0, 2.0], atol=1e-3)


def test_standard_deviations_are_weights():
    def residual(y, args):
        return jnp.array([1.0, 3.0]) - y

    sol = least_squares(residual, None, jnp.asarray(0.0), sigma=jnp.array([1.0, 2.0]))
    assert float(sol.value) == pytest.approx((1.0 + 3.0 / 4) / (1 + 1 / 4))


def test_derivatives_by_the_implicit_function_theorem():
    x = jnp.linspace(0.0, 2.0, 12)
    data = 2.0 * jnp.exp(-1.3 * x) + 0.1 * jnp.sin(9.0 * x)

    def fitted(data):
        return least_squares(lambda y, d: y[0] * jnp.exp(-y[1] * x) - d, None, jnp.ones(2), data).value

    forward = jax.jacfwd(fitted)(data)
    reverse = jax.jacrev(fitted)(data)
    np.testing.assert_allclose(forward, reverse, rtol=1e-9, atol=1e-12)
    h = 1e-3
    for i in (0, 5):
        e = jnp.zeros(12).at[i].set(h)
        np.testing.assert_allclose(forward[:, i], (fitted(data + e) - fitted(data - e)) / (2 * h), rtol=1e-5)
