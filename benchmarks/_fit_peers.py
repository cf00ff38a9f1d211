"""Least squares by SciPy, lmfit and GTSAM, and what all peers share: checks, collections of small fits."""

from __future__ import annotations

import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.sparse
from jax.flatten_util import ravel_pytree

import sparsesolve as ss
from benchmarks._base import SkipError, Trial

_STEPS = 2000


def waiting(compiled: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    """A call that returns when its work is done."""
    return lambda: jax.block_until_ready(compiled(*args))


def excess(p: Any, cost: float, target: float | None, notes: dict[str, Any]) -> float:
    """Relative excess of a sum of squares over the least one known; a failed fit counts as 1."""
    notes["cost"] = f"{cost:.8g}"
    least = reference_cost(p) if target is None else target
    return max(cost / least - 1, 0.0) if np.isfinite(cost) else 1.0


def reference_cost(p: Any) -> float:
    """The sum of squares of a fit from the truth."""
    sol = ss.least_squares(p.residual, None, p.solution, p.args, retract=p.retract, throw=False)
    return 2 * float(sol.stats["cost"])


def collection(problems: list[Any], fit: Callable[[Any], tuple[Any, int]]) -> Trial:
    """All runs one after the other; the error is the share of runs with fewer than six digits."""
    notes: dict[str, Any] = {}
    start = time.perf_counter()
    for p in problems:
        _attempt(fit, p)
    first = time.perf_counter() - start

    def run() -> list[tuple[Any, int]]:
        return [_attempt(fit, p) for p in problems]

    def check(results: list[tuple[Any, int]]) -> float:
        good = [p.error(value) <= 1e-6 for p, (value, _) in zip(problems, results, strict=True)]
        notes.update(solved=f"{sum(good)} of {len(good)}", evaluations=sum(count for _, count in results))
        return 1 - sum(good) / len(good)

    # Wrong answers are part of what is compared here, so all are timed.
    return Trial(run, check, 1.0, "share of runs below six digits", None, first, notes)


def _attempt(fit: Callable[[Any], tuple[Any, int]], p: Any) -> tuple[Any, int]:
    try:
        return fit(p)
    except (RuntimeError, ValueError, FloatingPointError, OverflowError):
        return np.full(len(p.y0), np.nan), 0


@functools.cache
def _compiled(residual: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return jax.jit(residual), jax.jit(jax.jacfwd(residual))


def functions(p: Any) -> tuple[Callable[[Any], np.ndarray], Callable[[Any], np.ndarray]]:
    residual, jacobian = _compiled(p.residual)
    return (lambda b: np.asarray(residual(b, p.args))), (lambda b: np.asarray(jacobian(b, p.args)))


def _scipy_curve(p: Any, method: str) -> tuple[Any, int]:
    residual, jacobian = functions(p)
    options = {"x_scale": "jac", "max_nfev": _STEPS, "ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}
    fit = scipy.optimize.least_squares(residual, np.asarray(p.y0), jacobian, method=method, **options)
    return fit.x, fit.nfev


def _curve_fit(p: Any) -> tuple[Any, int]:
    model = _compiled_model(p.model)
    x, y = np.asarray(p.args["x"]), np.asarray(p.args["y"])
    found = scipy.optimize.curve_fit(lambda x, *b: np.asarray(model(x, *b)), x, y, np.asarray(p.y0), full_output=True)
    return found[0], found[2]["nfev"]


@functools.cache
def _compiled_model(model: Any) -> Callable[..., Any]:
    return jax.jit(model)


def _lmfit_curve(p: Any) -> tuple[Any, int]:
    import lmfit

    residual, jacobian = functions(p)
    names = [f"b{i}" for i in range(len(p.y0))]
    start = lmfit.Parameters()
    for name, value in zip(names, np.asarray(p.y0), strict=True):
        start.add(name, value=value)

    def vector(parameters: Any) -> np.ndarray:
        return np.array([parameters[name].value for name in names])

    found = lmfit.minimize(
        lambda q: residual(vector(q)), start, Dfun=lambda q: jacobian(vector(q)).copy(), max_nfev=_STEPS
    )
    return vector(found.params), found.nfev


CURVES: dict[str, Callable[[Any], tuple[Any, int]]] = {
    "trf": lambda p: _scipy_curve(p, "trf"),
    "lm": lambda p: _scipy_curve(p, "lm"),
    "curve_fit": _curve_fit,
    "lmfit": _lmfit_curve,
}


def one_call(call: Callable[..., Any]) -> Trial:
    """A fit of three parameters to 50 data, as a script calls it: after the first call, nothing else prepared."""
    x = np.linspace(0.0, 4.0, 50)
    y = 2.5 * np.exp(-1.3 * x) + 0.5 + 0.05 * np.sin(40.0 * x)
    start = [1.0, 1.0, 0.0]

    def model(x: Any, a: Any, k: Any, c: Any) -> Any:
        return a * (jnp if isinstance(a, jax.Array) else np).exp(-k * x) + c

    first = time.perf_counter()
    call(model, x, y, start)
    first = time.perf_counter() - first
    exact = scipy.optimize.curve_fit(model, x, y, start, xtol=1e-14, ftol=1e-14)[0]

    def check(found: Any) -> float:
        return float(np.max(np.abs(np.asarray(found[0]) / exact - 1)))

    return Trial(lambda: call(model, x, y, start), check, 1e-5, "deviation of parameters", None, first)


def _lmfit_call(model: Any, x: Any, y: Any, start: Any) -> Any:
    import lmfit

    names = ("a", "k", "c")
    found = lmfit.Model(model).fit(y, x=x, **dict(zip(names, start, strict=True)))
    return [[found.best_values[name] for name in names]]


CALLS: dict[str, Callable[..., Any]] = {"curve_fit": scipy.optimize.curve_fit, "lmfit": _lmfit_call}


def spread_of_poses(covariances: Any, notes: dict[str, Any]) -> float:
    """Deviation of two poses' spreads from GTSAM's published-start marginals, which the benchmark's peer recomputes."""
    spread = np.sqrt(np.trace(np.asarray(covariances), axis1=1, axis2=2))
    notes.update(poses=len(spread), largest=f"{spread.max():.6g}")
    return float(abs(spread[3498] / 16.365977600518303 - 1))


def gtsam_marginals(path: pathlib.Path) -> Trial:
    """GTSAM's `Marginals` of all poses at its solution."""
    import gtsam

    graph, values = _gtsam_graph(gtsam, "m3500", path)
    found = gtsam.LevenbergMarquardtOptimizer(graph, values).optimize()
    notes: dict[str, Any] = {}

    def run() -> Any:
        marginals = gtsam.Marginals(graph, found)
        return np.stack([marginals.marginalCovariance(i) for i in range(1, 3500)])

    return Trial(run, lambda C: spread_of_poses(C, notes), 1e-4, "deviation", None, None, notes)


def decay_check(p: Any) -> Callable[[Any], float]:
    """The share of small fits whose cost is more than 1e-6 above that of a fit from the truth."""

    def check(values: Any) -> float:
        def cost(y: Any) -> Any:
            return jnp.sum(p.residual(y, p.args) ** 2, axis=1)

        best = ss.least_squares(p.residual, None, p.solution, p.args, throw=False).value
        found, least = np.asarray(cost(values)), np.asarray(cost(best))
        return float(np.mean(~(found <= least * (1 + 1e-6))))

    return check


def decays(p: Any) -> Trial:
    """`scipy.optimize.curve_fit` in a loop over the small fits, its derivatives by differences."""
    t, data = np.asarray(p.args["t"]), np.asarray(p.args["y"])

    def model(t: np.ndarray, a: float, k: float, c: float) -> np.ndarray:
        return a * np.exp(-k * t) + c

    def run() -> Any:
        found = np.full((len(data), 3), np.nan)
        for i, y in enumerate(data):
            try:
                found[i] = scipy.optimize.curve_fit(model, t, y, [1.0, 1.0, 0.0])[0]
            except RuntimeError:
                continue
        return {name: jnp.asarray(found[:, j]) for j, name in enumerate(("amplitude", "rate", "offset"))}

    return Trial(run, decay_check(p), 1e-3, "fits not at the minimum", None, None, {"fits": len(data)})


def scipy_trial(method: str, p: Any, target: float | None) -> Trial:
    """`scipy.optimize.least_squares` with the sparse Jacobian of sparsesolve (dense for MINPACK's `lm`)."""
    if method not in ("trf", "lm"):
        raise SkipError(f"{method} has no sparse Jacobians")
    if p.retract is not None:
        raise SkipError("no retractions")
    y0, unravel = ravel_pytree(p.y0)
    start = time.perf_counter()
    prepared = ss.jacobian(p.residual, p.y0, p.args)
    setup = time.perf_counter() - start
    start = time.perf_counter()
    values = jax.jit(lambda y: prepared(unravel(y), p.args).data).lower(y0).compile()
    residual = jax.jit(lambda y: ravel_pytree(p.residual(unravel(y), p.args))[0]).lower(y0).compile()
    compilation = time.perf_counter() - start
    pattern = prepared.pattern
    notes: dict[str, Any] = {}

    def jacobian(y: np.ndarray) -> Any:
        data = np.asarray(values(jnp.asarray(y)))
        matrix = scipy.sparse.csr_matrix((data, pattern.indices, pattern.indptr), pattern.shape)
        return matrix.toarray() if method == "lm" else matrix

    def run() -> Any:
        return scipy.optimize.least_squares(
            lambda y: np.asarray(residual(jnp.asarray(y))), np.asarray(y0), jacobian, method=method, x_scale="jac"
        )

    def check(found: Any) -> float:
        notes.update(evaluations=int(found.nfev))
        return excess(p, 2 * found.cost, target, notes)

    return Trial(run, check, 1e-6, "excess over the least sum of squares", setup, compilation, notes)


def gtsam_trial(problem: str, path: pathlib.Path, steps: int, target: float) -> Trial:
    """GTSAM's Levenberg-Marquardt: its own factors, in C++."""
    import gtsam

    start = time.perf_counter()
    graph, values = _gtsam_graph(gtsam, problem, path)
    setup = time.perf_counter() - start
    parameters = gtsam.LevenbergMarquardtParams.CeresDefaults() if problem == "ladybug" else None
    parameters = parameters or gtsam.LevenbergMarquardtParams()
    if steps:
        parameters.setMaxIterations(steps)
    notes: dict[str, Any] = {}

    def run() -> Any:
        optimizer = gtsam.LevenbergMarquardtOptimizer(graph, values, parameters)
        found = optimizer.optimize()
        return graph.error(found), optimizer.iterations()

    def check(result: Any) -> float:
        cost = 2 * result[0]
        notes.update(steps=result[1], cost=f"{cost:.8g}")
        return max(cost / target - 1, 0.0)

    tolerance = 0.01 if problem == "ladybug" else 1e-4
    return Trial(run, check, tolerance, "excess over the least sum of squares", setup, None, notes)


def _gtsam_graph(gtsam: Any, problem: str, path: pathlib.Path) -> tuple[Any, Any]:
    if problem != "ladybug":
        graph, values = gtsam.readG2o(str(path), problem != "m3500")
        pose = values.atPose2(0) if problem == "m3500" else values.atPose3(0)
        prior = gtsam.PriorFactorPose2 if problem == "m3500" else gtsam.PriorFactorPose3
        size = 3 if problem == "m3500" else 6
        graph.add(prior(0, pose, gtsam.noiseModel.Diagonal.Sigmas(np.full(size, 1e-6))))
        return graph, values
    data = gtsam.SfmData.FromBalFile(str(path))
    graph, values = gtsam.NonlinearFactorGraph(), gtsam.Values()
    noise = gtsam.noiseModel.Isotropic.Sigma(2, 1.0)
    for j in range(data.numberTracks()):
        track = data.track(j)
        for k in range(track.numberMeasurements()):
            i, uv = track.measurement(k)
            graph.add(gtsam.GeneralSFMFactorCal3Bundler(uv, noise, i, gtsam.symbol("p", j)))
        values.insert(gtsam.symbol("p", j), track.point3())
    for i in range(data.numberCameras()):
        values.insert(i, data.camera(i))
    return graph, values
