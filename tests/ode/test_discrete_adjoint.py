"""Derivatives by sweeps over recorded steps: against diffrax's adjoint, differences and each other; what they cost."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from sparsesolve.ode import BDF, DiscreteAdjoint, solve_ode
from sparsesolve.ode.adjoint import _tape
from tests.ode.jaxprs import assert_sparse


def rober(t, y, k):
    a, b, c = k[0] * y[0], k[1] * y[1] ** 2, k[2] * 1e4 * y[1] * y[2]
    return jnp.stack([-a + c, a - b - c + 1e-4 * jnp.sin(t), b])


def observed(y0, k, t0, t1, ts, adjoint):
    """Something of the end, of times between seen by a function, and of all steps."""
    saveat = dfx.SaveAt(
        subs=[
            dfx.SubSaveAt(t0=True, t1=True),
            dfx.SubSaveAt(ts=ts, fn=lambda t, y, a: (y * a * t)[:2]),
            dfx.SubSaveAt(ts=ts[:2]),
        ]
    )
    sol = solve_ode(
        rober, t0, t1, y0, k, solver=BDF(), rtol=1e-7, atol=1e-10, adjoint=adjoint, saveat=saveat, max_steps=2000
    )
    first, second, third = sol.ys
    return jnp.sum(first**2) + jnp.sum(jnp.sin(second)) + jnp.sum(third[..., 0] * third[..., 2])


ARGUMENTS = (jnp.array([1.0, 0.0, 0.0]), jnp.array([0.04, 3e7, 1.0]), 0.1, 40.0, jnp.array([0.3, 0.31, 5.0]))


@pytest.fixture(scope="module")
def reverse():
    return eqx.filter_jit(jax.grad(observed, (0, 1, 2, 3, 4)))(*ARGUMENTS, DiscreteAdjoint())


def gradient_by_tangents(f):
    """diffrax's: forward mode compiles in a fraction of the time that its reverse mode takes."""

    def gradient(*at):
        flat, unravel = ravel_pytree(at)
        one = lambda v: jax.jvp(lambda x: f(*unravel(x)), (flat,), (v,))[1]  # noqa: E731
        return unravel(jax.vmap(one)(jnp.eye(flat.size)))

    return jax.jit(gradient)


def test_gradients_agree_with_those_of_diffrax(reverse):
    old = gradient_by_tangents(lambda *at: observed(*at, dfx.ForwardMode()))(*ARGUMENTS)
    for ours, theirs in zip(reverse, old, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=3e-4, atol=2e-6 * float(jnp.max(jnp.abs(theirs))))


def test_forward_mode_is_the_transpose_of_reverse_mode(reverse):
    along = (jnp.array([0.3, 0.01, -0.2]), jnp.array([0.01, -2e7, 0.5]), 0.1, -3.0, jnp.array([0.01, -0.02, 0.3]))
    _, forward = eqx.filter_jit(
        lambda *dots: jax.jvp(lambda *a: observed(*a, DiscreteAdjoint()), ARGUMENTS, dots)
    )(*along)  # fmt: skip
    np.testing.assert_allclose(forward, sum(jnp.vdot(a, b) for a, b in zip(reverse, along, strict=True)), rtol=3e-6)


def test_jumps_and_a_singular_mass_matrix():
    def pendulum_like(t, y, p):  # y0' = -p y0 + switched, 0 = y1 - y0^2
        return jnp.stack([-p * y[0] + jnp.where(t > 0.5, 1.0, 0.0), y[1] - p * y[0] ** 2])

    def end(p, start):
        y0 = jnp.stack([start, p * start**2])
        sol = solve_ode(
            pendulum_like, 0.0, 1.0, y0, p, solver=BDF(), mass=np.array([1.0, 0.0]), jump_ts=[0.5],
            rtol=1e-8, atol=1e-10, adjoint=DiscreteAdjoint(), max_steps=500,
        )  # fmt: skip
        return sol.ys[0, 1]

    def exact(p, start):
        y = start * jnp.exp(-p) + (1 - jnp.exp(-0.5 * p)) / p
        return p * y**2

    ours = jax.jit(jax.value_and_grad(end, (0, 1)))(2.0, 1.5)
    right = jax.value_and_grad(exact, (0, 1))(2.0, 1.5)
    np.testing.assert_allclose(jax.tree.leaves(ours), jax.tree.leaves(right), rtol=1e-5)


def heat(t, y, p):
    u = jnp.pad(y["u"], 1)
    return {"u": 900.0 * p["k"] * (u[2:] - 2 * u[1:-1] + u[:-2]) - p["table"][p["where"]] * y["u"] ** 3}


def heat_loss(p, y0, adjoint=None, **options):
    sol = solve_ode(heat, 0.0, 0.05, y0, p, solver=BDF(), rtol=1e-5, atol=1e-7, adjoint=adjoint, **options)
    return jnp.sum(sol.ys["u"][-1] ** 2)


N, TABLE = 40, 100_000
P = {"k": jnp.float64(1.0), "table": jnp.linspace(1.0, 2.0, TABLE), "where": jnp.arange(N, dtype=jnp.uint32) * 977}
U0 = {"u": jnp.sin(jnp.pi * jnp.arange(1, N + 1) / (N + 1))}


