"""Nonlinear least squares: from the published start to the minimum, compiled; small fits by the thousand."""

from __future__ import annotations

import functools
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax

import sparsesolve as ss
from benchmarks import _fit_peers as peers
from benchmarks._base import Benchmark, Case, SkipError, Trial
from benchmarks._ceres import ceres_curve, ceres_trial
from benchmarks._fit_picture import draw
from sparsesolve import gallery

_OURS, _DENSE = "sparsesolve", "optimistix LM"
_TRF, _LM, _CURVE, _LMFIT = "scipy trf", "scipy lm", "scipy curve_fit", "lmfit"
_GTSAM, _CERES = "gtsam", "ceres"
_FILES = {
    "ladybug": "bal/problem-49-7776-pre.txt",
    "m3500": "g2o/input_M3500_g2o.g2o",
    "sphere2500": "g2o/sphere2500.g2o",
}
COSTS = {"ladybug": 26688.6, "m3500": 137.912951, "sphere2500": 1351.401926}
"""Sums of squares to be reached (see `data_path` for where the problems come from)."""


def cases(quick: bool) -> list[Case]:
    """Curves of NIST, many peaks, many small fits, and the published problems where their files are found."""
    found = [
        Case("NIST, all runs", {"problem": "nist", "size": 0}, (_OURS, _LM, _TRF, _CURVE, _LMFIT, _DENSE, _CERES)),
        Case("one curve_fit call", {"problem": "call", "size": 1}, (_OURS, _CURVE, _LMFIT)),
        Case("150 peaks", {"problem": "peaks", "size": 150}, (_OURS, _TRF, _LM, _DENSE)),
        Case(
            f"{200 if quick else 2000} small fits",
            {"problem": "decays", "size": 200 if quick else 2000},
            (_OURS, _CURVE, _DENSE),
        ),
    ]
    if not quick:
        found += [
            Case("2000 peaks", {"problem": "peaks", "size": 2000}, (_OURS, _TRF)),
            Case("Ladybug-49, 5 steps", {"problem": "ladybug", "size": 5}, (_OURS, _GTSAM, _CERES)),
            Case("M3500", {"problem": "m3500", "size": 0}, (_OURS, _GTSAM, _CERES, _TRF)),
            Case("M3500, covariances of all poses", {"problem": "covariance", "size": 0}, (_OURS, _GTSAM)),
            Case("sphere2500", {"problem": "sphere2500", "size": 0}, (_OURS, _GTSAM)),
        ]
    return found


def data_path(name: str) -> pathlib.Path:
    """A published problem in the data folder.

    Raises:
        SkipError: it is not there.
    """
    folder = pathlib.Path(os.environ.get("SPARSESOLVE_DATA", pathlib.Path(__file__).parents[2] / "shared" / "data"))
    path = folder / _FILES[name]
    if not path.exists():
        raise SkipError(f"there is no {path.name} in the data folder; set SPARSESOLVE_DATA to it")
    return path


@functools.cache
def build(problem: str, size: int) -> gallery.FitProblem:
    """The problem of a case."""
    if problem == "peaks":
        return gallery.spectral_peaks(size, noise=0.02)
    if problem == "decays":
        return gallery.exponential_fits(size, noise=0.02)
    if problem == "ladybug":
        return gallery.read_bal(data_path(problem))
    return gallery.read_g2o(data_path(problem))


def nist_runs() -> list[gallery.FitProblem]:
    """Both starts of the published files, or of the transcribed sets where there are none."""
    folder = pathlib.Path(os.environ.get("SPARSESOLVE_DATA", pathlib.Path(__file__).parents[2] / "shared" / "data"))
    files = sorted((folder / "nist").glob("*.dat"))
    if files:
        return [gallery.read_nist(path, start) for path in files for start in (1, 2)]
    return [gallery.nist(name, start) for name in gallery.NIST_SETS for start in (1, 2)]


def sparsesolve(problem: str, size: int) -> Trial:
    """`sparsesolve.least_squares` at its defaults."""
    if problem == "nist":
        return peers.collection(nist_runs(), _our_curve)
    if problem == "call":
        return peers.one_call(_our_call)
    if problem == "covariance":
        return _our_covariance()
    p = build(problem, size)
    if problem == "decays":
        return _mapped(p, lambda residual, y0, args: ss.least_squares(residual, None, y0, args, throw=False))
    steps: dict[str, Any] = {"max_steps": size} if problem == "ladybug" else {}

    def solve(y0: Any, args: Any) -> Any:
        sol = ss.least_squares(p.residual, None, y0, args, retract=p.retract, throw=False, **steps)
        return sol.value, {name: sol.stats[name] for name in ("num_steps", "num_residuals", "cost")}

    compiled, setup, compilation = staged(solve, p.y0, p.args)
    notes: dict[str, Any] = {}

    def check(result: Any) -> float:
        stats = result[1]
        notes.update(steps=int(stats["num_steps"]), evaluations=int(stats["num_residuals"]))
        return peers.excess(p, 2 * float(stats["cost"]), target(problem, p), notes)

    tolerance = 0.01 if problem == "ladybug" else 1e-6
    run = peers.waiting(compiled, p.y0, p.args)
    return Trial(run, check, tolerance, "excess over the least sum of squares", setup, compilation, notes)


