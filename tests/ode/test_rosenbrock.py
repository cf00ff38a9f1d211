"""Rosenbrock methods: coefficients against their order conditions, and the steps they make."""

import functools

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve import gallery
from sparsesolve.ode import ROS34PW2, Rodas5P, Rosenbrock23
from tests.ode.order_conditions import defects, density, trees, w_defects, weight


def test_there_are_as_many_trees_as_cayley_counted():
    assert [len(trees(k)) for k in range(1, 7)] == [1, 1, 2, 4, 9, 20]


def test_rodas5p_meets_its_order_conditions():
    alpha, gamma, b = Rodas5P.tableau.textbook()
    assert max(defects(b, alpha, gamma, 5)) < 1e-12
    assert defects(b, alpha, gamma, 6)[5] > 1e-4
    embedded = b - Rodas5P.tableau.error @ gamma
    assert max(defects(embedded, alpha, gamma, 4)) < 1e-12
    assert defects(embedded, alpha, gamma, 5)[4] > 1e-5
    np.testing.assert_allclose(alpha.sum(axis=1), Rodas5P.tableau.c, atol=1e-13)
    np.testing.assert_allclose(gamma.sum(axis=1), Rodas5P.tableau.g, atol=1e-12)
    np.testing.assert_allclose((alpha + gamma)[-1], b, atol=1e-13)  # stiffly accurate


def test_rosenbrock23_meets_its_order_conditions_with_any_matrix():
    alpha, gamma, b = Rosenbrock23.tableau.textbook()
    assert max(w_defects(b, alpha, gamma, 2)) < 1e-14
    assert defects(b, alpha, gamma, 3)[2] > 1e-2
    third = b + Rosenbrock23.tableau.error @ gamma
    assert max(defects(third, alpha, gamma, 3)) < 1e-14
    np.testing.assert_allclose(b, [0.0, 1.0, 0.0], atol=1e-14)


def test_ros34pw2_meets_its_order_conditions_with_any_matrix():
    tableau = ROS34PW2.tableau
    alpha, gamma, b = tableau.textbook()
    assert max(w_defects(b, alpha, gamma, 3)) < 1e-14
    assert defects(b, alpha, gamma, 4)[3] > 1e-3
    error = tableau.error @ gamma
    assert max(w_defects(b - error, alpha, gamma, 2)) < 1e-14
    np.testing.assert_allclose((alpha + gamma)[-1], b, atol=1e-14)  # stiffly accurate
    assert abs(growth(tableau, -1e9)) < 1e-8


@pytest.mark.parametrize(("method", "order"), [(Rodas5P, 4), (Rosenbrock23, 2), (ROS34PW2, 2)])
def test_dense_output_meets_order_conditions_inside_the_step(method, order):
    alpha, gamma, _ = method.tableau.textbook()
    for theta in (0.3, 0.8, 1.0):
        weights = (theta ** np.arange(1, len(method.tableau.dense) + 1)) @ method.tableau.dense @ gamma
        scaled = [
            max(abs(weights @ phi - theta**k / rho) for phi, rho in _weights(alpha, gamma, k))
            for k in range(1, order + 1)
        ]
        assert max(scaled) < 1e-12
    np.testing.assert_allclose(method.tableau.dense.sum(axis=0), method.tableau.m, atol=1e-13)


def _weights(alpha, gamma, order):
    return [(weight(tree, alpha, gamma), density(tree)) for tree in trees(order)]


def growth(tableau, z):
    """The stability function at `z`."""
    alpha, gamma, b = tableau.textbook()
    ones = np.ones(len(b))
    return 1 + z * b @ np.linalg.solve(np.eye(len(b)) - z * (alpha + gamma), ones)


@pytest.mark.parametrize("method", [Rodas5P, Rosenbrock23])
def test_stable_on_the_left_half_plane_and_damping_at_infinity(method):
    along = np.concatenate([1j * np.linspace(0.01, 60, 400), -np.logspace(-2, 6, 60)])
    assert max(abs(growth(method.tableau, z)) for z in along) <= 1 + 1e-12
    assert abs(growth(method.tableau, -1e9)) < 1e-6


def pendulum(t, y, args):
    """Smooth, nonlinear, driven by time."""
    return {"x": y["v"] * (1 + 0.1 * jnp.sin(3 * t)), "v": -args * jnp.sin(y["x"]) + jnp.cos(2 * t) * y["v"]}


START = {"x": jnp.asarray([0.3, 1.0]), "v": jnp.asarray([0.5, -0.2])}


AT = dfx.SaveAt(ts=jnp.asarray([0.777, 1.234]), t1=True)