def moving(p):
    return {"k": p["k"], "table": p["table"]}


def test_nothing_dense_and_no_table_in_a_step():
    n = 300  # so many that no front of a factorization holds all
    p = {**P, "where": jnp.arange(n, dtype=jnp.uint32) * 97}
    y0 = {"u": jnp.sin(jnp.pi * jnp.arange(1, n + 1) / (n + 1))}
    closed = jax.make_jaxpr(jax.grad(lambda q, y: heat_loss({**p, **q}, y), (0, 1)))(moving(p), y0)
    assert_sparse(closed.jaxpr, n, TABLE)


@pytest.fixture(scope="module")
def exact():
    """diffrax's gradients by the rate, the entries of the table that are read, and the start, for two rates."""

    def f(k, read, u):
        table = P["table"].at[P["where"]].set(read)
        return heat_loss({**P, "k": k, "table": table}, {"u": u}, dfx.ForwardMode())

    gradient = gradient_by_tangents(f)
    return [gradient(k, P["table"][P["where"]], U0["u"]) for k in (1.0, 0.5)]


def test_gradients_by_a_table_in_a_batch(exact):
    gradient = jax.jit(jax.vmap(jax.grad(lambda k, q: heat_loss({**P, "k": k, "table": q}, U0), (0, 1)), (0, None)))
    ours_k, ours = gradient(jnp.array([1.0, 0.5]), P["table"])
    for lane in range(2):
        theirs_k, theirs, _ = exact[lane]
        np.testing.assert_allclose(ours_k[lane], theirs_k, rtol=1e-6)
        whole = jnp.zeros(TABLE).at[P["where"]].set(theirs)
        np.testing.assert_allclose(ours[lane], whole, rtol=1e-5, atol=1e-7 * float(jnp.max(jnp.abs(theirs))))


def test_states_of_all_steps_in_single_precision():
    with jax.enable_x64(False):

        def last(k):
            sol = dfx.diffeqsolve(
                dfx.ODETerm(lambda t, y, k: -k * y), BDF(), 0.0, 1.0, None, jnp.ones(1), k, adjoint=DiscreteAdjoint(),
                stepsize_controller=dfx.PIDController(rtol=1e-4, atol=1e-6), saveat=dfx.SaveAt(steps=True),
                max_steps=200,
            )  # fmt: skip
            return sol.ys[sol.stats["num_accepted_steps"] - 1, 0]

        found = jax.jit(jax.grad(last))(jnp.float32(2.0))
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, -np.exp(-2.0), rtol=2e-3)


def test_long_integrations_are_made_again_piece_by_piece(monkeypatch, exact):
    monkeypatch.setattr(_tape, "MEMORY", 1)
    monkeypatch.setattr(_tape, "LEAST_SLOTS", 4)  # of 60 steps: histories are dropped

    loss = lambda k, y: heat_loss({**P, "k": k}, y, DiscreteAdjoint(3), max_steps=100)  # noqa: E731
    by_k, by_start = jax.jit(jax.grad(loss, (0, 1)))(1.0, U0)
    for ours, theirs in ((by_k, exact[0][0]), (by_start["u"], exact[0][2])):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize(("slots", "rows", "steps"), [(4, 1, 37), (16, 3, 500), (2, 5, 100)])
def test_histories_are_where_they_are_sought(slots, rows, steps):
    room, kept = _tape.Room(steps, rows, slots), {}
    level, slot = jax.jit(room.level), jax.jit(room.slot)
    for last in range(-(-steps // rows)):
        every = 2 ** int(level(last))
        if last % every == 0:
            kept[int(slot(last))] = last
        assert all(kept[int(slot(k))] == k for k in range(0, last + 1, every))
        assert len(kept) <= slots


def test_second_derivatives_are_refused():
    with pytest.raises(Exception, match="first derivatives only"):
        jax.jacfwd(jax.grad(lambda k: heat_loss({**P, "k": k}, U0)))(1.0)


def decay(adjoint, **options):
    return dfx.diffeqsolve(
        dfx.ODETerm(lambda t, y, k: -k * y), BDF(), 0.0, 1.0, None, jnp.ones(1), 2.0,
        stepsize_controller=dfx.PIDController(rtol=1e-4, atol=1e-6), adjoint=adjoint, **options,
    )  # fmt: skip


def test_what_is_left_to_another_adjoint():
    class Other(dfx.RecursiveCheckpointAdjoint):
        def loop(self, **call):
            raise NotImplementedError

    for saveat in (
        dfx.SaveAt(t1=True, solver_state=True),
        dfx.SaveAt(t1=True, controller_state=True),
        dfx.SaveAt(ts=jnp.array([0.5]), steps=1),
    ):
        with pytest.raises(NotImplementedError):
            decay(DiscreteAdjoint(otherwise=Other()), saveat=saveat)


def test_failed_integrations_have_no_derivatives():
    with pytest.raises(Exception, match="maximum number of solver steps"):
        jax.jit(jax.grad(lambda k: heat_loss({**P, "k": k}, U0, max_steps=5)))(1.0)


def test_programs_that_may_raise_lower_for_cuda():
    lowered = jax.jit(lambda k: heat_loss({**P, "k": k}, U0)).trace(1.0).lower(lowering_platforms=("cuda",))
    assert "stablehlo" in lowered.as_text()
