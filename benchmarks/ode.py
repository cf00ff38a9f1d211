"""Stiff integration: work and precision on the gallery's problems in time, and batches under `vmap`.

Times are of the second call, compiled; a time counts where the end value has at most three digits less than the
relative tolerance. `sparsesolve.report.work_precision` draws the diagrams from the JSON of a run.
"""

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
from benchmarks._base import Benchmark, Case, Trial
from benchmarks._ode_peers import Flat, build, cvode, ida, scipy_method, stock_diffrax

_OURS, _BDF, _RODAS, _KVAERNO = "solve_ode", "BDF", "Rodas5P", "Kvaerno5"
_SCIPY, _RADAU, _CVODE, _GMRES, _IDA, _STOCK = (
    "scipy BDF",
    "scipy Radau",
    "CVODE, direct",
    "CVODE, GMRES",
    "IDA, direct",
    "diffrax Kvaerno5",
)
_ODES = (_OURS, _BDF, _RODAS, _KVAERNO, _SCIPY, _RADAU, _CVODE, _STOCK)
_FIELDS = (_OURS, _BDF, _RODAS, _SCIPY, _CVODE, _GMRES)
_BATCH = ("vmap", "scipy BDF in a loop", "diffrax Kvaerno5, vmap")


def cases(quick: bool) -> list[Case]:
    """Chemistry, a DAE, fields, batches; quick keeps a few small ones."""
    found = []
    kinetics = ("hires",) if quick else ("hires", "rober", "orego", "pollu", "van_der_pol")
    tolerances = (1e-6,) if quick else (1e-4, 1e-6, 1e-8)
    for name in kinetics:
        found += [_case(name, None, rtol, _ODES) for rtol in tolerances]
    found += [_case("transistor_amplifier", None, rtol, (_OURS, _BDF, _IDA)) for rtol in tolerances]
    groups = 100
    found.append(_case("robertson_groups", groups, 1e-4, (_OURS, _BDF, _RODAS, _CVODE)))
    for name, size in (("brusselator_ode", 32), *(() if quick else (("medical_akzo", 200), ("brusselator_ode", 100)))):
        fields = _FIELDS if size < 100 else (_OURS, _SCIPY, _CVODE, _GMRES)
        found += [_case(name, size, rtol, fields) for rtol in ((1e-6,) if quick or size == 100 else tolerances)]
    for name in ("rober", "pollu"):
        parameters = {"problem": name, "lanes": 100 if quick else 1000, "rtol": 1e-6}
        found.append(Case(f"{parameters['lanes']} x {name}, rtol 1e-06", parameters, _BATCH))
    return found


def _case(name: str, size: int | None, rtol: float, peers: tuple[str, ...]) -> Case:
    label = name if size is None else f"{name}({size})"
    return Case(f"{label}, rtol {rtol:.0e}", {"problem": name, "size": size, "rtol": rtol}, peers)


def ours(solver: Callable[[], Any] | None) -> Callable[..., Trial]:
    """`solve_ode` with a solver, or its own choice."""

    def prepare(problem: str, size: int | None, rtol: float) -> Trial:
        p = build(problem, size)
        atol = jax.tree.map(lambda y: np.broadcast_to(p.scale, y.shape) * rtol, p.y0)
        chosen = None if solver is None else solver()

        def run() -> Any:
            sol = ss.solve_ode(
                p.rhs, p.t0, p.t1, p.y0, p.args,
                solver=chosen, rtol=rtol, atol=atol, mass=p.mass, jump_ts=p.jump_ts, throw=False,
            )  # fmt: skip
            return jax.block_until_ready(jax.tree.map(lambda leaf: leaf[-1], sol.ys)), sol.stats

        start = time.perf_counter()
        run()
        first = time.perf_counter() - start
        start = time.perf_counter()
        run()
        notes: dict[str, Any] = {}

        def check(result: Any) -> float:
            y, stats = result
            for name in ("steps", "rejected_steps", "jacobians", "factorizations"):
                notes[name.split("_")[0]] = int(stats[f"num_{name}"])
            assert p.error is not None
            return p.error(y)

        return Trial(run, check, 1e3 * rtol, "error at the end", None, first - (time.perf_counter() - start), notes)

    return prepare