def target(problem: str, p: gallery.FitProblem) -> float | None:
    """The least sum of squares, where it is published; `None`: that of a tight fit by this package."""
    return COSTS.get(problem)


def optimistix(problem: str, size: int) -> Trial:
    """`optimistix.LevenbergMarquardt`, dense, with tight tolerances."""
    import optimistix as optx

    def fit(residual: Any, y0: Any, args: Any) -> Any:
        return optx.least_squares(
            residual, optx.LevenbergMarquardt(1e-10, 1e-10), y0, args, max_steps=1000, throw=False
        )

    if problem == "nist":
        return peers.collection(nist_runs(), lambda p: _optimistix_curve(p, fit))
    p = build(problem, size)
    if problem == "decays":
        return _mapped(p, fit)

    def solve(y0: Any, args: Any) -> Any:
        sol = fit(p.residual, y0, args)
        return sol.value, sol.stats["num_steps"]

    compiled, setup, compilation = staged(solve, p.y0, p.args)
    notes: dict[str, Any] = {}

    def check(result: Any) -> float:
        notes.update(steps=int(result[1]))
        return peers.excess(p, p.sum_of_squares(result[0]), target(problem, p), notes)

    run = peers.waiting(compiled, p.y0, p.args)
    return Trial(run, check, 1e-6, "excess over the least sum of squares", setup, compilation, notes)


def _our_call(model: Any, x: Any, y: Any, start: Any) -> Any:
    return jax.block_until_ready(ss.curve_fit(model, x, y, start))


def _our_covariance() -> Trial:
    p = build("m3500", 0)
    sol = ss.least_squares(p.residual, None, p.y0, p.args, throw=False)

    def run() -> Any:
        return jax.block_until_ready(ss.covariance(sol, lambda y: y, blocks=True, absolute_sigma=True))

    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    notes: dict[str, Any] = {}
    return Trial(run, lambda C: peers.spread_of_poses(C, notes), 1e-4, "deviation", None, first, notes)


def _our_curve(p: gallery.FitProblem) -> tuple[Any, int]:
    sol = ss.least_squares(p.residual, None, p.y0, p.args, throw=False)
    return sol.value, int(sol.stats["num_residuals"])


def _optimistix_curve(p: gallery.FitProblem, fit: Any) -> tuple[Any, int]:
    sol = fit(p.residual, p.y0, p.args)
    return sol.value, int(sol.stats["num_steps"])


def _mapped(p: gallery.FitProblem, fit: Callable[..., Any]) -> Trial:
    """All small fits under `vmap`."""

    def single(y0: Any, data: Any) -> Any:
        return fit(p.residual, y0, {"t": p.args["t"], "y": data}).value

    compiled, setup, compilation = staged(jax.vmap(single), p.y0, p.args["y"])
    count = len(p.args["y"])
    run = peers.waiting(compiled, p.y0, p.args["y"])
    return Trial(run, peers.decay_check(p), 1e-3, "fits not at the minimum", setup, compilation, {"fits": count})


def staged(function: Callable[..., Any], *args: Any) -> tuple[Callable[..., Any], float, float]:
    """The compiled function, seconds of tracing (where plans are made), and of compiling."""
    start = time.perf_counter()
    traced = jax.jit(function).trace(*args)
    middle = time.perf_counter()
    compiled = traced.lower().compile()
    return compiled, middle - start, time.perf_counter() - middle


def _peer(kind: str) -> Callable[..., Trial]:
    def make(problem: str, size: int) -> Trial:
        if problem == "call":
            return peers.one_call(peers.CALLS[kind])
        if problem == "nist":
            return peers.collection(nist_runs(), peers.CURVES[kind])
        if problem == "decays":
            return peers.decays(build(problem, size))
        p = build(problem, size)
        return peers.scipy_trial(kind, p, target(problem, p))

    return make


def gtsam(problem: str, size: int) -> Trial:
    """GTSAM's Levenberg-Marquardt on its own factors."""
    if problem == "covariance":
        return peers.gtsam_marginals(data_path("m3500"))
    return peers.gtsam_trial(problem, data_path(problem), size, COSTS[problem])


def ceres(problem: str, size: int) -> Trial:
    """Ceres with residuals in Python: for its steps and costs."""
    if problem == "nist":
        return peers.collection(nist_runs(), lambda p: ceres_curve(p, peers.functions(p)))
    return ceres_trial(problem, build(problem, size), size, COSTS.get(problem, 0.0))


def finish(rows: list[dict[str, Any]], path: pathlib.Path | None) -> str:
    """Draws how the costs of published problems fall, where all cases were run."""
    del rows
    if path is None or path.name.endswith("_quick.json"):
        return "pictures are drawn by a whole run"
    found = {}
    with jax.enable_x64(True):
        for name, target in COSTS.items():
            try:
                found[name] = (build(name, 0), target)
            except SkipError:
                continue
        return f"wrote {draw(found, path.with_suffix('.png'))}"


BENCHMARK = Benchmark(
    "least_squares",
    "nonlinear least squares from the published start to the minimum, compiled",
    cases,
    {
        _OURS: sparsesolve,
        _DENSE: optimistix,
        _TRF: _peer("trf"),
        _LM: _peer("lm"),
        _CURVE: _peer("curve_fit"),
        _LMFIT: _peer("lmfit"),
        _GTSAM: gtsam,
        _CERES: ceres,
    },
    finish=finish,
)
