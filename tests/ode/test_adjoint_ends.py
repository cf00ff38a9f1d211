"""Derivatives of integrations that events end, of dense output, of split equations, by what functions close over."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from jax.flatten_util import ravel_pytree

from sparsesolve.ode import BDF, DiscreteAdjoint, KenCarp47, RadauIIA5, Rodas5P, solve_ode
from tests.ode.jaxprs import assert_sparse


class Nobody(dfx.RecursiveCheckpointAdjoint):
    """For what must not be left to another adjoint."""

    def loop(self, **call):
        raise NotImplementedError


OURS = DiscreteAdjoint(otherwise=Nobody())
NEWTON = optx.Newton(1e-12, 1e-12)


def relaxing(t, y, k):
    """A fast and a slow component."""
    return jnp.stack([k[0] * (y[1] - y[0]), jnp.cos(t) - k[1] * y[1] * y[0]])


#: Start, rates, t0, t1, times saved at, and a level to be reached.
ARGUMENTS = (jnp.array([0.1, 0.2]), jnp.array([50.0, 0.7]), 0.1, 2.0, jnp.array([0.4, 0.5, 1.1]), 0.7)
FLAT, UNRAVEL = ravel_pytree(ARGUMENTS)
FIXED = jnp.ones(FLAT.size).at[4:6].set(0.0)  # with t0 and t1 diffrax moves ends of steps


def finite(y):
    return jnp.where(jnp.isfinite(y), y, 0.0)


def events(level):
    """By name; conditions are handed their arguments by place and by name, and close over the level."""
    return {
        "zero": dfx.Event(lambda t, y, args, **_: args[1] * y[0] - 0.4 * level - 0.01 * t, NEWTON),
        "first of two": dfx.Event(
            [lambda t, y, args, **_: y[1] > 10.0 * level + 8.0, lambda t, y, args, **_: jnp.sin(t) - level], NEWTON
        ),
        "step": dfx.Event(lambda t, y, args, **_: y[0] > level),
        "at the start": dfx.Event(lambda t, y, args, **_: t > 0.0, NEWTON),
    }


def observed(name, solver, adjoint, y0, k, t0, t1, ts, level, rtol=1e-4):
    """Something of the end, its time, and times before and after it."""
    subs = [
        dfx.SubSaveAt(t0=True, t1=True),
        dfx.SubSaveAt(ts=ts, t1=True, fn=lambda t, y, a: y * a * t * level),
        dfx.SubSaveAt(ts=ts),
    ]
    sol = dfx.diffeqsolve(
        dfx.ODETerm(relaxing), solver, t0, t1, None, y0, k, saveat=dfx.SaveAt(subs=subs), event=events(level)[name],
        stepsize_controller=dfx.PIDController(rtol=rtol, atol=1e-2 * rtol), adjoint=adjoint, max_steps=2000,
    )  # fmt: skip
    parts = [jnp.sum(jnp.sin(finite(leaf)) * (k + 1.0)) for k, leaf in enumerate((*sol.ys, *sol.ts))]
    return sum(parts)


def both_modes(f, along):
    """Forward mode, and what reverse mode makes of the same direction."""

    @jax.jit
    def run(flat):
        value, pull = jax.vjp(f, flat)
        return value, jax.jvp(f, (flat,), (along,))[1], pull(jnp.ones_like(value))[0]

    value, forward, gradient = run(FLAT)
    np.testing.assert_allclose(jnp.vdot(gradient, along), forward, rtol=1e-6)
    return value, forward


@pytest.mark.parametrize("name", ["first of two", "step", "at the start"])
def test_events(name):
    f = lambda adjoint: lambda flat: observed(name, Rodas5P(), adjoint, *UNRAVEL(flat))  # noqa: E731
    along = FIXED * jnp.cos(jnp.arange(FLAT.size))
    value, forward = both_modes(f(OURS), along)
    exact = jax.jit(lambda flat: jax.jvp(f(dfx.ForwardMode()), (flat,), (along,)))(FLAT)
    np.testing.assert_allclose((value, forward), exact, rtol=1e-9)


def test_zeros_move_with_everything():
    """By differences: also with t0, and by a method whose history the event cuts."""
    f = jax.jit(lambda flat: observed("zero", BDF(), OURS, *UNRAVEL(flat)))
    accurate = jax.jit(lambda flat: observed("zero", RadauIIA5(), OURS, *UNRAVEL(flat), rtol=1e-10))
    along = jnp.cos(jnp.arange(FLAT.size))
    _, forward = both_modes(f, along)
    h = 1e-5
    np.testing.assert_allclose(forward, (accurate(FLAT + h * along) - accurate(FLAT - h * along)) / (2 * h), rtol=2e-2)


def test_lanes_end_at_their_own_events():
    levels = jnp.array([0.5, 5.0, -1.0])  # one is never reached, one at once
    gradient = jax.grad(
        lambda level, k: observed("first of two", Rodas5P(), OURS, ARGUMENTS[0], k, *ARGUMENTS[2:5], level), (0, 1)
    )
    found = jax.jit(jax.vmap(gradient, (0, None)))(levels, ARGUMENTS[1])
    for lane, level in enumerate(levels):
        for ours, alone in zip(found, jax.jit(gradient)(level, ARGUMENTS[1]), strict=True):
            np.testing.assert_allclose(ours[lane], alone, rtol=1e-7)


def interpolated(solver, adjoint, y0, k, t0, t1, ts, level):
    """Values and slopes between steps."""
    sol = dfx.diffeqsolve(
        dfx.ODETerm(lambda t, y, k: {"a": relaxing(t, y["a"], k)}), solver, t0, t1, None, {"a": y0}, k,
        saveat=dfx.SaveAt(dense=True, steps=3, t1=True), stepsize_controller=dfx.PIDController(rtol=1e-4, atol=1e-6),
        adjoint=adjoint, max_steps=200,
    )  # fmt: skip
    values = jax.vmap(sol.interpolation.evaluate)(jnp.append(ts, t1))["a"]
    slopes = jax.vmap(sol.interpolation.derivative)(ts)["a"]
    return jnp.sum(jnp.sin(values)) + level * jnp.sum(slopes**2) + jnp.sum(finite(sol.ys["a"]) ** 2)


@pytest.mark.parametrize("method", [BDF, Rodas5P])
def test_dense_output_and_every_third_step(method):
    f = lambda adjoint: lambda flat: interpolated(method(), adjoint, *UNRAVEL(flat))  # noqa: E731
    along = FIXED * jnp.cos(jnp.arange(FLAT.size))
    value, forward = both_modes(f(OURS), along)
    exact = jax.jit(lambda flat: jax.jvp(f(dfx.ForwardMode()), (flat,), (along,)))(FLAT)
    np.testing.assert_allclose((value, forward), exact, rtol=1e-6)


def advection(t, u, p):
    """The explicit part, fed by a table."""
    return -p["speed"] * jnp.diff(u, prepend=u[-1:]) + p["table"][7 * jnp.arange(u.size) % p["table"].size] * jnp.sin(t)


def diffusion(t, u, p):
    padded = jnp.pad(u, 1)
    return p["rate"] * (padded[2:] - 2 * u + padded[:-2]) - p["table"][11 * jnp.arange(u.size) % p["table"].size] * u**3


P = {"speed": jnp.float64(3.0), "rate": jnp.float64(40.0), "table": jnp.linspace(1.0, 2.0, 997)}


def split_loss(p, u, adjoint):
    sol = dfx.diffeqsolve(
        dfx.MultiTerm(dfx.ODETerm(advection), dfx.ODETerm(diffusion)), KenCarp47(), 0.0, 0.4, None, u, p,
        stepsize_controller=dfx.PIDController(rtol=1e-5, atol=1e-7), adjoint=adjoint, max_steps=300,
        saveat=dfx.SaveAt(ts=jnp.array([0.03, 0.2]), t1=True),
    )  # fmt: skip
    return jnp.sum(sol.ys**2 * jnp.arange(1.0, 4.0)[:, None])


def start(n):
    return jnp.sin(jnp.pi * jnp.arange(1, n + 1) / (n + 1))


def test_split_equations():
    along = (jax.tree.map(jnp.cos, P), jnp.cos(jnp.arange(12.0)))
    directional = lambda adjoint: jax.jit(  # noqa: E731
        lambda p, u: jax.jvp(lambda p, u: split_loss(p, u, adjoint), (p, u), along)[1]
    )
    exact = directional(dfx.ForwardMode())(P, start(12))
    np.testing.assert_allclose(directional(OURS)(P, start(12)), exact, rtol=1e-8)
    pieces = DiscreteAdjoint(7, otherwise=Nobody())  # made again from histories
    gradient = jax.jit(jax.grad(lambda p, u: split_loss(p, u, pieces), (0, 1)))(P, start(12))
    found = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(along), strict=True))
    np.testing.assert_allclose(found, exact, rtol=1e-8)


def dense_loss(p, u, adjoint):
    sol = solve_ode(
        diffusion, 0.0, 0.4, u, p, rtol=1e-5, atol=1e-7, adjoint=adjoint, saveat=dfx.SaveAt(dense=True, t1=True),
        max_steps=150, solver=BDF(), event=dfx.Event(lambda t, y, args, **_: y[0] - 0.1, NEWTON),
    )  # fmt: skip
    return jnp.sum(sol.interpolation.evaluate(0.1) ** 2) + jnp.sum(sol.ys**2)


@pytest.mark.parametrize("loss", [split_loss, dense_loss])
def test_nothing_dense_and_no_table_in_a_step(loss):
    n, table = 300, P["table"].size
    closed = jax.make_jaxpr(jax.grad(lambda p, u: loss(p, u, OURS), (0, 1)))(P, start(n))
    assert_sparse(closed.jaxpr, n, table)


def test_what_functions_close_over():
    def end(k):
        sol = dfx.diffeqsolve(
            dfx.ODETerm(lambda t, y, args: -k * y), BDF(), 0.0, 1.0, None, jnp.ones(1), adjoint=OURS, max_steps=300,
            stepsize_controller=dfx.PIDController(1e-8, 1e-10), saveat=dfx.SaveAt(t1=True, fn=lambda t, y, args: k * y),
        )  # fmt: skip
        return sol.ys[0, 0]

    rates = jnp.array([1.0, 2.0])
    found = jax.jit(jax.vmap(jax.grad(end)))(rates)
    np.testing.assert_allclose(found, (1 - rates) * jnp.exp(-rates), atol=1e-7)
