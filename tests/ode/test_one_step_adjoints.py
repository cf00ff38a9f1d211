"""Derivatives by sweeps over recorded steps of one-step methods: against diffrax's forward mode and exact formulas."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.ode import (
    TRBDF2,
    DiscreteAdjoint,
    KenCarp47,
    Kvaerno5,
    RadauIIA5,
    Rodas5P,
    Rosenbrock23,
    solve_ode,
)
from sparsesolve.ode.adjoint._methods import steps_of
from tests.ode.jaxprs import assert_sparse

FAMILIES = (TRBDF2, Rosenbrock23, RadauIIA5)
N, TABLE = 12, 997


def heat(t, u, p):
    """Diffusion with a reaction by a table, fed from t = 0.02 on."""
    padded = jnp.pad(u, 1)
    fed = jnp.where(t > 0.02, jnp.cos(t), 0.0)
    return (
        100.0 * p["k"] * (padded[2:] - 2 * u + padded[:-2])
        - p["table"][67 * jnp.arange(u.size) % p["table"].size] * u**3
        + fed
    )


def start(n=N):
    return jnp.sin(jnp.pi * jnp.arange(1, n + 1) / (n + 1))


def loss(p, y0, solver, adjoint, rtol=1e-4):
    """Something of the end and of times between."""
    saveat = dfx.SaveAt(ts=jnp.array([0.005, 0.0151, 0.05]))
    sol = solve_ode(
        heat, 0.0, 0.05, y0, p, solver=solver, rtol=rtol, atol=1e-3 * rtol, jump_ts=[0.02], saveat=saveat,
        adjoint=adjoint, max_steps=600,
    )  # fmt: skip
    return jnp.sum(sol.ys**2 * jnp.arange(1.0, 4.0)[:, None])


P = {"k": jnp.float64(1.0), "table": jnp.linspace(1.0, 2.0, TABLE)}
ALONG = ({"k": jnp.float64(0.3), "table": jnp.cos(jnp.arange(TABLE))}, jnp.cos(jnp.arange(N)))
RATES = jnp.array([1.0, 0.5])  # of two lanes with different steps


def directional(method, adjoint, k):
    return jax.jvp(lambda p, y: loss(p, y, method(), adjoint), ({**P, "k": k}, start()), ALONG)[1]


def contracted(gradient):
    return sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(ALONG), strict=True))


@pytest.mark.parametrize("method", FAMILIES)
def test_both_modes_agree_with_diffrax(method):
    exact = jax.jit(lambda k: directional(method, dfx.ForwardMode(), k))(1.0)
    np.testing.assert_allclose(jax.jit(lambda k: directional(method, DiscreteAdjoint(), k))(1.0), exact, rtol=1e-8)
    reverse = jax.jit(jax.grad(lambda p, y: loss(p, y, method(), DiscreteAdjoint()), (0, 1)))(P, start())
    np.testing.assert_allclose(contracted(reverse), exact, rtol=1e-8)


LANES = [Rosenbrock23, *(pytest.param(method, marks=pytest.mark.slow) for method in (TRBDF2, RadauIIA5))]


@pytest.mark.parametrize("method", LANES)
def test_pieces_made_again_in_a_batch(method):
    exact = jax.jit(jax.vmap(lambda k: directional(method, dfx.ForwardMode(), k)))(RATES)
    gradient = jax.grad(lambda p, y: loss(p, y, method(), DiscreteAdjoint(16)), (0, 1))
    found = jax.jit(jax.vmap(lambda k: gradient({**P, "k": k}, start())))(RATES)
    for lane in range(2):
        np.testing.assert_allclose(contracted([leaf[lane] for leaf in jax.tree.leaves(found)]), exact[lane], rtol=1e-6)


@pytest.mark.parametrize("method", [Kvaerno5, Rodas5P, RadauIIA5])
def test_singular_mass_matrices_and_jumps(method):
    """y0' = -p y0 + switched, 0 = y1 - p y0^2; where that may be, the mass matrix depends on the state."""
    constant = method is Rodas5P

    def f(t, y, p):
        scale = 1.0 if constant else 1 + p * y[0] ** 2
        return jnp.stack([scale * (-p * y[0] + jnp.where(t > 0.5, 1.0, 0.0)), y[1] - p * y[0] ** 2])

    def mass(t, y, p):
        return jnp.diag(jnp.stack([1 + p * y[0] ** 2, 0.0]))

    def end(p, first):
        y0 = jnp.stack([first, p * first**2])
        sol = solve_ode(
            f, 0.0, 1.0, y0, p, solver=method(), mass=np.array([1.0, 0.0]) if constant else mass, jump_ts=[0.5],
            rtol=1e-7, atol=1e-9, max_steps=300, inconsistent="keep",
        )  # fmt: skip
        return sol.ys[0, 1]

    def exact(p, first):
        return p * (first * jnp.exp(-p) + (1 - jnp.exp(-0.5 * p)) / p) ** 2

    ours = jax.jit(jax.value_and_grad(end, (0, 1)))(2.0, 1.5)
    right = jax.value_and_grad(exact, (0, 1))(2.0, 1.5)
    np.testing.assert_allclose(jax.tree.leaves(ours), jax.tree.leaves(right), rtol=1e-5)


@pytest.mark.parametrize("method", FAMILIES)
def test_nothing_dense_and_no_table_in_a_step(method):
    n, table = 200, 5011
    p = {"k": jnp.float64(1.0), "table": jnp.linspace(1.0, 2.0, table)}
    f = lambda p, y: loss(p, y, method(), DiscreteAdjoint())  # noqa: E731
    closed = jax.make_jaxpr(jax.grad(f, (0, 1)))(p, start(n))
    assert_sparse(closed.jaxpr, n, table)


def test_what_is_left_to_another_adjoint():
    call = {"saveat": dfx.SaveAt(t1=True), "event": None}
    term = dfx.ODETerm(lambda t, y, args: -y)
    split = dfx.MultiTerm(term, term)
    known = [(Kvaerno5(), term), (KenCarp47(), split), (Rodas5P(), term), (RadauIIA5(), term)]
    assert all(steps_of({"solver": s, "terms": t, **call}) is not None for s, t in known)
    left = [(Rosenbrock23(max_jacobian_age=3), term), (dfx.Kvaerno5(), term)]
    assert all(steps_of({"solver": s, "terms": t, **call}) is None for s, t in left)
