"""Steps of Radau IIA methods, recorded and linearized.

The stages Z_i = Y_i - x of a step solve one system,

    R(x, Z; p) = f(t + c h, x + Z; p) - M (A^-1 Z) / h = 0,     y_1 = x + Z_s,

and are what a record holds. A sweep solves one system of size s n a step with -dR/dZ or its transpose, preconditioned
by the factors that the Newton iteration of the method uses: a real and some complex ones of size n.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sparsesolve.matrix import SparseMatrix
from sparsesolve.ode.adjoint._one_step import OneStep, StepRecord
from sparsesolve.ode.adjoint._parameters import Parameters
from sparsesolve.ode.adjoint._solve import Factors, NearMatrix, solve_near
from sparsesolve.ode.newton._kept import Kept
from sparsesolve.ode.runge_kutta._radau_solver import AbstractRadau
from sparsesolve.ode.runge_kutta._radau_stages import Stages, StageWork, factorized, new_stage_work, solve_transformed
from sparsesolve.ode.runge_kutta._radau_step import RadauState
from sparsesolve.ode.runge_kutta._radau_table import RadauTable
from sparsesolve.ode.system._stats import new_counts
from sparsesolve.ode.system._system import StiffSystem

_SAME_STEP = 0.02  # |h - h_W| / (h + h_W) that old factors bear: of complex numbers, no factor makes up for more


class RadauMemory(eqx.Module):
    """What a sweep carries besides tangents or cotangents.

    Attributes:
        factors: of some step; its arrays are a `StageWork`.
        guess: solution of the step before.
    """

    factors: Factors
    guess: Array


@dataclasses.dataclass(frozen=True)
class RadauSteps(OneStep):
    """How to record and sweep the steps of a Radau IIA solver. Host-side."""

    solver: AbstractRadau

    @property
    def table(self) -> RadauTable:
        """Of the method."""
        return self.solver.table

    @property
    def rows(self) -> int:
        """Vectors of a history: the state and the polynomial that leads to it."""
        return 1 + self.table.stages

    @property
    def num_stages(self) -> int:
        """Rows of what the solver hands out."""
        return self.table.stages

    @property
    def polynomial(self) -> np.ndarray:
        """Weights of stages."""
        return self.table.collocation

    def corrects(self, system: StiffSystem) -> bool:
        """Not where constraints of a higher index would move what has a derivative."""
        return system.mass is not None and self.solver.index is None

    def vectors(self, system: StiffSystem) -> int:
        """Of a record."""
        del system
        return 1 + self.num_stages

    def record(self, system: StiffSystem, before: Any, after: Any) -> StepRecord:
        """Of the step from `before` to `after`, states of diffrax's loop."""
        y, fresh = system.structure.ravel(after.y), jnp.asarray(before.made_jump)
        last = before.solver_state.inner.step
        return StepRecord(before.tprev, before.tnext, fresh, last, y, after.solver_state.stages, None)

    def history(self, system: StiffSystem, before: Any) -> Array:
        """From which the steps after `before` can be made again."""
        x = system.structure.ravel(before.y)
        return jnp.concatenate([x[None], before.solver_state.inner.polynomial])

    def work(self, system: StiffSystem, t: Array, x: Array) -> StageWork:
        """At the start of a segment that is integrated again."""
        return new_stage_work(self.table, system, t, x, new_counts())

    def again(
        self, system: StiffSystem, record: StepRecord, history: Array, work: StageWork
    ) -> tuple[Any, Array, StageWork]:
        """A step whose times are known: its record, the history after it, and work; not finite where it fails."""
        x, last_step = history[0], record.last_step
        assert last_step is not None
        stages = Stages(self.table, record.start, record.end - record.start, x)
        last = RadauState(history[1:], last_step, jnp.ones((), x.dtype), Kept(work))
        z, converged, _, work = self.solver.trial(system, stages, last, ~record.fresh & jnp.isfinite(last_step))
        y = jnp.where(converged, x + z[-1], jnp.nan)
        polynomial = jnp.asarray(self.table.collocation, x.dtype) @ z
        made = dataclasses.replace(record, y=y, stages=z)
        work = dataclasses.replace(work, current=jnp.asarray(False))
        return made, jnp.concatenate([y[None], polynomial]), work

    def memory(self, system: StiffSystem) -> RadauMemory:
        """At the start of a sweep."""
        x = jnp.zeros((system.size,), system.dtype)
        work = new_stage_work(self.table, system, jnp.zeros(()), x, new_counts())
        nothing = jnp.zeros((), system.dtype)
        factors = Factors((work.real_factors, work.complex_factors), nothing * jnp.nan, nothing)
        return RadauMemory(factors, jnp.zeros((self.num_stages, system.size), system.dtype))

    def forward(
        self, system: StiffSystem, p: Parameters, record: StepRecord, x0: Array, d: Array, moved: Any, memory: Any
    ) -> tuple[Array, RadauMemory]:
        """The tangent after a step from that before it and those of the parameters."""
        x, z = d[0], record.stages

        def residual(s: StiffSystem, y: Array) -> Array:
            return self._stages(record, y).residual(s, z)

        right = p.tangent(residual, (x0,), (x,), moved)
        found, memory = self._solve(system, record, x0, right, memory, transpose=False)
        return self._rows(x + found[-1], stages=found), memory

    def backward(
        self, system: StiffSystem, p: Parameters, record: StepRecord, x0: Array, d: Array, sums: Any, memory: Any
    ) -> tuple[Array, Any, RadauMemory]:
        """The cotangent before a step from that after it, with those of the parameters added to `sums`."""
        stages, z = self._stages(record, x0), record.stages
        right = self._cotangents_of_stages(d).at[-1].add(d[0])
        w, memory = self._solve(system, record, x0, right, memory, transpose=True)
        _, pull = jax.vjp(lambda x: self._stages(record, x).residual(system, z), x0)
        moved = None
        if system.mass is not None:
            moved = jnp.asarray(self.table.inverse, z.dtype) @ z / stages.step.astype(z.dtype)
        times = record.start + jnp.asarray(self.table.nodes, record.start.dtype) * stages.step
        sums = p.add(sums, times, x0[None] + z, w, -w, moved)
        return self.carry(d[0] + pull(w)[0]), sums, memory

    def _stages(self, record: StepRecord, x0: Array) -> Stages:
        return Stages(self.table, record.start, record.end - record.start, x0)

    def _solve(
        self, system: StiffSystem, record: StepRecord, x0: Array, b: Array, memory: RadauMemory, *, transpose: bool
    ) -> tuple[Array, RadauMemory]:
        stages, z, table = self._stages(record, x0), record.stages, self.table
        minus = lambda y: -stages.residual(system, y)  # noqa: E731
        if transpose:
            _, pull = jax.vjp(minus, z)
            product = lambda v: pull(v)[0]  # noqa: E731
        else:
            product = lambda v: jax.jvp(minus, (z,), (v,))[1]  # noqa: E731
        blank = new_stage_work(table, system, stages.t0, x0, new_counts())

        def factor(keep: Array) -> tuple[Any, Any]:
            here = dataclasses.replace(stages, x0=jnp.where(keep, x0, 0.0))
            made = factorized(system, blank, here, jnp.asarray(True))
            data = system.matrix(made.jacobian, table.real / made.step, -1.0, here.t0, here.x0)
            return (made.real_factors, made.complex_factors), jnp.abs(data)

        def inverse(arrays: Any, r: Array) -> Array:
            real, pairs = arrays
            work = dataclasses.replace(blank, real_factors=real, complex_factors=pairs)
            return solve_transformed(table, system, work, r, transpose)

        def magnitude(sizes: Array, v: Array) -> Array:
            matrix = SparseMatrix(sizes, system.plan.pattern)
            return jax.vmap(lambda row: row @ matrix if transpose else matrix @ row)(jnp.abs(v))

        matrix = NearMatrix(factor, inverse, product, magnitude, rescued=True)
        step = stages.step.astype(b.dtype)
        w, factors = solve_near(matrix, memory.factors, step, b, memory.guess, apart=_SAME_STEP)
        return w, RadauMemory(factors, w)
