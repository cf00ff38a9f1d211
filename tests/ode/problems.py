"""Equations for the tests of the stiff solvers."""

import diffrax as dfx
import jax.numpy as jnp
import optimistix as optx

from sparsesolve.ode import StageNewton

SMOOTH_START = jnp.array([1.0, 0.5, 0.2])
EXACT_STAGES = StageNewton(rtol=1e-13, atol=1e-14, norm=optx.max_norm, kappa=0.01)


def smooth_explicit(t, y, args):
    return jnp.stack([y[1] * jnp.cos(t), jnp.sin(t) * y[0], 0.0 * y[2]])


def smooth_implicit(t, y, args):
    return jnp.stack([-2 * y[0], -y[0] * y[1], y[0] ** 2 - y[2]])


def smooth(t, y, args):
    return smooth_explicit(t, y, args) + smooth_implicit(t, y, args)


def robertson(t, y, args):
    r1, r2, r3 = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return jnp.stack([-r1 + r2, r1 - r2 - r3, r3])


ROBERTSON_START = jnp.array([1.0, 0.0, 0.0])
# t = 40; Hairer and Wanner's RADAU5 at 1e-12, and dfx.Kvaerno5 at 1e-11 agree with it.
ROBERTSON_40 = jnp.array([0.7158270687193941, 9.185534764557763e-06, 0.2841637457458413])


def diffusion(t, y, p):
    """Reaction and diffusion on a ring: stiff, nonlinear, with parameters and an explicit time."""
    u = y["u"]
    return {"u": 100 * p["d"] * (jnp.roll(u, 1) + jnp.roll(u, -1) - 2 * u) + p["r"] * u * (1 - u) * jnp.cos(t)}


def ring(n):
    return {"u": jnp.sin(2 * jnp.pi * jnp.linspace(0.0, 1.0, n, endpoint=False)) ** 2}


def parameters(n):
    return {"d": jnp.linspace(0.5, 1.5, n), "r": jnp.asarray(2.0)}


def solve(f, solver, t1, y0, args=None, rtol=1e-6, atol=1e-8, dt0=1e-4, t0=0.0, **options):
    options = {"adjoint": dfx.ForwardMode(), "max_steps": 4096} | options
    options.setdefault("saveat", dfx.SaveAt(t1=True, solver_state=True))
    terms = f if isinstance(f, dfx.AbstractTerm) else dfx.ODETerm(f)
    controller = dfx.PIDController(rtol=rtol, atol=atol)
    return dfx.diffeqsolve(terms, solver, t0, t1, dt0, y0, args, stepsize_controller=controller, **options)


def last(sol):
    return sol.ys[-1]
