"""Ceres, by its Python bindings, on the problems of this benchmark: steps and costs are comparable, times are not.

The wheel has no factors of its own, so residual blocks are evaluated in Python, one at a time, as Ceres asks for them.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._base import SkipError, Trial

Evaluate = Callable[[list[np.ndarray], bool], tuple[np.ndarray, list[np.ndarray]]]


def ceres_trial(problem: str, p: Any, steps: int, target: float) -> Trial:
    """`ceres::Solve` with tight tolerances, Schur elimination for bundle adjustment, else sparse normal equations."""
    pyceres = _quiet_ceres()
    start = time.perf_counter()
    blocks, residuals = _bundle(p) if problem == "ladybug" else _pose_graph(p) if problem == "m3500" else (None, None)
    if blocks is None or residuals is None:
        raise SkipError("written for bundle adjustment and planar pose graphs only")
    setup = time.perf_counter() - start
    notes: dict[str, Any] = {}

    def run() -> Any:
        values = [block.copy() for block in blocks]
        task, costs = pyceres.Problem(), []
        for which, size, evaluate in residuals:
            costs.append(_cost_function(pyceres, evaluate, size, [values[i].size for i in which]))
            task.add_residual_block(costs[-1], None, [values[i] for i in which])
        options, summary = pyceres.SolverOptions(), pyceres.SolverSummary()
        kinds = pyceres.LinearSolverType
        options.linear_solver_type = kinds.SPARSE_SCHUR if problem == "ladybug" else kinds.SPARSE_NORMAL_CHOLESKY
        options.max_num_iterations = steps or 50
        options.function_tolerance = options.parameter_tolerance = options.gradient_tolerance = 1e-14
        options.minimizer_progress_to_stdout = False
        pyceres.solve(options, task, summary)
        return summary

    def check(summary: Any) -> float:
        cost = 2 * summary.final_cost
        tried = summary.num_successful_steps - 1 + summary.num_unsuccessful_steps
        notes.update(steps=tried, cost=f"{cost:.8g}", time="in Python")
        return max(cost / target - 1, 0.0)

    return Trial(
        run, check, 0.01 if problem == "ladybug" else 1e-6, "excess over the least sum of squares", setup, None, notes
    )


def _quiet_ceres() -> Any:
    import pyceres

    pyceres.logging.minloglevel = 3  # it prints every block with an infinite residual
    return pyceres


def ceres_curve(p: Any, functions: Any) -> tuple[Any, int]:
    """One run of NIST's collection, a dense residual block; also the number of evaluations."""
    pyceres = _quiet_ceres()
    residual, jacobian = functions
    y = np.array(p.y0, float)

    def evaluate(parameters: list[np.ndarray], slopes: bool) -> Any:
        return residual(parameters[0]), [jacobian(parameters[0])] if slopes else []

    cost = _cost_function(pyceres, evaluate, len(p.args["y"]), [y.size])
    task, options, summary = pyceres.Problem(), pyceres.SolverOptions(), pyceres.SolverSummary()
    task.add_residual_block(cost, None, [y])
    options.linear_solver_type = pyceres.LinearSolverType.DENSE_QR
    options.max_num_iterations = 2000
    options.function_tolerance = options.parameter_tolerance = options.gradient_tolerance = 1e-15
    pyceres.solve(options, task, summary)
    return y, summary.num_residual_evaluations


def _cost_function(pyceres: Any, evaluate: Evaluate, size: int, sizes: list[int]) -> Any:
    class Cost(pyceres.CostFunction):
        def __init__(self) -> None:
            super().__init__()
            self.set_num_residuals(size)
            self.set_parameter_block_sizes(sizes)

        def Evaluate(self, parameters: Any, residuals: Any, jacobians: Any) -> bool:
            values, slopes = evaluate(parameters, jacobians is not None)
            residuals[:] = values
            for to, slope in zip(jacobians or [], slopes, strict=False):
                if to is not None:
                    to[:] = slope.ravel()
            return True

    return Cost()


