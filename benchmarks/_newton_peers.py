"""Newton's method put together from other parts: SciPy's sparse LU and Krylov solver, optimistix."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.sparse.linalg
from jax.flatten_util import ravel_pytree

import sparsesolve as ss
from benchmarks._base import Trial
from benchmarks._problems import build

TOLERANCE = 1e-8
"""Residual norm relative to the start that a solution must reach for its time to count."""


class Residual:
    """The raveled residual of a problem and its Jacobian, compiled, on NumPy vectors."""

    def __init__(self, problem: Any):
        self.problem = problem
        flat, self.unravel = ravel_pytree(problem.y0)
        self.y0 = np.asarray(flat)
        start = time.perf_counter()
        jac = ss.jacobian(problem.residual, problem.y0, problem.args)
        self.pattern = jac.pattern
        self.setup_seconds = time.perf_counter() - start
        start = time.perf_counter()
        self._jacobian = jax.jit(lambda y, args: jac(self.unravel(y), args).data).lower(flat, problem.args).compile()
        self._residual = (
            jax.jit(lambda y, args: ravel_pytree(problem.residual(self.unravel(y), args))[0])
            .lower(flat, problem.args)
            .compile()
        )
        self.compile_seconds = time.perf_counter() - start
        self.start_norm = float(np.linalg.norm(self(self.y0)))

    def __call__(self, y: np.ndarray) -> np.ndarray:
        return np.asarray(self._residual(jnp.asarray(y), self.problem.args))

    def factorize(self, y: np.ndarray) -> Any:
        """SuperLU of the transposed Jacobian: its CSR arrays are the CSC arrays of the transpose."""
        data = np.asarray(self._jacobian(jnp.asarray(y), self.problem.args))
        transposed = scipy.sparse.csc_matrix((data, self.pattern.indices, self.pattern.indptr), self.pattern.shape)
        return scipy.sparse.linalg.splu(transposed, permc_spec="MMD_AT_PLUS_A")

    def relative_norm(self, y: Any) -> float:
        """Norm of the residual at `y` (raveled or not) relative to the start."""
        return float(np.linalg.norm(self(np.asarray(ravel_pytree(y)[0])))) / self.start_norm


def newton_splu(f: Residual, max_steps: int = 30) -> tuple[np.ndarray, int]:
    """Newton with `scipy.sparse.linalg.splu`, halving where the residual does not decrease."""
    y, r = f.y0, f(f.y0)
    for step in range(max_steps):
        if np.linalg.norm(r) <= 1e-10 * f.start_norm:
            return y, step
        direction, length = f.factorize(y).solve(r, trans="T"), 1.0
        while np.linalg.norm(trial := f(y - length * direction)) > np.linalg.norm(r) and length > 1e-4:
            length /= 2
        y, r = y - length * direction, trial
    return y, max_steps


def splu(problem: str, n: int) -> Trial:
    """Newton with SuperLU, its Jacobians from sparsesolve (SciPy has none)."""
    f = Residual(build(problem, n))
    notes: dict[str, Any] = {}

    def run() -> np.ndarray:
        y, notes["steps"] = newton_splu(f)
        return y

    return Trial(run, f.relative_norm, TOLERANCE, "relative residual", f.setup_seconds, f.compile_seconds, notes)


def newton_krylov(problem: str, n: int) -> Trial:
    """`scipy.optimize.newton_krylov` with its defaults."""
    f = Residual(build(problem, n))
    target = TOLERANCE / 2 * f.start_norm

    def run() -> np.ndarray:
        return scipy.optimize.newton_krylov(f, f.y0, f_tol=target, maxiter=200, tol_norm=np.linalg.norm)

    return Trial(run, f.relative_norm, TOLERANCE, "relative residual", None, f.compile_seconds)


def splu_gradient(problem: str, n: int) -> Trial:
    """Gradient of the mean with respect to lam: Newton with SuperLU and one adjoint solve by hand."""
    f = Residual(build(problem, n))

    def run() -> float:
        y, _ = newton_splu(f)
        adjoint = f.factorize(y).solve(np.full(y.size, 1 / y.size))  # J^T w = grad of the mean
        along = f.problem.args
        tangent = {**jax.tree.map(jnp.zeros_like, along), "lam": jnp.ones_like(along["lam"])}
        by_lam = jax.jvp(lambda a: f.problem.residual(f.unravel(y), a), (along,), (tangent,))[1]
        return -float(adjoint @ np.asarray(by_lam).ravel())

    return Trial(run, gradient_error(problem, n), 1e-6, "error of gradient", f.setup_seconds, f.compile_seconds)


def gradient_error(problem: str, n: int) -> Callable[[Any], float]:
    """Relative difference of a gradient from central differences of SuperLU solutions."""

    def check(gradient: Any) -> float:
        p, step = build(problem, n), 1e-3
        means = []
        for sign in (-1, 1):
            f = Residual(p)
            f.problem = _with_lam(p, p.args["lam"] + sign * step)
            means.append(float(newton_splu(f)[0].mean()))
        difference = (means[1] - means[0]) / (2 * step)
        return abs(float(gradient) / difference - 1)

    return check


def _with_lam(problem: Any, lam: float) -> Any:
    return dataclasses.replace(problem, args={**problem.args, "lam": lam})