def batch(solver: Callable[[], Any] | None) -> Callable[..., Trial]:
    """Many systems with other rates each, under `vmap`."""

    def prepare(problem: str, lanes: int, rtol: float) -> Trial:
        p, rates, name = _many(problem, lanes)

        def one(rate: Any) -> Any:
            args = {**p.args, name: p.args[name] * rate}
            if solver is None:
                sol = ss.solve_ode(p.rhs, p.t0, p.t1, p.y0, args, rtol=rtol, atol=p.scale * rtol, throw=False)
            else:
                sol = dfx.diffeqsolve(
                    dfx.ODETerm(p.rhs), solver(), p.t0, p.t1, None, p.y0, args, throw=False, max_steps=10**6,
                    stepsize_controller=dfx.PIDController(rtol=rtol, atol=jnp.asarray(p.scale) * rtol),
                )  # fmt: skip
            return sol.ys[0], sol.stats["num_steps"]

        start = time.perf_counter()
        compiled = jax.jit(jax.vmap(one)).lower(rates).compile()
        seconds = time.perf_counter() - start
        notes: dict[str, Any] = {}

        def run() -> Any:
            return jax.block_until_ready(compiled(rates))

        def check(result: Any) -> float:
            notes["steps"] = f"{float(jnp.mean(result[1])):.0f}, most {int(jnp.max(result[1]))}"
            return _first_lanes_error(problem, lanes, np.asarray(result[0][:2]))

        return Trial(run, check, 1e3 * rtol, "error of two lanes", None, seconds, notes)

    return prepare


def scipy_loop(problem: str, lanes: int, rtol: float) -> Trial:
    """SciPy's BDF for ten of the systems one after the other, as often as it takes for all."""
    p, rates, name = _many(problem, lanes)
    f = Flat(p, rtol)

    def solve(rate: float) -> np.ndarray:
        f.problem.args[name] = base * rate
        return scipy.integrate.solve_ivp(
            f.rhs, (p.t0, p.t1), f.y0, method="BDF", jac=f.jacobian, rtol=rtol, atol=f.atol, t_eval=[p.t1]
        ).y[:, -1]

    base = p.args[name]
    some = min(10, lanes)

    def run() -> np.ndarray:
        ends = [solve(float(rate)) for rate in rates[:some]]
        return np.stack(ends)

    def check(ends: np.ndarray) -> float:
        return _first_lanes_error(problem, lanes, ends[:2])

    notes = {"systems": f"{some} of {lanes}: times {lanes // some}"}
    return Trial(run, check, 1e3 * rtol, "error of two lanes", f.setup_seconds, f.compile_seconds, notes)


def _many(problem: str, lanes: int) -> tuple[Any, Any, str]:
    p = build(problem, None)
    rates = jnp.asarray(np.random.default_rng(0).uniform(0.5, 2.0, lanes))
    return p, rates, "k1" if problem == "rober" else "k"


def _first_lanes_error(problem: str, lanes: int, ends: np.ndarray) -> float:
    """Of the first two systems, relative to a tight solution."""
    p, rates, name = _many(problem, lanes)
    worst = 0.0
    for rate, end in zip(rates[:2], ends, strict=True):
        args = {**p.args, name: p.args[name] * rate}
        tight = ss.solve_ode(p.rhs, p.t0, p.t1, p.y0, args, rtol=1e-10, atol=p.scale * 1e-10)
        exact = np.asarray(tight.ys[0])
        worst = max(worst, float(np.max(np.abs(end - exact) / np.maximum(np.abs(exact), p.scale))))
    return worst


BENCHMARK = Benchmark(
    "ode",
    "stiff integration, compiled: work and precision, batches",
    cases,
    {
        _OURS: ours(None),
        _BDF: ours(ss.BDF),
        _RODAS: ours(ss.Rodas5P),
        _KVAERNO: ours(ss.Kvaerno5),
        _SCIPY: scipy_method("BDF"),
        _RADAU: scipy_method("Radau"),
        _CVODE: cvode("direct"),
        _GMRES: cvode("GMRES"),
        _IDA: ida,
        _STOCK: stock_diffrax,
        "vmap": batch(None),
        "scipy BDF in a loop": scipy_loop,
        "diffrax Kvaerno5, vmap": batch(dfx.Kvaerno5),
    },
    budget=6.0,
)