def _pose_graph(p: Any) -> tuple[list[np.ndarray], list[Any]]:
    """Poses (x, y, angle); the first is held. The problem's own residual, block by block, with its derivatives."""
    tables = inspect.getclosurevars(p.residual).nonlocals
    first, second = np.asarray(tables["first"]), np.asarray(tables["second"])
    measured, root = np.asarray(p.args["displacement"]), np.asarray(p.args["whitening"])
    held = np.asarray(p.args["anchor"])
    residuals = []
    for i, j, d, weight in zip(first, second, measured, root, strict=True):
        which = [k - 1 for k in (i, j) if k > 0]

        def evaluate(y: list[np.ndarray], slopes: bool, i=i, j=j, d=d, weight=weight) -> Any:
            rest = list(y)
            a = rest.pop(0) if i > 0 else held
            b = rest.pop(0) if j > 0 else held
            c, s = np.cos(a[2]), np.sin(a[2])
            x, z = b[0] - a[0], b[1] - a[1]
            turn = b[2] - a[2] - d[2]
            ahead, aside = c * x + s * z, -s * x + c * z
            e = np.array([ahead - d[0], aside - d[1], np.arctan2(np.sin(turn), np.cos(turn))])
            if not slopes:
                return weight @ e, []
            left = np.array([[-c, -s, aside], [s, -c, -ahead], [0.0, 0.0, -1.0]])
            right = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
            return weight @ e, [weight @ m for k, m in ((i, left), (j, right)) if k > 0]

        residuals.append((which, 3, evaluate))
    return [np.array(pose) for pose in np.asarray(p.y0)], residuals


def _bundle(p: Any) -> tuple[list[np.ndarray], list[Any]]:
    """Cameras, then points; residuals of Snavely's camera with derivatives written out."""
    cameras, points = np.asarray(p.y0["cameras"]), np.asarray(p.y0["points"])
    tables = inspect.getclosurevars(p.residual).nonlocals
    camera, point = np.asarray(tables["camera"]), np.asarray(tables["point"])
    observed = np.asarray(p.args["observed"])
    residuals = []
    for i, j, seen in zip(camera, point, observed, strict=True):

        def evaluate(y: list[np.ndarray], slopes: bool, seen=seen) -> Any:
            values, found = _project(y[0], y[1], slopes)
            return values - seen, found

        residuals.append(([int(i), len(cameras) + int(j)], 2, evaluate))
    return [np.array(block) for block in (*cameras, *points)], residuals


def _project(camera: np.ndarray, X: np.ndarray, slopes: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    w, f, k1, k2 = camera[:3], camera[6], camera[7], camera[8]
    angle = np.sqrt(w @ w) + 1e-30
    K = np.array([[0.0, -w[2], w[1]], [w[2], 0.0, -w[0]], [-w[1], w[0], 0.0]]) / angle
    sine, versine = np.sin(angle), 1 - np.cos(angle)
    R = np.eye(3) + sine * K + versine * (K @ K)
    P = R @ X + camera[3:6]
    q = -P[:2] / P[2]
    s = q @ q
    bend = 1 + s * (k1 + k2 * s)
    if not slopes:
        return f * bend * q, []
    by_q = f * (bend * np.eye(2) + 2 * (k1 + 2 * k2 * s) * np.outer(q, q))
    by_p = by_q @ np.array([[-1 / P[2], 0.0, P[0] / P[2] ** 2], [0.0, -1 / P[2], P[1] / P[2] ** 2]])
    cross = np.array([[0.0, -X[2], X[1]], [X[2], 0.0, -X[0]], [-X[1], X[0], 0.0]])
    right = np.eye(3) - versine / angle * K + (1 - sine / angle) * (K @ K)
    by_camera = np.concatenate(
        [-by_p @ R @ cross @ right, by_p, np.stack([bend * q, f * s * q, f * s * s * q], axis=1)], axis=1
    )
    return f * bend * q, [by_camera, by_p @ R]
