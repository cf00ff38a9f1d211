"""Rosenbrock methods under vmap, grad, jvp, backward time, complex states, events and jumps; and for other devices."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

from sparsesolve.ode import Rodas5P, Rosenbrock23


def chain(t, y, args):
    """A stiff chain of six with a feed that depends on time."""
    flow = args["k"] * (jnp.roll(y, 1) - y)
    return flow - y**3 + args["feed"] * jnp.sin(t)


ARGS = {"k": jnp.asarray([1.0, 10.0, 100.0, 1e3, 10.0, 1.0]), "feed": jnp.asarray(0.5)}
Y0 = jnp.linspace(0.2, 1.0, 6)


def solve(y0, args, solver=None, rtol=1e-7, t0=0.0, t1=1.0, rhs=chain, **options):
    return dfx.diffeqsolve(
        dfx.ODETerm(rhs), Rodas5P() if solver is None else solver, t0, t1, None, y0, args,
        stepsize_controller=dfx.PIDController(rtol=rtol, atol=rtol), **options,
    )  # fmt: skip


def loss(args, y0):
    return jnp.sum(solve(y0, args).ys[0] ** 2)


def test_gradients_in_both_modes_agree_with_differences():
    value, grads = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(ARGS, Y0)
    compiled = jax.jit(loss)
    direction = {"k": ARGS["k"] * jnp.asarray([0.3, -0.2, 0.1, 0.4, -0.5, 0.2]), "feed": jnp.asarray(1.0)}
    eps = 1e-5
    shifted = [compiled(jax.tree.map(lambda a, d, s=s: a + s * eps * d, ARGS, direction), Y0) for s in (1, -1)]
    expected = (shifted[0] - shifted[1]) / (2 * eps)
    reverse = sum(jnp.vdot(grads[0][name], direction[name]) for name in ARGS)
    assert np.isfinite(value)
    np.testing.assert_allclose(reverse, expected, rtol=2e-6)
    forward = jax.jit(lambda: jax.jvp(lambda a: forward_loss(a), (ARGS,), (direction,))[1])()
    np.testing.assert_allclose(forward, reverse, rtol=1e-9)


def forward_loss(args):
    return jnp.sum(solve(Y0, args, adjoint=dfx.DirectAdjoint()).ys[0] ** 2)


def test_gradients_form_no_dense_matrix():
    n = 50

    def wide(args):
        y0 = jnp.linspace(0.2, 1.0, n)
        return jnp.sum(solve(y0, {"k": args, "feed": 0.5}, max_steps=16, rtol=1e-2).ys[0] ** 2)

    text = str(jax.make_jaxpr(jax.grad(wide))(jnp.ones(n)))
    assert f"{n},{n}]" not in text
    assert " lu[" not in text and "lu_pivots" not in text


def test_lanes_of_a_batch_step_by_themselves():
    many = {"k": jnp.outer(jnp.asarray([0.1, 1.0, 30.0]), ARGS["k"]), "feed": jnp.asarray([0.0, 0.5, 5.0])}
    batched = jax.jit(jax.vmap(lambda a: solve(Y0, a)))(many)
    single = jax.jit(lambda a: solve(Y0, a))
    for i in range(3):
        alone = single(jax.tree.map(lambda a, i=i: a[i], many))
        np.testing.assert_allclose(batched.ys[i], alone.ys, rtol=1e-10)
        assert int(batched.stats["num_steps"][i]) == int(alone.stats["num_steps"])
    assert len(set(batched.stats["num_steps"].tolist())) == 3


def test_backward_in_time_returns_to_the_start():
    rhs = lambda t, y, args: jnp.stack([y[1], -y[0] + 0.1 * jnp.sin(t)])  # noqa: E731
    start = jnp.asarray([1.0, 0.5])
    there = solve(start, None, rhs=rhs, t1=3.0).ys[0]
    back = solve(there, None, rhs=rhs, t0=3.0, t1=0.0).ys[0]
    np.testing.assert_allclose(back, start, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Complex dtype support in Diffrax")
@pytest.mark.parametrize("solver", [Rodas5P(), Rosenbrock23()])
def test_complex_states_that_are_not_holomorphic(solver):
    """Stuart and Landau's oscillator: the modulus tends to one, the phase turns."""
    rhs = lambda t, z, args: (args + 2j) * z - args * jnp.abs(z) ** 2 * z  # noqa: E731
    z = solve(jnp.asarray([0.1 + 0.2j]), 50.0, solver, rtol=1e-5, rhs=rhs, t1=1.5).ys[0]
    expected = np.exp(1j * (np.angle(0.1 + 0.2j) + 3.0))
    np.testing.assert_allclose(z, [expected], atol=2e-4)


def test_events_are_found_inside_steps():
    event = dfx.Event(lambda t, y, args, **_: y[0] - 0.5, optx.Newton(1e-8, 1e-8))
    sol = solve(jnp.asarray([1.0]), None, rhs=lambda t, y, a: -2000.0 * (y - jnp.cos(t)), t1=3.0, event=event)
    assert abs(float(sol.ts[0]) - np.pi / 3) < 1e-3
    assert bool(sol.event_mask)


@pytest.mark.parametrize("solver", [Rodas5P(), Rosenbrock23()])
def test_jumps_restart_cleanly(solver):
    rhs = lambda t, y, args: -50.0 * (y - jnp.where(t < 1.0, 0.0, 1.0))  # noqa: E731
    controller = dfx.ClipStepSizeController(dfx.PIDController(rtol=1e-4, atol=1e-6), jump_ts=jnp.asarray([1.0]))
    sol = dfx.diffeqsolve(
        dfx.ODETerm(rhs), solver, 0.0, 1.1, None, jnp.ones(1), stepsize_controller=controller,
        saveat=dfx.SaveAt(ts=jnp.asarray([0.9999, 1.05, 1.1])),
    )  # fmt: skip
    np.testing.assert_allclose(sol.ys[:, 0], [0.0, 1 - np.exp(-2.5), 1 - np.exp(-5.0)], atol=1e-3)


def test_failing_lanes_do_not_disturb_the_others():
    rhs = lambda t, y, args: args * y**2  # noqa: E731

    @jax.jit
    @jax.vmap
    def run(a):
        sol = solve(jnp.ones(1), a, rhs=rhs, throw=False, max_steps=300)
        return sol.ys[0, 0], sol.result == dfx.RESULTS.successful

    ends, successful = run(jnp.asarray([0.5, 2.0, -1.0]))  # the second blows up at t = 1/2
    np.testing.assert_allclose(ends[np.asarray([0, 2])], [2.0, 0.5], rtol=1e-5)
    assert successful.tolist() == [True, False, True]


def test_lowers_for_other_devices():
    traced = jax.jit(lambda a: solve(Y0, a, throw=False).ys).trace(ARGS)
    assert "func" in traced.lower(lowering_platforms=("cuda",)).as_text()
