"""Stiff integrators other than ours: SciPy's BDF and Radau, CVODE and IDA of SUNDIALS, diffrax as it comes.

The right-hand side is the same JAX function, compiled, on NumPy vectors; Jacobians are sparsesolve's (the peers have
none). SUNDIALS is called through scikit-sundae.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
import scipy.sparse
from jax.flatten_util import ravel_pytree

import sparsesolve as ss
from benchmarks._base import SkipError, Trial
from sparsesolve import gallery


@functools.cache
def build(problem: str, size: int | None) -> gallery.OdeProblem:
    """A problem in time of the gallery."""
    make = getattr(gallery, problem)
    return make() if size is None else make(size)


class Compiled:
    """A problem's right-hand side and sparse Jacobian on NumPy vectors, compiled once in a process."""

    def __init__(self, problem: str, size: int | None):
        self.problem = build(problem, size)
        y0, self.unravel = ravel_pytree(self.problem.y0)
        self.y0 = np.asarray(y0)
        start = time.perf_counter()

        def flat(y: Any, t: Any, args: Any) -> Any:
            return ravel_pytree(self.problem.rhs(t, self.unravel(y), args))[0]

        jac = ss.jacobian(flat, y0, 0.5, self.problem.args)
        self.pattern = jac.pattern
        self.setup_seconds = time.perf_counter() - start
        start = time.perf_counter()
        operands = (y0, 0.5, self.problem.args)
        self.rhs = jax.jit(flat).lower(*operands).compile()
        self.jac = jax.jit(lambda y, t, args: jac(y, t, args).data).lower(*operands).compile()
        self.compile_seconds = time.perf_counter() - start


_compiled = functools.cache(Compiled)


class Flat:
    """Right-hand side and sparse Jacobian of a problem on NumPy vectors, and its tolerances."""

    def __init__(self, problem: str, size: int | None, rtol: float):
        code = _compiled(problem, size)
        self.problem, self.rtol = code.problem, rtol
        self.args = self.problem.args
        self.y0, self.unravel, self.pattern = code.y0, code.unravel, code.pattern
        self.setup_seconds, self.compile_seconds = code.setup_seconds, code.compile_seconds
        self._rhs, self._jac = code.rhs, code.jac
        scale = [np.broadcast_to(self.problem.scale, leaf.shape).ravel() for leaf in jax.tree.leaves(self.problem.y0)]
        self.atol = np.concatenate(scale) * rtol
        self.dense = self.y0.size <= 50
        template = self.pattern.to_scipy().tocsr().copy()
        template.data = np.arange(1.0, self.pattern.nnz + 1)
        by_columns = template.tocsc()
        self._order, self._columns = by_columns.data.astype(int) - 1, by_columns

    def rhs(self, t: float, y: np.ndarray) -> np.ndarray:
        """f(t, y)."""
        return np.asarray(self._rhs(y, np.float64(t), self.args))

    def column_data(self, t: float, y: np.ndarray) -> np.ndarray:
        """Values of df/dy, column by column."""
        return np.asarray(self._jac(y, np.float64(t), self.args))[self._order]

    def jacobian(self, t: float, y: np.ndarray) -> Any:
        """df/dy, dense for small systems."""
        out = self._columns.copy()
        out.data = self.column_data(t, y)
        return out.toarray() if self.dense else out

    def pieces(self) -> list[tuple[float, float]]:
        """The interval cut at the jumps, each piece open at both."""
        p = self.problem
        stops = [p.t0, *p.jump_ts, p.t1]
        return [
            (a if a == p.t0 else np.nextafter(a, b), b if b == p.t1 else np.nextafter(b, a))
            for a, b in itertools.pairwise(stops)
        ]

    def error(self, y: np.ndarray) -> float:
        """The problem's own measure of an end value."""
        assert self.problem.error is not None
        return self.problem.error(self.unravel(jnp.asarray(y)))

    def trial(self, run: Callable[[], np.ndarray], notes: dict[str, Any]) -> Trial:
        """What the harness times; an answer with two digits less than asked for does not count."""
        return Trial(
            run, self.error, 1e3 * self.rtol, "error at the end", self.setup_seconds, self.compile_seconds, notes
        )


def scipy_method(method: str) -> Callable[..., Trial]:
    """A peer: `scipy.integrate.solve_ivp` with a Jacobian."""

    def prepare(problem: str, size: int | None, rtol: float) -> Trial:
        f = Flat(problem, size, rtol)
        _no_mass(f, "scipy")
        notes: dict[str, Any] = {}

        def run() -> np.ndarray:
            y, counts = f.y0, np.zeros(4, int)
            for piece in f.pieces():
                out = scipy.integrate.solve_ivp(f.rhs, piece, y, method=method, jac=f.jacobian, rtol=rtol, atol=f.atol)
                y = out.y[:, -1]
                counts += (out.t.size - 1, out.nfev, out.njev, out.nlu)
            names = ("steps", "evaluations", "jacobians", "factorizations")
            notes.update(zip(names, map(int, counts), strict=True))
            return y

        return f.trial(run, notes)

    return prepare


