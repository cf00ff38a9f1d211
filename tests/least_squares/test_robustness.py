"""Published problems from afar, badly scaled, singular at the minimum, with regions where the model is not a number."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsesolve as ss
from sparsesolve.least_squares import RESULTS
from sparsesolve.least_squares.descent._descent import Model
from sparsesolve.least_squares.descent._undamped import gauss_newton_step
from sparsesolve.least_squares.linear_step._linear_base import Solved

CONCENTRATION = jnp.array([0.02, 0.02, 0.06, 0.06, 0.11, 0.11, 0.22, 0.22, 0.56, 0.56, 1.1, 1.1])
RATE = jnp.array([76.0, 47, 97, 107, 123, 139, 159, 152, 191, 201, 207, 200])
X = jnp.linspace(1.0, 10.0, 40)


def puromycin(y, args):
    """Bates and Watts, Nonlinear Regression Analysis, 1988, appendix A1.3 (treated), doi:10.1002/9780470316757."""
    return y[0] * CONCENTRATION / (y[1] + CONCENTRATION) - RATE


# Problems of J. J. More, B. S. Garbow, K. E. Hillstrom, ACM Trans. Math. Softw. 7 (1981) 17-41,
# doi:10.1145/355934.355936, with their numbers there.


def freudenstein_roth(y, args):
    inner = jnp.stack([(5.0 - y[1]) * y[1] - 2.0, (y[1] + 1.0) * y[1] - 14.0])
    return jnp.array([-13.0, -29.0]) + y[0] + inner * y[1]


def powell_badly_scaled(y, args):
    return jnp.stack([1e4 * y[0] * y[1] - 1.0, jnp.exp(-y[0]) + jnp.exp(-y[1]) - 1.0001])


def brown_badly_scaled(y, args):
    return jnp.stack([y[0] - 1e6, y[1] - 2e-6, y[0] * y[1] - 2.0])


def beale(y, args):
    return jnp.array([1.5, 2.25, 2.625]) - y[0] * (1.0 - y[1] ** jnp.arange(1, 4))


def powell_singular(y, args):
    ends = jnp.sqrt(10.0) * (y[0] - y[3]) ** 2
    return jnp.stack([y[0] + 10.0 * y[1], jnp.sqrt(5.0) * (y[2] - y[3]), (y[1] - 2.0 * y[2]) ** 2, ends])


def jennrich_sampson(y, args):
    i = jnp.arange(1.0, 11.0)
    return 2.0 + 2.0 * i - jnp.exp(i * y[0]) - jnp.exp(i * y[1])


@pytest.mark.parametrize("start", [[200.0, 0.05], [1e4, 1e-4], [1.0, 100.0], [1e-3, 1e3]])
def test_puromycin_has_its_published_errors(start):
    sol = ss.least_squares(puromycin, None, jnp.array(start))
    np.testing.assert_allclose(sol.value, [212.7, 0.06412], rtol=2e-4)
    np.testing.assert_allclose(ss.standard_errors(sol), [6.947, 0.008281], rtol=1e-4)
    assert 2 * float(sol.stats["cost"]) == pytest.approx(1195.449, rel=1e-6)


@pytest.mark.parametrize(
    ("residual", "start", "least"),
    [
        (freudenstein_roth, [0.5, -2.0], 48.98425),
        (freudenstein_roth, [50.0, -200.0], 48.98425),
        (jennrich_sampson, [0.3, 0.4], 124.36218),
        (powell_badly_scaled, [0.0, 1.0], 0.0),
        (brown_badly_scaled, [1.0, 1.0], 0.0),
        (brown_badly_scaled, [100.0, 100.0], 0.0),
        (beale, [100.0, 100.0], 0.0),
        (powell_singular, [300.0, -100.0, 0.0, 100.0], 0.0),
    ],
)
def test_published_minima_are_found_and_recognized(residual, start, least):
    """Also where the Jacobian is singular at a minimum with large residuals, where no step is short."""
    sol = ss.least_squares(residual, None, jnp.array(start))
    assert 2 * float(sol.stats["cost"]) == pytest.approx(least, rel=1e-6, abs=1e-20)


def test_units_of_parameters_do_not_matter():
    def decay(y, units):
        return 2.0 * units[2] * (y[0] / units[0] * jnp.exp(-y[1] / units[1] * X) - 3.0 * jnp.exp(-0.7 * X))

    plain = ss.least_squares(decay, None, jnp.array([1.0, 0.1]), jnp.ones(3))
    units = jnp.array([1e-10, 1e10, 1e6])
    scaled = ss.least_squares(decay, None, jnp.array([1.0, 0.1]) * units[:2], units)
    np.testing.assert_allclose(scaled.value / units[:2], [3.0, 0.7], rtol=1e-9)
    assert abs(int(scaled.stats["num_steps"]) - int(plain.stats["num_steps"])) <= 1


@pytest.mark.parametrize("start", [-5.0, 0.99])
def test_steps_to_where_the_model_is_no_number_are_taken_back(start):
    def logarithm(y, args):
        return y[0] * jnp.log(X - y[1]) - 3.0 * jnp.log(X - 0.9)

    sol = ss.least_squares(logarithm, None, jnp.array([1.0, start]))
    np.testing.assert_allclose(sol.value, [3.0, 0.9], rtol=1e-9)


def test_a_sum_of_squares_that_overflows_is_told_from_a_residual_that_is_no_number():
    sol = ss.least_squares(jennrich_sampson, None, jnp.array([30.0, 40.0]), throw=False)
    assert bool(sol.result == RESULTS.nonfinite_start)
    with pytest.raises(RuntimeError, match="finite at the initial guess y0, but the sum of its squares overflows"):
        ss.least_squares(jennrich_sampson, None, jnp.array([30.0, 40.0]))


@pytest.mark.parametrize("solver", [ss.LevenbergMarquardt(), ss.GaussNewton(), ss.Dogleg()], ids=["lm", "gn", "dogleg"])
def test_factors_do_not_slow_down_at_singular_minima(solver):
    """Undamped steps halve the error at a double root; the damping that factors need would stop them at 1e-7."""
    groups = jnp.tile(jnp.array([3.0, -1.0, 0.0, 1.0]), (25, 1))
    sol = ss.least_squares(lambda y, _: jax.vmap(powell_singular, (0, None))(y, None), solver, groups)
    assert int(sol.stats["nnz_factor"]) < 100**2 / 2  # sparse factors
    assert float(jnp.max(jnp.abs(sol.value))) < 1e-10
    assert int(sol.stats["num_steps"]) <= 60


class Breaking:
    """Factors that break down below a damping."""

    num_factorizations = 1

    def __init__(self, least):
        self.least = least

    def factor(self, prepared, shift):
        return shift

    def solve_lighter(self, prepared, factors, v, shift):
        return Solved(v / (1 + shift), jnp.all(factors >= self.least), jnp.asarray(0))


@pytest.mark.parametrize(
    ("least", "attempts", "good"), [(0.0, 1, True), (1e-5, 3, True), (1.0, 5, True), (9.0, 5, False)]
)
def test_a_factorization_that_breaks_down_is_tried_again_with_more_damping(least, attempts, good):
    residual = jnp.asarray([1.0, 2.0])
    lin = SimpleNamespace(residual=residual, gradient=residual)
    model = Model(lin, None, None, jnp.ones(2), jnp.asarray(True), None, None)
    found = gauss_newton_step(Breaking(least), model)
    assert (int(found.factorizations), bool(found.good)) == (attempts, good)
    np.testing.assert_allclose(found.step, -residual, rtol=1e-9 if least < 1e-5 else 0.6)
