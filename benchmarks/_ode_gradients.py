"""Gradients through the Brusselator on 32 x 32 points: of its end, by the initial values and the field that feeds it.

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

import sparsesolve as ss
from benchmarks._base import Case, Trial
from benchmarks._ode_peers import build
from sparsesolve.ode import DiscreteAdjoint, RadauIIA9

_MOST = 2000  # steps; diffrax's adjoint chooses its checkpoints by it


def gradient(solver: Callable[[], Any], adjoint: Any, forward: Any) -> Callable[..., Trial]:
    """A method with an adjoint for reverse and one for forward mode."""

    def prepare(problem: str, size: int, rtol: float) -> Trial:
        p = build(problem, size)
        start = (p.y0, p.args["forcing"])

        def loss(y0: Any, forcing: Any, adjoint: Any) -> tuple[Any, Any]:
            return _loss(p, (y0, forcing), rtol, solver=solver(), adjoint=adjoint, max_steps=_MOST)

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
                lambda h: _loss(p, jax.tree.map(lambda x, d: x + h * d, start, along), 1e-7, solver=ss.BDF())[0]
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


def _loss(p: Any, start: Any, rtol: float, **options: Any) -> tuple[Any, Any]:
    """A mean over the end, and the number of steps."""
    y0, forcing = start
    sol = ss.solve_ode(
        p.rhs, p.t0, p.t1, y0, {**p.args, "forcing": forcing},
        rtol=rtol, atol=p.scale * rtol, jump_ts=p.jump_ts, **options,
    )  # fmt: skip
    u, v = sol.ys["u"][-1], sol.ys["v"][-1]
    return jnp.mean(u**2) + jnp.mean(u * v), sol.stats["num_steps"]


_CHECKPOINTS, _FORWARD = dfx.RecursiveCheckpointAdjoint(), dfx.ForwardMode()
PEERS: dict[str, Callable[..., Trial]] = {}
for _solver in (ss.BDF, ss.Kvaerno5, ss.TRBDF2, ss.Rodas5P, ss.Rosenbrock23, ss.RadauIIA5, RadauIIA9):
    PEERS[f"gradient, {_solver.__name__}"] = gradient(_solver, DiscreteAdjoint(), DiscreteAdjoint())
for _solver in (ss.BDF, ss.Kvaerno5, ss.Rodas5P, ss.RadauIIA5):
    PEERS[f"gradient, {_solver.__name__}, diffrax's adjoint"] = gradient(_solver, _CHECKPOINTS, _FORWARD)


def cases(quick: bool) -> list[Case]:
    """One tolerance; 8 x 8 points when it should be quick."""
    size = 8 if quick else 32
    parameters = {"problem": "brusselator_ode", "size": size, "rtol": 1e-4}
    return [Case(f"gradient of brusselator_ode({size}), rtol 1e-04", parameters, tuple(PEERS))]
