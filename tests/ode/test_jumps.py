"""Jumps of f in differential-algebraic systems: algebraic components follow at once, and derivatives with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.ode import BDF, DiscreteAdjoint, KenCarp47, RadauIIA5, Rodas5P, consistent_start, solve_ode
from tests.ode.test_adjoint_ends import Nobody

JUMP = 0.4
MASS = np.diag([1.0, 0.0])
THERMAL, LEAK = 0.026, 1e-9


def rectifier(t, y, after, jump=JUMP):
    """A capacitor that a diode charges from a source through a resistor; the source jumps."""
    charge, node = y
    source = jnp.where(t < jump, 0.3, after)
    current = LEAK * jnp.expm1((node - charge) / THERMAL)
    return jnp.stack([100 * current - charge, source - node - 50 * current])


START = consistent_start(rectifier, 0.0, jnp.array([0.0, 0.25]), 2.0, mass=MASS)[0]


def through(solver, after, jump=JUMP, rtol=1e-7, **options):
    field = lambda t, y, args: rectifier(t, y, *args)  # noqa: E731
    options = {"rtol": rtol, "atol": 1e-2 * rtol, "jump_ts": jnp.asarray(jump)[None], **options}
    return solve_ode(field, 0.0, 1.0, START, (after, jump), solver=solver, mass=MASS, **options)


def pieces(after):
    """The same, started anew."""
    options = {"solver": RadauIIA5(), "mass": MASS, "rtol": 1e-9, "atol": 1e-11}
    y = solve_ode(rectifier, 0.0, JUMP - 1e-15, START, after, **options).ys[-1]
    y, _ = consistent_start(rectifier, JUMP, y, after, mass=MASS)
    return solve_ode(rectifier, JUMP, 1.0, y, after, **options).ys[-1]


SOLVERS = [BDF(), Rodas5P(), RadauIIA5(), KenCarp47()]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
def test_algebraic_components_jump(solver):
    for after in (2.0, -2.0):
        sol = through(solver, after)
        np.testing.assert_allclose(sol.ys[-1], pieces(after), rtol=1e-5, atol=1e-8)
        assert int(sol.stats["num_rejected_steps"]) <= 10


@pytest.mark.parametrize("solver", SOLVERS[:2], ids=lambda s: type(s).__name__)
def test_derivatives_through_a_jump(solver):
    e = 1e-4
    expected = (pieces(2.0 + e) - pieces(2.0 - e)) / (2 * e)
    adjoint = DiscreteAdjoint(9, otherwise=Nobody())  # in pieces, made again from histories before the jump
    end = lambda after: through(solver, after, adjoint=adjoint, max_steps=400).ys[-1]  # noqa: E731
    forward, reverse = jax.jit(lambda after: (jax.jacfwd(end)(after), jax.jacrev(end)(after)))(2.0)
    np.testing.assert_allclose(forward, expected, rtol=1e-6)
    np.testing.assert_allclose(reverse, expected, rtol=1e-6)


def test_lanes_jump_at_different_times():
    jumps = jnp.array([0.1, 0.7])
    ends = jax.vmap(lambda jump: through(Rodas5P(), 2.0, jump).ys[-1])(jumps)
    single = [through(Rodas5P(), 2.0, jump).ys[-1] for jump in jumps]
    np.testing.assert_allclose(ends, jnp.stack(single), rtol=1e-9)
