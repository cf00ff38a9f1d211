"""A thousand small stiff systems with other rates each: `solve_ensemble`, `vmap`, a loop over SciPy, diffrax."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate

import sparsesolve as ss
from benchmarks._base import Case, Trial
from benchmarks._ode_peers import Flat, build


def _one(problem: str, lanes: int, rtol: float) -> tuple[Callable[[Any], Any], Any]:
    """The solve of a lane, and what tells lanes apart."""
    if problem == "van_der_pol":
        return _oscillator(rtol), 1000 * (0.01 + 0.99 * np.random.default_rng(1).uniform(size=lanes))
    p, rates, name = _many(problem, lanes)

    def one(rate: Any) -> Any:
        args = {**p.args, name: p.args[name] * rate}
        sol = ss.solve_ode(p.rhs, p.t0, p.t1, p.y0, args, rtol=rtol, atol=p.scale * rtol, throw=False)
        return sol.ys[0], sol.stats["num_steps"]

    return one, rates


def _oscillator(rtol: float) -> Callable[[Any], Any]:
    """Van der Pol's equation until t = 300: the softer the spring the more steps, 15 times their mean at the most."""

    def one(mu: Any) -> Any:
        sol = ss.solve_ode(
            lambda t, y, m: jnp.stack([y[1], m * (1 - y[0] ** 2) * y[1] - y[0]]),
            0.0, 300.0, jnp.asarray([2.0, 0.0]), mu, rtol=rtol, atol=rtol / 100, throw=False,
        )  # fmt: skip
        return sol.ys[0], sol.stats["num_steps"]

    return one


def vmapped(problem: str, lanes: int, rtol: float) -> Trial:
    """`solve_ode` under `vmap`: all lanes until the slowest ends."""
    one, inputs = _one(problem, lanes, rtol)
    return _trial(jax.vmap(one), problem, lanes, jnp.asarray(inputs), rtol)


def ensemble(problem: str, lanes: int, rtol: float) -> Trial:
    """`solve_ensemble`: chunks of active lanes."""
    one, inputs = _one(problem, lanes, rtol)
    return _trial(lambda values: ss.solve_ensemble(one, values), problem, lanes, jnp.asarray(inputs), rtol)


def stock(problem: str, lanes: int, rtol: float) -> Trial:
    """diffrax as it comes, for twenty of the systems (its batch runs until the slowest of them ends)."""
    p, rates, name = _many(problem, lanes)
    some = min(20, lanes)

    def one(rate: Any) -> Any:
        controller = dfx.PIDController(rtol=rtol, atol=jnp.asarray(p.scale) * rtol)
        args = {**p.args, name: p.args[name] * rate}
        sol = dfx.diffeqsolve(
            dfx.ODETerm(p.rhs), dfx.Kvaerno5(), p.t0, p.t1, None, p.y0, args,
            throw=False, max_steps=10**6, stepsize_controller=controller,
        )  # fmt: skip
        return sol.ys[0], sol.stats["num_steps"]

    return _trial(jax.vmap(one), problem, lanes, rates[:some], rtol)


def _trial(solve: Callable[[Any], Any], problem: str, lanes: int, rates: Any, rtol: float) -> Trial:
    start = time.perf_counter()
    compiled = jax.jit(solve).lower(rates).compile()
    seconds = time.perf_counter() - start
    notes: dict[str, Any] = {}
    share = lanes / rates.size
    if share > 1:
        notes["systems"] = f"{rates.size} of {lanes}, times {share:g}"

    def run() -> Any:
        return jax.block_until_ready(compiled(rates))

    def check(result: Any) -> float:
        notes["steps"] = f"{float(jnp.mean(result[1])):.0f}, most {int(jnp.max(result[1]))}"
        return _first_lanes_error(problem, lanes, np.asarray(result[0][:2]))

    return Trial(run, check, 1e3 * rtol, "error of two lanes", None, seconds, notes, share=share)


def scipy_loop(problem: str, lanes: int, rtol: float) -> Trial:
    """SciPy's BDF for five of the systems one after the other, as often as it takes for all."""
    p, rates, name = _many(problem, lanes)
    f = Flat(problem, None, rtol)
    some = min(5, lanes)

    def solve(rate: float) -> np.ndarray:
        f.args = {**p.args, name: p.args[name] * rate}
        return scipy.integrate.solve_ivp(
            f.rhs, (p.t0, p.t1), f.y0, method="BDF", jac=f.jacobian, rtol=rtol, atol=f.atol, t_eval=[p.t1]
        ).y[:, -1]

    def run() -> np.ndarray:
        return np.stack([solve(float(rate)) for rate in rates[:some]])

    def check(ends: np.ndarray) -> float:
        return _first_lanes_error(problem, lanes, ends[:2])

    notes = {"systems": f"{some} of {lanes}, times {lanes / some:g}"}
    return Trial(
        run, check, 1e3 * rtol, "error of two lanes", f.setup_seconds, f.compile_seconds, notes, share=lanes / some
    )


def _many(problem: str, lanes: int) -> tuple[Any, Any, str]:
    p = build(problem, None)
    rates = jnp.asarray(np.random.default_rng(0).uniform(0.5, 2.0, lanes))
    return p, rates, "k1" if problem == "rober" else "k"


def _first_lanes_error(problem: str, lanes: int, ends: np.ndarray) -> float:
    """Of the first two systems, relative to a tight solution."""
    if problem == "van_der_pol":
        one, inputs = _one(problem, lanes, 1e-9)
        return float(max(jnp.max(jnp.abs(one(mu)[0] - end)) for mu, end in zip(inputs[:2], ends, strict=True)))
    p, rates, name = _many(problem, lanes)
    worst = 0.0
    for rate, end in zip(rates[:2], ends, strict=True):
        args = {**p.args, name: p.args[name] * rate}
        tight = ss.solve_ode(p.rhs, p.t0, p.t1, p.y0, args, rtol=1e-10, atol=p.scale * 1e-10)
        exact = np.asarray(tight.ys[0])
        worst = max(worst, float(np.max(np.abs(end - exact) / np.maximum(np.abs(exact), p.scale))))
    return worst


PEERS = {
    "vmap": vmapped,
    "solve_ensemble": ensemble,
    "scipy BDF in a loop": scipy_loop,
    "diffrax Kvaerno5, vmap": stock,
}


def cases(quick: bool) -> list[Case]:
    """ROBER and POLLU, whose lanes take about as many steps, and van der Pol, whose lanes do not."""
    lanes, own = 100 if quick else 1000, tuple(PEERS)[:2]
    found = [("rober", lanes, tuple(PEERS)), ("pollu", lanes, tuple(PEERS)), ("van_der_pol", lanes, own)]
    found += [] if quick else [("van_der_pol", 4 * lanes, own)]
    return [
        Case(f"{count} x {name}, rtol 1e-06", {"problem": name, "lanes": count, "rtol": 1e-6}, peers)
        for name, count, peers in found
    ]
