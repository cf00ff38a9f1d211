"""Derivatives through ESDIRK solves: exact, sparse, in both modes."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np

from sparsesolve.ode import KenCarp47, Kvaerno5
from tests.ode.problems import diffusion, parameters, ring, solve

N = 24
DIRECTION = {"d": jnp.cos(jnp.arange(N)), "r": jnp.asarray(0.3)}


def loss(p, solver, adjoint, n=N, max_steps=128):
    options = {"adjoint": adjoint, "saveat": dfx.SaveAt(t1=True), "max_steps": max_steps}
    sol = solve(diffusion, solver, 0.3, ring(n), p, rtol=1e-7, atol=1e-9, dt0=1e-3, **options)
    return jnp.sum(sol.ys["u"][-1] ** 2)


def test_forward_and_reverse_agree_with_differences():
    p, solver = parameters(N), Kvaerno5()
    value = jax.jit(lambda e: loss(jax.tree.map(lambda a, b: a + e * b, p, DIRECTION), solver, dfx.ForwardMode()))
    forward = jax.jit(jax.jacfwd(value))(0.0)
    gradient = jax.jit(jax.grad(lambda p: loss(p, solver, dfx.RecursiveCheckpointAdjoint())))(p)
    reverse = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(DIRECTION), strict=True))
    differences = (value(1e-5) - value(-1e-5)) / 2e-5
    np.testing.assert_allclose(reverse, forward, rtol=1e-7)
    np.testing.assert_allclose(forward, differences, rtol=1e-5)


def test_direct_adjoint_and_a_split_right_hand_side():
    def slow(t, y, p):
        return {"u": p["r"] * (1 - y["u"])}

    terms = dfx.MultiTerm(dfx.ODETerm(slow), dfx.ODETerm(diffusion))

    def value(e, adjoint):
        p = jax.tree.map(lambda a, b: a + e * b, parameters(6), {"d": jnp.ones(6), "r": jnp.asarray(1.0)})
        options = {"adjoint": adjoint, "saveat": dfx.SaveAt(t1=True), "max_steps": 64}
        sol = solve(terms, KenCarp47(), 0.1, ring(6), p, dt0=1e-2, **options)
        return jnp.sum(sol.ys["u"][-1] ** 2)

    direct = jax.jit(jax.grad(lambda e: value(e, dfx.DirectAdjoint())))(0.0)
    f = jax.jit(lambda e: value(e, dfx.ForwardMode()))
    np.testing.assert_allclose(direct, (f(1e-5) - f(-1e-5)) / 2e-5, rtol=1e-6)


def test_derivatives_with_respect_to_start_and_end():
    def end(y0, t1):
        return solve(lambda t, y, a: -50 * (y - jnp.cos(t)), Kvaerno5(), t1, y0, saveat=dfx.SaveAt(t1=True)).ys[-1][0]

    y0 = jnp.ones(2)
    slope = jax.jvp(lambda t: end(y0, t), (1.0,), (1.0,))[1]
    exact = -50 * (end(y0, 1.0) - jnp.cos(1.0))
    np.testing.assert_allclose(slope, exact, rtol=1e-3)
    decay = jax.jvp(lambda y: end(y, 0.1), (y0,), (jnp.ones(2),))[1]
    np.testing.assert_allclose(decay, jnp.exp(-5.0), rtol=0.1)


def test_nothing_dense_in_the_gradient():
    n = 200
    gradient = jax.grad(lambda p: loss(p, Kvaerno5(), dfx.RecursiveCheckpointAdjoint(), n, 16))
    for shape in shapes_in(jax.make_jaxpr(gradient)(parameters(n)).jaxpr):
        assert np.prod(shape, dtype=float) < n * n, shape


def shapes_in(jaxpr):
    for eqn in jaxpr.eqns:
        for v in eqn.outvars:
            yield getattr(v.aval, "shape", ())
        for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from shapes_in(inner)
