"""RadauIIA5: order, accuracy, DAEs of index 1 to 3, dense output, gradients."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

from sparsesolve import gallery
from sparsesolve.ode import BDF, RadauIIA5, StiffController
from sparsesolve.ode.runge_kutta._radau5 import RADAU5


def solve(f, solver, y0, t1, rtol, atol, *, saveat=None, args=None, controller=None, **kwargs):
    controller = StiffController(rtol, atol) if controller is None else controller
    saveat = dfx.SaveAt(t1=True, solver_state=True) if saveat is None else saveat
    term = dfx.ODETerm(f)
    return dfx.diffeqsolve(
        term, solver, 0.0, t1, None, y0, args, stepsize_controller=controller, saveat=saveat, max_steps=40_000, **kwargs
    )


def end_of(problem, solver, rtol):
    atol = jax.tree.map(lambda size: jnp.asarray(size) * rtol, problem.scale)
    sol = solve(problem.rhs, solver, problem.y0, problem.t1, rtol, atol, args=problem.args)
    return jax.tree.map(lambda leaf: leaf[0], sol.ys), sol


def test_table_of_three_stages():
    s6 = 6.0**0.5
    a = [
        [(88 - 7 * s6) / 360, (296 - 169 * s6) / 1800, (-2 + 3 * s6) / 225],
        [(296 + 169 * s6) / 1800, (88 + 7 * s6) / 360, (-2 - 3 * s6) / 225],
        [(16 - s6) / 36, (16 + s6) / 36, 1 / 9],
    ]
    np.testing.assert_allclose(RADAU5.inverse @ a, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(RADAU5.real, 3 + 3 ** (2 / 3) - 3 ** (1 / 3), rtol=1e-14)
    np.testing.assert_allclose(RADAU5.error, np.array([-13 - 7 * s6, -13 + 7 * s6, -1.0]) / 3, rtol=1e-14)
    nu = RADAU5.pairs[0]
    block = [[RADAU5.real, 0, 0], [0, nu.real, -nu.imag], [0, nu.imag, nu.real]]
    np.testing.assert_allclose(RADAU5.transform_inverse @ RADAU5.inverse @ RADAU5.transform, block, atol=1e-12)


def test_order_five_at_the_end_and_order_four_between_steps():
    # Two different slopes, neither stiff: fixed steps show the classical order.
    def f(t, y, args):
        return jnp.stack([y[1], -y[0]]) * jnp.cos(t)

    root_finder = dfx.VeryChord(rtol=1e-13, atol=1e-14, norm=optx.rms_norm)
    ts = np.linspace(0.0, 2.0, 401)
    exact = np.stack([np.cos(np.sin(ts)), -np.sin(np.sin(ts))], axis=1)

    @jax.jit
    def errors(h):
        y0, at = jnp.array([1.0, 0.0]), dfx.SaveAt(ts=ts)
        sol = dfx.diffeqsolve(dfx.ODETerm(f), RadauIIA5(root_finder=root_finder), 0.0, 2.0, h, y0, saveat=at)
        return jnp.max(jnp.abs(sol.ys - exact), axis=1)

    coarse, fine = errors(0.2), errors(0.1)
    assert 4.7 < np.log2(coarse[-1] / fine[-1]) < 5.4
    assert 3.6 < np.log2(coarse.max() / fine.max()) < 4.6


@pytest.mark.parametrize("rtol", [1e-4, 1e-7])
@pytest.mark.parametrize("solver", [BDF, RadauIIA5])
@pytest.mark.parametrize("name", ["transistor_amplifier", "chemical_akzo"])
def test_differential_algebraic_systems(name, solver, rtol):
    problem = getattr(gallery, name)()
    y, sol = end_of(problem, solver(mass=problem.mass), rtol)
    assert problem.digits(y) >= -np.log10(rtol) - 1
    assert sol.stats["num_rejected_steps"] < 0.2 * sol.stats["num_steps"]


@pytest.mark.parametrize("rtol", [1e-6])
def test_index_two(rtol):
    # Ascher and Petzold's kind: u = e^t, v = e^-2t, z = e^2t.
    def f(t, y, args):
        u, v, z = y
        return jnp.stack([u * v**2 * z**2, u**2 * v**2 - 3 * v**2 * z, u**2 * v - 1])

    solver = RadauIIA5(mass=np.diag([1.0, 1.0, 0.0]), index=jnp.array([1, 1, 2]))
    sol = solve(f, solver, jnp.ones(3), 1.0, rtol, rtol)
    error = np.abs(sol.ys[0] - np.exp([1.0, -2.0, 2.0]))
    assert np.all(error[:2] < 10 * rtol)
    assert error[2] < 1000 * rtol  # one power of h is lost there, of whatever the last step is: 20 to 900 times


def test_an_index_above_three_is_refused():
    with pytest.raises(ValueError, match="of index 3 or less"):
        RadauIIA5(index=jnp.array([1, 2, 4]))


def test_pendulum_of_index_three():
    def f(t, y, args):
        x, z, u, v, tension = y
        return jnp.stack([u, v, -tension * x, -tension * z - 9.81, x**2 + z**2 - 1])

    def angle(t, y, args):
        return jnp.stack([y[1], -9.81 * jnp.sin(y[0])])

    solver = RadauIIA5(mass=np.diag([1.0, 1.0, 1.0, 1.0, 0.0]), index=jnp.array([1, 1, 2, 2, 3]))
    sol = solve(f, solver, jnp.array([1.0, 0.0, 0.0, 0.0, 0.0]), 2.0, 1e-7, 1e-7)
    reference = solve(angle, RadauIIA5(), jnp.array([np.pi / 2, 0.0]), 2.0, 1e-10, 1e-10).ys[0, 0]
    assert np.max(np.abs(sol.ys[0, :2] - np.array([np.sin(reference), -np.cos(reference)]))) < 1e-5
    assert abs(np.sum(sol.ys[0, :2] ** 2) - 1) < 1e-7


def test_dense_output_and_few_jacobians():
    def f(t, y, args):
        return jnp.stack([y[1], -y[0], -100.0 * (y[2] - y[0]) + y[1]])

    ts = np.linspace(0.0, 5.0, 101)
    sol = solve(f, RadauIIA5(), jnp.array([1.0, 0, 1]), 5.0, 1e-8, 1e-8, saveat=dfx.SaveAt(ts=ts, solver_state=True))
    assert np.max(np.abs(sol.ys - np.stack([np.cos(ts), -np.sin(ts), np.cos(ts)], 1))) < 2e-6
    assert int(sol.solver_state.counts["num_jacobians"]) <= 3


def test_plain_pid_controller():
    problem = gallery.hires()
    sol = solve(
        problem.rhs,
        RadauIIA5(),
        problem.y0,
        problem.t1,
        0,
        0,
        args=problem.args,
        controller=dfx.PIDController(rtol=1e-6, atol=1e-10),
    )
    assert problem.digits(sol.ys[0]) >= 5


@eqx.filter_jit
def end_value(p, adjoint):
    def f(t, y, p):
        slow, fast = p[0] * y[0] - 1e4 * y[1] * y[2], p[1] * y[1] ** 2
        return jnp.stack([-slow, slow - fast, fast])

    y0 = jnp.array([1.0, 0.0, 0.0]) * p[2]
    controller = StiffController(1e-9, 1e-12)
    sol = dfx.diffeqsolve(
        dfx.ODETerm(f), RadauIIA5(), 0.0, 10.0, 1e-4, y0, p, stepsize_controller=controller, adjoint=adjoint
    )
    return sol.ys[0, 0]


def test_gradients_agree_with_differences():
    p, v = jnp.array([0.04, 3e7, 1.0]), jnp.array([0.01, -2e7, 0.5])
    plain = dfx.RecursiveCheckpointAdjoint()
    difference = (end_value(p + 1e-4 * v, plain) - end_value(p - 1e-4 * v, plain)) / 2e-4
    reverse = eqx.filter_jit(jax.grad(end_value))(p, plain)
    _, forward = eqx.filter_jit(lambda q, w: jax.jvp(lambda r: end_value(r, dfx.ForwardMode()), (q,), (w,)))(p, v)
    np.testing.assert_allclose(reverse @ v, difference, rtol=1e-5)
    np.testing.assert_allclose(forward, reverse @ v, rtol=1e-8)