@eqx.filter_jit
def fixed(solver, step):
    """With constant steps: two values inside and the end."""
    return dfx.diffeqsolve(
        dfx.ODETerm(pendulum), solver, 0.0, 2.0, step, START, 2.0, saveat=AT, stepsize_controller=dfx.ConstantStepSize()
    ).ys


@functools.cache
def reference():
    return fixed(Rodas5P(), jnp.asarray(2.0 / 800))


def distance(a, b):
    return max(jax.tree.leaves(jax.tree.map(lambda p, q: float(jnp.max(jnp.abs(p - q))), a, b)))


@pytest.mark.parametrize(
    ("solver", "order"), [(Rodas5P(), 5), (Rosenbrock23(max_jacobian_age=5), 2), (ROS34PW2(max_jacobian_age=5), 3)]
)
def test_order_of_convergence_with_time_in_the_equations(solver, order):
    tight, errors, inside = reference(), [], []
    for steps in (20, 40, 80):
        ys = fixed(solver, jnp.asarray(2.0 / steps))
        errors.append(distance(jax.tree.map(lambda y: y[-1], ys), jax.tree.map(lambda y: y[-1], tight)))
        inside.append(distance(ys, tight))
    rates = np.log2(np.asarray(errors[:-1]) / np.asarray(errors[1:]))
    assert abs(rates[-1] - order) < 0.35, (rates, errors)
    assert inside[-1] < inside[0] / 2.0 ** (2 * min(order, 4) - 1.5)


@pytest.mark.parametrize("method", [Rosenbrock23, ROS34PW2])
def test_estimates_do_not_hold_what_a_start_violates_algebraic_equations_by(method):
    """Otherwise no step would be short enough: y[1] = y[0] is off by 1e-3, and y[0] hardly moves."""

    def f(t, y, args):
        return jnp.stack([-y[0], y[0] - y[1]])

    terms, y0 = dfx.ODETerm(f), jnp.array([1.0, 1.001])
    solver = method(mass=np.diag([1.0, 0.0]))
    state = solver.init(terms, 0.0, 1e-8, y0, None)
    y1, error, *_ = solver.step(terms, jnp.asarray(0.0), jnp.asarray(1e-8), y0, None, state, False)
    assert jnp.max(jnp.abs(error)) < 1e-9 and abs(y1[1] - 1.0) < 1e-7


def solved(problem, solver, rtol, **options):
    controller = dfx.PIDController(rtol=rtol, atol=jnp.asarray(problem.scale) * rtol)
    if problem.jump_ts:
        controller = dfx.ClipStepSizeController(controller, jump_ts=jnp.asarray(problem.jump_ts))
    return dfx.diffeqsolve(
        dfx.ODETerm(problem.rhs), solver, problem.t0, problem.t1, None, problem.y0, problem.args,
        stepsize_controller=controller, max_steps=100_000, **options,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["hires", "rober"])
def test_counts_and_digits_of_kinetics(name):
    problem = getattr(gallery, name)()
    sol = solved(problem, Rodas5P(), 1e-6, saveat=dfx.SaveAt(t1=True, solver_state=True))
    assert problem.digits(sol.ys[0]) > 5
    counts = sol.solver_state.counts
    steps, rejected = int(sol.stats["num_steps"]), int(sol.stats["num_rejected_steps"])
    assert steps < {"hires": 280, "rober": 340}[name]
    assert int(counts["num_factorizations"]) == steps
    assert int(counts["num_jacobians"]) == steps - rejected  # a rejected step keeps its Jacobian
    assert int(counts["num_residuals"]) == int(counts["num_solves"]) == 8 * steps


def test_singular_mass_matrices():
    for name in ("chemical_akzo", "transistor_amplifier"):
        problem = getattr(gallery, name)()
        sol = solved(problem, Rodas5P(mass=problem.mass), 1e-4)
        assert problem.digits(sol.ys[0]) > 3


def test_a_kept_jacobian_saves_factorizations():
    problem = gallery.burgers(32)
    at = dfx.SaveAt(t1=True, solver_state=True)
    fresh = solved(problem, ROS34PW2(), 1e-4, saveat=at)
    kept = solved(problem, ROS34PW2(max_jacobian_age=20), 1e-4, saveat=at)
    assert distance(fresh.ys, kept.ys) < 1e-3
    a, b = fresh.solver_state.counts, kept.solver_state.counts
    assert int(b["num_jacobians"]) < int(a["num_jacobians"]) / 3
    assert int(b["num_factorizations"]) < int(a["num_factorizations"]) / 1.3


def test_a_mass_matrix_that_is_a_function_is_refused():
    with pytest.raises(TypeError, match="hold for constant matrices"):
        Rodas5P(mass=lambda t, y, args: jnp.eye(2))