def cvode(linear: str) -> Callable[..., Trial]:
    """A peer: CVODE with a dense or sparse direct solver, or GMRES."""

    def prepare(problem: str, size: int | None, rtol: float) -> Trial:
        from sksundae.cvode import CVODE

        f = Flat(problem, size, rtol)
        _no_mass(f, "CVODE")
        notes: dict[str, Any] = {}
        options: dict[str, Any] = {"linsolver": "gmres", "krylov_dim": 30}
        if linear == "direct":
            options = {"linsolver": "dense" if f.dense else "sparse", "jacfn": _jacfn(f)}
            options |= {} if f.dense else {"sparsity": f.pattern.to_scipy()}

        def rhsfn(t: float, y: np.ndarray, yp: np.ndarray) -> None:
            yp[:] = f.rhs(t, y)

        def run() -> np.ndarray:
            y, counts = f.y0, np.zeros(2, int)
            for a, b in f.pieces():
                solver = CVODE(rhsfn, method="BDF", rtol=rtol, atol=f.atol, max_num_steps=10**6, **options)
                out = solver.solve(np.asarray([a, b]), y)
                y = np.asarray(out.y)[-1]
                counts += (out.nfev, out.njev)
            notes.update(evaluations=int(counts[0]), jacobians=int(counts[1]))
            return y

        return f.trial(run, notes)

    return prepare


def _jacfn(f: Flat) -> Callable[..., None]:
    def fill(t: float, y: np.ndarray, yp: np.ndarray, out: np.ndarray) -> None:
        del yp
        out[...] = f.jacobian(t, y) if f.dense else f.column_data(t, y)

    return fill


def ida(problem: str, size: int | None, rtol: float) -> Trial:
    """A peer: IDA with a dense direct solver on `M y' = f`."""
    from sksundae.ida import IDA

    f = Flat(problem, size, rtol)
    mass = np.eye(f.y0.size) if f.problem.mass is None else f.problem.mass
    notes: dict[str, Any] = {}

    def residual(t: float, y: np.ndarray, yp: np.ndarray, out: np.ndarray) -> None:
        out[:] = mass @ yp - f.rhs(t, y)

    def jacfn(t: float, y: np.ndarray, yp: np.ndarray, res: np.ndarray, cj: float, out: np.ndarray) -> None:
        del yp, res
        out[...] = cj * mass - f.jacobian(t, y)

    slope = np.linalg.lstsq(mass, f.rhs(0.0, f.y0), rcond=None)[0]

    def run() -> np.ndarray:
        solver = IDA(residual, rtol=rtol, atol=f.atol, max_num_steps=10**6, linsolver="dense", jacfn=jacfn)
        out = solver.solve(np.asarray([f.problem.t0, f.problem.t1]), f.y0, slope)
        notes.update(evaluations=int(out.nfev), jacobians=int(out.njev))
        return np.asarray(out.y)[-1]

    return f.trial(run, notes)


def stock_diffrax(problem: str, size: int | None, rtol: float) -> Trial:
    """A peer: `diffrax.Kvaerno5` as it comes, with dense Jacobians."""
    p = build(problem, size)
    if p.mass is not None:
        raise SkipError("diffrax has no mass matrices")
    if p.num_unknowns > 500:
        raise SkipError("dense Jacobians")
    compiled, seconds = _stock(problem, size)
    notes: dict[str, Any] = {}

    def run() -> Any:
        return jax.block_until_ready(compiled(p.y0, p.args, jnp.asarray(rtol)))

    def check(result: Any) -> float:
        y, stats = result
        notes.update(steps=int(stats["num_steps"]), rejected=int(stats["num_rejected_steps"]))
        assert p.error is not None
        return p.error(y)

    return Trial(run, check, 1e3 * rtol, "error at the end", None, seconds, notes)


@functools.cache
def _stock(problem: str, size: int | None) -> tuple[Callable[..., Any], float]:
    """`diffrax.diffeqsolve` with its Kvaerno5 and the usual controller, compiled for every tolerance; and how long."""
    p = build(problem, size)

    def solve(y0: Any, args: Any, rtol: Any) -> Any:
        controller: Any = dfx.PIDController(rtol=rtol, atol=jnp.asarray(p.scale) * rtol)
        if p.jump_ts:
            controller = dfx.ClipStepSizeController(controller, jump_ts=jnp.asarray(p.jump_ts))
        sol = dfx.diffeqsolve(
            dfx.ODETerm(p.rhs), dfx.Kvaerno5(), p.t0, p.t1, None, y0, args,
            stepsize_controller=controller, max_steps=10**6, throw=False,
        )  # fmt: skip
        return jax.tree.map(lambda leaf: leaf[-1], sol.ys), sol.stats

    start = time.perf_counter()
    compiled = jax.jit(solve).lower(p.y0, p.args, jnp.asarray(1e-6)).compile()
    return compiled, time.perf_counter() - start


def _no_mass(f: Flat, name: str) -> None:
    if f.problem.mass is not None:
        raise SkipError(f"{name} has no mass matrices")
