"""BDF: orders, counts, accuracy, dense output, life inside diffrax."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
import scipy.linalg

from sparsesolve.ode import BDF, StiffController

TIGHT = dfx.VeryChord(rtol=1e-12, atol=1e-14, norm=optx.rms_norm)


def oscillator(t, y, args):
    """y = (cos t, -sin t), with a stiff third component that follows cos t."""
    return jnp.stack([y[1], -y[0], -100.0 * (y[2] - jnp.cos(t)) - jnp.sin(t)])


def exact(t):
    return np.stack([np.cos(t), -np.sin(t), np.cos(t)], axis=-1)


def solve(f, y0, t1, rtol, *, solver=None, t0=0.0, saveat=None, controller=None, args=None, **kwargs):
    controller = StiffController(rtol, 1e-2 * rtol) if controller is None else controller
    return dfx.diffeqsolve(
        dfx.ODETerm(f),
        BDF() if solver is None else solver,
        t0,
        t1,
        None,
        y0,
        args,
        stepsize_controller=controller,
        saveat=dfx.SaveAt(t1=True, solver_state=True) if saveat is None else saveat,
        max_steps=20_000,
        **kwargs,
    )


@pytest.mark.parametrize("order", [1, 2, 5])
def test_order_of_convergence(order):
    # Fixed step, fixed order, exact history: the error falls like h^order.
    solver = BDF(min_order=order, max_order=order, root_finder=TIGHT)
    y0 = jnp.asarray(exact(0.0))
    binomials = scipy.linalg.pascal(8, kind="lower") * (-1.0) ** np.arange(8)

    @jax.jit
    def end(h, state):
        save = dfx.SaveAt(t1=True, solver_state=True)
        return dfx.diffeqsolve(dfx.ODETerm(oscillator), solver, 0.0, 2.0, h, y0, solver_state=state, saveat=save)

    template = eqx.filter_jit(end)(2.0, None).solver_state

    def error(steps):
        h = 2.0 / steps
        differences = binomials @ exact(-h * np.arange(8))
        history = jnp.asarray(differences), jnp.asarray(order, jnp.int32), jnp.asarray(h)
        state = eqx.tree_at(lambda s: (s.differences, s.order, s.step), template, history)
        return np.max(np.abs(end(h, state).ys[0] - exact(2.0)))

    coarse, fine = error(50), error(100)
    assert order - 0.25 < np.log2(coarse / fine) < order + 0.6


def test_order_climbs_to_five():
    sol = solve(oscillator, jnp.asarray(exact(0.0)), 20.0, 1e-8)
    assert int(sol.solver_state.order) == 5
    assert np.max(np.abs(sol.ys[0] - exact(20.0))) < 1e-6


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
def test_error_follows_tolerance(rtol):
    sol = solve(oscillator, jnp.asarray(exact(0.0)), 10.0, rtol)
    assert np.max(np.abs(sol.ys[0] - exact(10.0))) < 10 * rtol


def test_few_factorizations_and_jacobians():
    sol = solve(oscillator, jnp.asarray(exact(0.0)), 20.0, 1e-6)
    counts = sol.solver_state.counts
    steps = int(sol.stats["num_steps"])
    assert int(counts["num_jacobians"]) <= 2
    assert int(counts["num_factorizations"]) <= steps // 8
    assert int(counts["num_residuals"]) <= 2 * steps
    assert int(counts["num_newton_failures"]) == 0


def test_work_of_rejected_steps_is_counted():
    # The right-hand side jumps without a warning: steps across the jump are rejected.
    def f(t, y, args):
        return jnp.where(t < 1.0, 1.0, -50.0) - y

    sol = solve(f, jnp.zeros(2), 2.0, 1e-6)
    assert int(sol.stats["num_rejected_steps"]) >= 3
    assert int(sol.solver_state.counts["num_residuals"]) >= int(sol.stats["num_steps"])
    expected = -50.0 + (1 - np.exp(-1.0) + 50.0) * np.exp(-1.0)
    assert np.max(np.abs(sol.ys[0] - expected)) < 1e-4


def test_dense_output_between_steps():
    ts = np.linspace(0.0, 10.0, 301)
    sol = solve(oscillator, jnp.asarray(exact(0.0)), 10.0, 1e-8, saveat=dfx.SaveAt(ts=ts, dense=True))
    assert np.max(np.abs(sol.ys - exact(ts))) < 1e-6
    between = 0.5 * (ts[1:] + ts[:-1])
    values = jax.vmap(sol.evaluate)(between)
    assert np.max(np.abs(values - exact(between))) < 1e-6


def test_plain_pid_controller():
    sol = solve(oscillator, jnp.asarray(exact(0.0)), 10.0, 1e-6, controller=dfx.PIDController(rtol=1e-6, atol=1e-8))
    ours = solve(oscillator, jnp.asarray(exact(0.0)), 10.0, 1e-6)
    assert np.max(np.abs(sol.ys[0] - exact(10.0))) < 1e-5
    assert int(sol.stats["num_steps"]) <= 1.5 * int(ours.stats["num_steps"])


def test_backward_in_time():
    def f(t, y, args):
        return 100.0 * (y - jnp.cos(t)) - jnp.sin(t)

    sol = solve(f, jnp.cos(jnp.array([3.0])), 0.0, 1e-7, t0=3.0)
    assert abs(float(sol.ys[0, 0]) - 1.0) < 1e-6


def test_jump_restarts_at_order_one():
    def f(t, y, args):
        return jnp.where(t < 1.0, 1.0, -50.0) - y

    controller = dfx.ClipStepSizeController(StiffController(1e-6, 1e-8), jump_ts=[1.0])
    sol = solve(f, jnp.zeros(2), 2.0, 1e-6, controller=controller)
    expected = -50.0 + (1 - np.exp(-1.0) + 50.0) * np.exp(-1.0)
    assert np.max(np.abs(sol.ys[0] - expected)) < 1e-5


def test_a_jump_costs_one_rejected_step():
    def f(t, y, args):
        level = jnp.where(t < 1.0, 1.0, -50.0) * jnp.cos(t)
        return jnp.stack([y[1], -y[0], -1e4 * (y[2] - level)])

    controller = dfx.ClipStepSizeController(StiffController(1e-6, 1e-8), jump_ts=[1.0])

    def attempts(t1, most):
        y0 = jnp.array([1.0, 0.0, 1.0])
        sol = dfx.diffeqsolve(
            dfx.ODETerm(f), BDF(), 0.0, t1, None, y0, stepsize_controller=controller, max_steps=most, throw=False
        )
        return int(sol.stats["num_steps"]), int(sol.stats["num_rejected_steps"])

    steps, before = attempts(1.0 - 1e-12, 1000)
    _, after = attempts(2.0, steps + 8)
    assert after - before <= 1


def test_event_on_a_stiff_problem():
    event = dfx.Event(lambda t, y, args, **kwargs: y[0] - 0.5, optx.Newton(1e-10, 1e-10))
    sol = solve(oscillator, jnp.asarray(exact(0.0)), 10.0, 1e-8, event=event)
    assert abs(float(sol.ts[0]) - np.pi / 3) < 1e-6


def test_pytrees_args_and_complex_states():
    def f(t, y, args):
        return {"a": 1j * args["w"] * y["a"], "b": -1000.0 * (y["b"] - jnp.real(y["a"]))}

    y0 = {"a": jnp.asarray([1.0 + 0j]), "b": jnp.asarray([1.0])}
    with pytest.warns(UserWarning, match="Complex dtype"):
        sol = solve(f, y0, 1.0, 1e-7, args={"w": 2.0})
    assert abs(complex(sol.ys["a"][0, 0]) - np.exp(2j)) < 1e-6


def test_float32():
    with jax.enable_x64(False):
        y0 = jnp.asarray(exact(0.0), jnp.float32)
        sol = solve(oscillator, y0, 5.0, 1e-4)
        assert sol.ys.dtype == jnp.float32
        assert np.max(np.abs(sol.ys[0] - exact(5.0))) < 1e-3


def test_lanes_step_independently():
    def f(t, y, k):
        return -k * (y - jnp.cos(t))

    rates = jnp.array([1.0, 1e2, 1e4])

    def end(k):
        sol = solve(f, jnp.zeros(2), 2.0, 1e-6, args=k)
        return sol.ys[0], sol.stats["num_steps"]

    batch = jax.jit(jax.vmap(end))
    together, steps = batch(rates)
    for lane in range(3):  # among its like, in the same program: rounding is the same too
        alone, number = batch(jnp.full(3, rates[lane]))
        assert steps[lane] == number[lane]
        np.testing.assert_array_equal(together[lane], alone[lane])
    assert steps[0] < steps[2]


@eqx.filter_jit
def end_value(p, adjoint):
    def f(t, y, p):
        slow, fast = p[0] * y[0] - 1e4 * y[1] * y[2], p[1] * y[1] ** 2
        return jnp.stack([-slow, slow - fast, fast])

    y0 = jnp.array([1.0, 0.0, 0.0]) * p[2]
    controller = StiffController(1e-9, 1e-13)
    sol = dfx.diffeqsolve(
        dfx.ODETerm(f), BDF(), 0.0, 10.0, 1e-4, y0, p, stepsize_controller=controller, adjoint=adjoint
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


def test_bad_orders_are_refused():
    with pytest.raises(ValueError, match="orders run from 1 to 5"):
        BDF(max_order=6)


@pytest.mark.parametrize("p", [0.1, 0.3, 2.0])
def test_a_dae_starts_again_after_a_jump(p):
    # What the last step left of the algebraic residual must not grow with the slope of the new start.
    def f(t, y, p):
        return jnp.stack([(t > 0.5) - p * y[0], y[1] - p * y[0] ** 2])

    controller = dfx.ClipStepSizeController(StiffController(1e-8, 1e-10), jump_ts=[0.5])
    mass = np.diag([1.0, 0.0])
    sol = solve(f, jnp.array([1.0, p]), 1.0, 1e-8, solver=BDF(mass=mass), controller=controller, args=p)
    u = np.exp(-p) + (1 - np.exp(-p / 2)) / p
    np.testing.assert_allclose(sol.ys[0], [u, p * u**2], rtol=1e-7)
    assert sol.stats["num_rejected_steps"] <= 6
