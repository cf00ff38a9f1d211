"""The parts of Newton's method on their own: line search, convergence tests, tolerances."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from sparsesolve._tree import Structure
from sparsesolve.linear._resolution import resolved_rtol, two_norm
from sparsesolve.matrix import SparseMatrix
from sparsesolve.nonlinear import Backtracking
from sparsesolve.nonlinear._convergence import (
    at_rounding_floor,
    rounding_floor,
    scaled_step,
    solves_each_equation,
)

MANY = jnp.asarray(1000)


def _search(phi, **kwargs):
    return Backtracking(**kwargs).search(lambda t: (phi(t), {"t": t}), jnp.asarray(phi(0.0)), MANY)


def test_a_good_full_step_costs_one_evaluation():
    trial = _search(lambda t: jnp.abs(1.0 - t) + 0.1 * t)
    assert (float(trial.length), int(trial.num_evaluations), bool(trial.accepted)) == (1.0, 1, True)


def test_parabola_finds_its_minimum():
    # |F(t)|^2 = 1 - 2 t + 5 t^2 is a parabola with the slope of a Newton direction; its minimum is at 1/5.
    trial = _search(lambda t: jnp.sqrt(1 - 2 * t + 5 * t**2))
    np.testing.assert_allclose(trial.length, 0.2, rtol=1e-12)
    assert int(trial.num_evaluations) == 2 and float(trial.payload["t"]) == float(trial.length)


def test_nonfinite_values_quarter_the_step():
    trial = _search(lambda t: jnp.where(t > 0.1, jnp.nan, 1.0 - t))
    np.testing.assert_allclose(trial.length, 1 / 16, rtol=1e-15)


def test_giving_up():
    trial = _search(lambda t: 1.0 + t, max_evaluations=7)
    assert not bool(trial.accepted) and int(trial.num_evaluations) == 7
    nothing = Backtracking().search(lambda t: (t, None), jnp.asarray(1.0), jnp.asarray(0))
    assert int(nothing.num_evaluations) == 0 and not bool(nothing.accepted)


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.floats(1.0, 300.0))
def test_every_accepted_step_decreases(curvature):
    def phi(t):
        return jnp.sqrt((1 - t) ** 2 + curvature * t**4)

    trial = _search(phi)
    assert bool(trial.accepted) and float(phi(trial.length)) < 1.0


def test_two_norm_does_not_overflow():
    np.testing.assert_allclose(two_norm(jnp.array([3e200, 4e200])), 5e200, rtol=1e-15)
    np.testing.assert_allclose(two_norm(jnp.array([3e-200, 4e-200])), 5e-200, rtol=1e-15)
    assert float(two_norm(jnp.zeros(3))) == 0.0 and np.isnan(two_norm(jnp.array([jnp.nan, 1.0])))
    assert np.isinf(two_norm(jnp.array([jnp.inf, 1.0])))


def test_scaled_step_measures_by_leaf():
    def largest(tree):
        return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in tree]))

    step = (jnp.array([1e-3, 0.0]), jnp.array([1e3]))
    scale = (jnp.asarray(1.0), jnp.asarray(1e6))
    np.testing.assert_allclose(scaled_step(step, scale, 1e-3, 0.0, largest), 1.0)
    assert float(scaled_step((jnp.zeros(2),), (jnp.asarray(0.0),), 1e-3, 0.0, largest)) == 0.0


def test_rounding_floor_is_componentwise():
    matrix = SparseMatrix.from_dense(jnp.array([[1.0, -1.0], [0.0, 1e-10]]))
    floor = rounding_floor(matrix, jnp.array([1.0, 2.0]), 1e-16)
    np.testing.assert_allclose(floor, 2**0.5 * 1e-16 * np.array([3.0, 2e-10]))


@pytest.mark.parametrize(
    ("before", "after", "accepted", "expected"),
    [
        (0.9, 5.0, False, True),  # began within rounding
        (5.0, 4.0, True, True),  # near it, and no longer decreasing
        (5.0, 9.0, False, True),
        (5.0, 1.5, True, False),  # near it, but decreasing fast: one more step pays
        (1e6, 0.5, True, True),  # arrived
        (1e6, 0.5, False, False),
        (20.0, 19.0, True, False),
    ],
)
def test_floor_is_where_progress_ends(before, after, accepted, expected):
    one = jnp.ones(1)
    assert bool(at_rounding_floor(before * one, after * one, one, one, jnp.asarray(accepted))) is expected


def test_each_equation_counts():
    matrix = SparseMatrix.from_dense(jnp.array([[1.0, 0.0], [0.0, 1e-12]]))
    f = jnp.array([1.0, 1e-12])
    floor = jnp.full(2, 1e-17)
    assert bool(solves_each_equation(matrix, jnp.array([-1.0, -1.0]), f, floor))
    assert not bool(solves_each_equation(matrix, jnp.array([-1.0, 0.0]), f, floor))


def test_default_tolerance_follows_the_dtype():
    for dtype, eps in ((jnp.float32, 2.0**-23), (jnp.float64, 2.0**-52)):
        assert resolved_rtol(None, Structure.of(jnp.zeros(2, dtype))) == pytest.approx(eps ** (2 / 3))
    mixed = Structure.of((jnp.zeros(2), jnp.zeros(2, jnp.float32)))
    assert resolved_rtol(None, mixed) == pytest.approx(2.0 ** (-46 / 3))
