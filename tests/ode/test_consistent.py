"""Consistent initial values of index-1 systems."""

import jax.numpy as jnp
import numpy as np
import pytest

import sparsesolve as ss
from sparsesolve import gallery
from sparsesolve.ode import BDF, RadauIIA5, consistent_start


def test_algebraic_component_is_found_and_reported():
    problem = gallery.chemical_akzo()
    wrong = problem.y0.at[5].set(0.0)
    y, report = consistent_start(problem.rhs, 0.0, wrong, problem.args, mass=problem.mass)
    np.testing.assert_allclose(y, problem.y0, rtol=1e-12)
    np.testing.assert_array_equal(y[:5], wrong[:5])
    assert report.startswith("[5] changed from 0 to 0.3")


def test_consistent_values_stay():
    problem = gallery.transistor_amplifier()
    y, report = consistent_start(problem.rhs, 0.0, problem.y0, problem.args, mass=problem.mass)
    np.testing.assert_allclose(y, problem.y0, atol=1e-12)
    assert report == "the initial values were consistent"


def test_impossible_equations_are_refused():
    def f(t, y, args):
        return jnp.stack([-y[0], y[1] ** 2 + 1.0])

    with pytest.raises(ValueError, match="closer guess"):
        consistent_start(f, 0.0, jnp.array([1.0, 0.3]), mass=np.diag([1.0, 0.0]))


def test_solve_ode_takes_higher_index_where_it_is_told():
    def f(t, y, args):
        u, v, z = y
        return jnp.stack([u * v**2 * z**2, u**2 * v**2 - 3 * v**2 * z, u**2 * v - 1])

    mass = np.diag([1.0, 1.0, 0.0])
    with pytest.raises(ValueError, match=r"RadauIIA5\(index="):
        ss.solve_ode(f, 0.0, 1.0, jnp.ones(3), solver=BDF(), mass=mass)
    solver = RadauIIA5(index=jnp.array([1, 1, 2]))
    sol = ss.solve_ode(f, 0.0, 1.0, jnp.ones(3), solver=solver, mass=mass, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(sol.ys[0, :2], np.exp([1.0, -2.0]), rtol=1e-4)
