"""Gradients through the Brusselator on 32 x 32 points by the initial values and the field that feeds it: of its end, of
dense output, of where an event stops it, and of its end with the reactions treated explicitly.

The timed call is the reverse mode; the integration alone and one directional derivative in forward mode have columns of
their own. A gradient counts where its component along a direction agrees with a difference of two tight integrations.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import optimistix as optx

import sparsesolve as ss
from benchmarks._base import Case, Trial
from benchmarks._ode_peers import build
from sparsesolve.ode import DiscreteAdjoint, RadauIIA9

_MOST = 2000  # steps; diffrax's adjoint chooses its checkpoints by it


def gradient(
    solver: Callable[[], Any], adjoint: Any, forward: Any, observed: Callable[..., Any] | None = None
) -> Callable[..., Trial]:
    """A method with an adjoint for reverse and one for forward mode, and what is differentiated, by default the end."""
    observe = end if observed is None else observed

    def prepare(problem: str, size: int, rtol: float) -> Trial:
        p = build(problem, size)
        start = (p.y0, p.args["forcing"])

        def loss(y0: Any, forcing: Any, adjoint: Any) -> tuple[Any, Any]:
            return observe(p, (y0, forcing), rtol, solver=solver(), adjoint=adjoint, max_steps=_MOST)

        along = jax.tree.map(lambda x: 0.1 + jnp.cos(jnp.arange(x.size).reshape(x.shape) / 7), start)
        began = time.perf_counter()
        both = jax.value_and_grad(lambda y, f: loss(y, f, adjoint), (0, 1), has_aux=True)
        reverse = jax.jit(both).lower(*start).compile()
        seconds = time.perf_counter() - began
        primal = jax.jit(lambda y, f: loss(y, f, adjoint)[0]).lower(*start).compile()
        tangent = jax.jit(lambda *x: jax.jvp(lambda y, f: loss(y, f, forward)[0], start, x)[1]).lower(*along).compile()
        notes: dict[str, Any] = {}

        def check(result: Any) -> float:
            (_, steps), found = result
            notes["steps"] = int(steps)
            tight = jax.jit(
                lambda h: observe(p, jax.tree.map(lambda x, d: x + h * d, start, along), 1e-7, solver=ss.BDF())[0]
            )
            h = 1e-3
            exact = (tight(h) - tight(-h)) / (2 * h)
            ours = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(along), strict=True))
            return float(jnp.abs(ours - exact) / jnp.abs(exact))

        parts = {
            "primal": lambda: jax.block_until_ready(primal(*start)),
            "forward": lambda: jax.block_until_ready(tangent(*along)),
        }
        run = lambda: jax.block_until_ready(reverse(*start))  # noqa: E731
        return Trial(run, check, 100 * rtol, "error along a direction", None, seconds, notes, parts)

    return prepare


def end(p: Any, start: Any, rtol: float, **options: Any) -> tuple[Any, Any]:
    """A mean over the end, and the number of steps."""
    sol = _solved(p, start, rtol, **options)
    return _mean(sol.ys["u"][-1], sol.ys["v"][-1]), sol.stats["num_steps"]


def dense(p: Any, start: Any, rtol: float, **options: Any) -> tuple[Any, Any]:
    """A mean over 20 times, from dense output, which takes memory for as many steps as there may be."""
    options["max_steps"] = 512 if rtol > 1e-5 else _MOST
    sol = _solved(p, start, rtol, saveat=dfx.SaveAt(dense=True), **options)
    y = jax.vmap(sol.interpolation.evaluate)(jnp.linspace(0.1, 11.4, 20))
    return _mean(y["u"], y["v"]), sol.stats["num_steps"]


def event(p: Any, start: Any, rtol: float, **options: Any) -> tuple[Any, Any]:
    """The time at which a mean reaches what rises with time, and a mean there."""
    zero = dfx.Event(lambda t, y, args, **_: jnp.mean(y["u"]) + t - 11.0, optx.Newton(1e-8, 1e-8))
    sol = _solved(p, start, rtol, event=zero, **options)
    return _mean(sol.ys["u"][-1], sol.ys["v"][-1]) + sol.ts[-1], sol.stats["num_steps"]


def split(p: Any, start: Any, rtol: float, **options: Any) -> tuple[Any, Any]:
    """As `end`, in two parts, the reactions first; solvers that split treat them explicitly."""
    y0, forcing = start
    reactions = lambda t, y, args: p.rhs(t, y, {**args, "alpha": 0.0})  # noqa: E731

    def diffusion(t: Any, y: Any, args: Any) -> Any:
        around = lambda z: sum(jnp.roll(z, k, axis) for k in (-1, 1) for axis in (0, 1)) - 4 * z  # noqa: E731
        return jax.tree.map(lambda z: args["alpha"] * (z.shape[0] - 1) ** 2 * around(z), y)

    controller = dfx.PIDController(rtol=rtol, atol=p.scale * rtol)
    sol: Any = dfx.diffeqsolve(
        dfx.MultiTerm(dfx.ODETerm(reactions), dfx.ODETerm(diffusion)), t0=p.t0, t1=p.t1, dt0=None, y0=y0,
        args={**p.args, "forcing": forcing}, **{"max_steps": _MOST, **options},
        stepsize_controller=dfx.ClipStepSizeController(controller, jump_ts=jnp.asarray(p.jump_ts)),
    )  # fmt: skip
    return _mean(sol.ys["u"][-1], sol.ys["v"][-1]), sol.stats["num_steps"]


def _solved(p: Any, start: Any, rtol: float, **options: Any) -> Any:
    y0, forcing = start
    args, atol = {**p.args, "forcing": forcing}, p.scale * rtol
    return ss.solve_ode(p.rhs, p.t0, p.t1, y0, args, rtol=rtol, atol=atol, jump_ts=p.jump_ts, **options)


def _mean(u: Any, v: Any) -> Any:
    return jnp.mean(u**2) + jnp.mean(u * v)


_CHECKPOINTS, _FORWARD, _OURS = dfx.RecursiveCheckpointAdjoint(), dfx.ForwardMode(), DiscreteAdjoint()
PEERS: dict[str, Callable[..., Trial]] = {}
for _solver in (ss.BDF, ss.Kvaerno5, ss.TRBDF2, ss.Rodas5P, ss.Rosenbrock23, ss.RadauIIA5, RadauIIA9):
    PEERS[f"gradient, {_solver.__name__}"] = gradient(_solver, _OURS, _OURS)
for _solver in (ss.BDF, ss.Kvaerno5, ss.Rodas5P, ss.RadauIIA5):
    PEERS[f"gradient, {_solver.__name__}, diffrax's adjoint"] = gradient(_solver, _CHECKPOINTS, _FORWARD)
for _solver, _observed in ((ss.BDF, dense), (ss.BDF, event), (ss.KenCarp47, split)):
    for _name, _reverse, _tangent in (("", _OURS, _OURS), (", diffrax's adjoint", _CHECKPOINTS, _FORWARD)):
        _row = f"gradient, {_solver.__name__}, {_observed.__name__}{_name}"
        PEERS[_row] = gradient(_solver, _reverse, _tangent, _observed)


def cases(quick: bool) -> list[Case]:
    """One tolerance; 8 x 8 points when it should be quick."""
    size = 8 if quick else 32
    parameters = {"problem": "brusselator_ode", "size": size, "rtol": 1e-4}
    return [Case(f"gradient of brusselator_ode({size}), rtol 1e-04", parameters, tuple(PEERS))]
