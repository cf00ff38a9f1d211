"""Bad input and hopeless problems end in one clear sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.least_squares import RESULTS, LevenbergMarquardt, least_squares


def misfit(y, target):
    return y - target


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ((3, None, jnp.zeros(2)), {}, TypeError, "cannot be called"),
        ((misfit, jnp.zeros(2), jnp.zeros(2)), {}, TypeError, "y0 is the third"),
        ((misfit, None, jnp.zeros(2, int), 1.0), {}, TypeError, "dtype int64"),
        ((misfit, None, jnp.zeros(2, complex), 1.0), {}, TypeError, "real and imaginary"),
        ((misfit, None, {"a": "text"}, 1.0), {}, TypeError, "of type str"),
        ((misfit, None, {}, 1.0), {}, ValueError, "holds no unknowns"),
        ((misfit, None, jnp.zeros(2), 1j), {}, TypeError, "complex residual"),
        ((lambda y, a: jnp.round(y).astype(int), None, jnp.zeros(2)), {}, TypeError, "changes in jumps"),
        ((lambda y, a: y[:0], None, jnp.zeros(2)), {}, ValueError, "without residuals"),
        ((misfit, None, jnp.zeros(2), 1.0), {"max_steps": 0}, ValueError, "at least one step"),
        ((misfit, None, jnp.zeros(2), 1.0), {"hessian": "none"}, ValueError, "gauss_newton"),
        ((misfit, None, jnp.zeros(2), 1.0), {"bounds": (1.0, 2.0)}, ValueError, r"y0\[0\] = 0 is not in \[1, 2\]"),
        ((misfit, None, jnp.zeros(2), 1.0), {"bounds": (1.0, -1.0)}, ValueError, "above the upper bound"),
        ((misfit, None, jnp.zeros(2), 1.0), {"bounds": (jnp.zeros(3), 1.0)}, ValueError, "form of the parameters"),
        ((misfit, None, jnp.zeros(2), 1.0), {"bounds": 1.0}, ValueError, "bounds=.lower, upper"),
        ((misfit, None, jnp.zeros(2), 1.0), {"sigma": jnp.ones(3)}, ValueError, r"sigma of shape \(3,\)"),
        ((misfit, None, jnp.zeros(2), 1.0), {"loss": 3.0}, TypeError, "loss"),
        ((misfit, None, jnp.zeros(2), 1.0), {"loss": {"a": None}}, TypeError, "pytree of such functions"),
        (
            (misfit, None, jnp.zeros(2), 1.0),
            {"bounds": (0, 1), "retract": misfit},
            ValueError,
            "both bounds and retract",
        ),
        ((misfit, LevenbergMarquardt(rtol=1e-20), jnp.zeros(2), 1.0), {}, ValueError, "resolution"),
        ((misfit, LevenbergMarquardt(linear_solver="lu"), jnp.zeros(2), 1.0), {}, ValueError, "'cholesky'"),
    ],
)
def test_bad_input_is_told(arguments, options, error, words):
    with pytest.raises(error, match=words):
        least_squares(*arguments, **options)


def test_residuals_that_are_not_finite_are_located():
    def residual(y, args):
        return {"good": y, "bad": jnp.stack([y, jnp.log(y)])}

    with pytest.raises(RuntimeError, match=r"The first one is residual\['bad'\]\[1, 2\]"):
        least_squares(residual, None, jnp.array([1.0, 2.0, -1.0]))


def test_a_jacobian_that_is_not_finite_is_told():
    sol = least_squares(lambda y, args: jnp.sqrt(y) - 1.0, None, jnp.zeros(2), throw=False)
    assert sol.result == RESULTS.nonfinite_jacobian


def test_steps_into_the_undefined_are_rejected():
    sol = least_squares(lambda y, args: jnp.log(y) + 5.0, None, jnp.asarray(1.0))
    assert float(sol.value) == pytest.approx(np.exp(-5.0))


def test_fewer_residuals_than_parameters_is_said_once():
    def line(y, args):
        return y[0] + 2.0 * y[1] - 5.0

    with pytest.warns(UserWarning, match="1 residuals for 2 parameters"):
        sol = least_squares(line, None, jnp.zeros(2))
    np.testing.assert_allclose(sol.value, [2.5, 1.25], rtol=1e-6)  # nearest in the scale of the columns
    least_squares(line, None, jnp.ones(2))


def test_parameters_without_influence_stay_where_they_are():
    def residual(y, args):
        return jnp.concatenate([y[:2] ** 2 - 2.0, y[:2] - 1.0])

    for method in ("dense", "cholesky"):
        sol = least_squares(residual, LevenbergMarquardt(linear_solver=method), jnp.array([1.0, 2.0, 7.0]))
        np.testing.assert_allclose(sol.value[0], sol.value[1], rtol=1e-8)
        assert float(sol.value[2]) == 7.0


def test_a_wrong_derivative_stagnates_and_says_so():
    @jax.custom_jvp
    def wrong(x):
        return x**2 + 1.0

    wrong.defjvps(lambda t, _, x: -t)
    sol = least_squares(lambda y, args: wrong(y), None, jnp.ones(2), throw=False)
    assert sol.result != RESULTS.successful
