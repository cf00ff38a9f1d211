"""M(t, y) y' = f(t, y): order of ESDIRK methods in all components, a DAE, gradients, what is refused."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.ode import BDF, TRBDF2, KenCarp47, Kvaerno5, solve_ode
from tests.ode.problems import EXACT_STAGES, ROBERTSON_40, robertson

START = jnp.array([1.0, 1.0, 1.0])


def f(t, y, k):
    """u = e^-kt, v = u^2, w = u + sin t; the second and third equation are algebraic."""
    u, v, w = y
    return jnp.stack([-k * (1 + v) * (w - jnp.sin(t)), v - u**2, w - u - jnp.sin(t)])


def mass(t, y, k):
    """Depends on an algebraic component."""
    return jnp.diag(jnp.array([1.0, 0.0, 0.0])) * (1 + y[1])


def exact(t, k=1.0):
    u = np.exp(-k * t)
    return np.array([u, u**2, u + np.sin(t)])


@pytest.mark.parametrize(("method", "order"), [(Kvaerno5, 5), (KenCarp47, 4)])
def test_order_where_the_mass_matrix_depends_on_the_state(method, order):
    solver = method(root_finder=EXACT_STAGES, root_find_max_steps=60, mass=mass)

    @jax.jit
    def end(h):
        return dfx.diffeqsolve(dfx.ODETerm(f), solver, 0.0, 2.0, h, START, 1.0, adjoint=dfx.ForwardMode()).ys[0]

    errors = [np.abs(end(h) - exact(2.0)) for h in (0.25, 0.125)]
    assert np.all(np.log2(errors[0] / errors[1]) > order - 0.35)
    assert np.all(errors[1] < 4.0 ** (-2.5 * order))


def test_robertson_with_its_conservation_law_as_an_equation():
    def dae(t, y, args):
        return robertson(t, y, args).at[2].set(jnp.sum(y) - 1)

    y0 = jnp.array([1.0, 0.0, 0.0])
    options = {"mass": np.array([1.0, 1.0, 0.0]), "rtol": 1e-4, "atol": 1e-10}
    sol = solve_ode(dae, 0.0, 40.0, y0, solver=TRBDF2(), **options)
    assert np.max(np.abs(sol.ys[0] / ROBERTSON_40 - 1)) < 1e-3


@pytest.mark.parametrize("method", [KenCarp47, BDF])
def test_gradients_through_a_mass_matrix_that_depends_on_the_state(method):
    weights = jnp.array([1.0, 2.0, -3.0])

    def value(k):
        controller = dfx.PIDController(rtol=1e-7, atol=1e-9)
        solver = method(mass=lambda t, y, k: mass(t, y, k) * k)
        scaled = lambda t, y, k: f(t, y, k**2) * jnp.array([1.0, k, 1.0])  # noqa: E731
        options = {"stepsize_controller": controller, "max_steps": 256}
        return weights @ dfx.diffeqsolve(dfx.ODETerm(scaled), solver, 0.0, 1.0, 0.05, START, k, **options).ys[0]

    u = np.exp(-1.3)
    reverse = jax.jit(jax.grad(value))(1.3)
    np.testing.assert_allclose(reverse, weights @ jnp.array([-u, -2 * u**2, -u]), rtol=1e-5)


def test_a_split_right_hand_side_has_no_mass_matrix():
    terms = dfx.MultiTerm(dfx.ODETerm(f), dfx.ODETerm(f))
    with pytest.raises(ValueError, match="the sum of both parts as one"):
        dfx.diffeqsolve(terms, KenCarp47(root_finder=EXACT_STAGES, mass=mass), 0.0, 1.0, 0.1, START, 1.0)


def test_gradients_where_kept_factors_are_of_a_mass_matrix_of_long_ago():
    def end(k):
        changing = lambda t, y, k: jnp.diag(jnp.stack([1 + t, jnp.ones_like(t)]))  # noqa: E731
        rates = lambda t, y, k: jnp.stack([-k * y[0], -k])  # noqa: E731
        return jnp.sum(solve_ode(rates, 0.0, 1.0, jnp.ones(2), k, solver=BDF(mass=changing), rtol=1e-6).ys[0])

    exact_slope = -np.log(2.0) * 2.0**-1.2 - 1  # of (1 + t)^-k + 1 - k t
    np.testing.assert_allclose(jax.jit(jax.grad(end))(1.2), exact_slope, rtol=1e-5)
