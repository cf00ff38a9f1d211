"""Steps of Rosenbrock methods, recorded and linearized.

With the increments U_i of `_rosenbrock.py` and z_i = x + sum_j a_ij U_j, a stage is

    W U_i = gamma h (f(t_i, z_i) + g_i h f_t(t, x)) + gamma M sum_j C_ij U_j,     W = M - gamma h J(t, x).

A record holds the increments. A sweep factorizes W of each step once, as the step did, and solves one system a stage
with it or its transpose. What W and f_t owe to state and parameters are derivatives of f along `(g_i h, U_i)`,
differentiated once more: products, no second derivatives are formed.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from sparsesolve.ode.adjoint._one_step import OneStep, StepRecord
from sparsesolve.ode.adjoint._parameters import Parameters
from sparsesolve.ode.rosenbrock._rosenbrock import exact_solver, plain_solvers, rosenbrock_step, solves_well
from sparsesolve.ode.rosenbrock._rosenbrock_solver import AbstractRosenbrock
from sparsesolve.ode.rosenbrock._rosenbrock_tableau import RosenbrockTableau
from sparsesolve.ode.system._system import StiffSystem


@dataclasses.dataclass(frozen=True)
class RosenbrockSteps(OneStep):
    """How to record and sweep the steps of a Rosenbrock solver that evaluates its Jacobian in every step. Host-side."""

    solver: AbstractRosenbrock

    rows: ClassVar = 1  # vectors of a history: the state

    @property
    def tableau(self) -> RosenbrockTableau:
        """Of the method."""
        return self.solver.tableau

    @property
    def num_stages(self) -> int:
        """Rows of what the solver hands out: all increments."""
        return self.tableau.num_stages

    @property
    def polynomial(self) -> np.ndarray:
        """Weights of increments."""
        return self.tableau.dense

    def vectors(self, system: StiffSystem) -> int:
        """Of a record."""
        del system
        return 1 + self.num_stages

    def record(self, system: StiffSystem, before: Any, after: Any) -> StepRecord:
        """Of the step from `before` to `after`, states of diffrax's loop."""
        y, fresh = system.structure.ravel(after.y), jnp.asarray(False)
        return StepRecord(before.tprev, before.tnext, fresh, None, y, after.solver_state.stages, None)

    def history(self, system: StiffSystem, before: Any) -> Array:
        """From which the steps after `before` can be made again."""
        return system.structure.ravel(before.y)[None]

    def work(self, system: StiffSystem, t: Array, x: Array) -> Any:
        """At the start of a segment that is integrated again."""
        return system.invariants(t, x)

    def again(self, system: StiffSystem, record: StepRecord, history: Array, work: Any) -> tuple[Any, Array, Any]:
        """A step whose times are known: its record, the history after it, and work; not finite where it fails."""
        x, t, h = history[0], record.start, record.end - record.start
        gh = self.tableau.gamma * h.astype(x.dtype)
        data = system.matrix(system.jacobian(t, x, work), 1.0, -gh)
        solve = exact_solver(system, system.factor(data), t, x, gh, None)
        slope, rate = system.rhs.with_time_derivative(t, x)
        done = rosenbrock_step(self.tableau, system, solve, t, x, h, slope, rate)
        right = gh * (slope + self.tableau.g[0] * h.astype(x.dtype) * rate)
        ok = done.ok & solves_well(system, data, done.increments[0], right)
        y = jnp.where(ok, done.end, jnp.nan)
        return dataclasses.replace(record, y=y, stages=done.increments), y[None], work

    def memory(self, system: StiffSystem) -> None:
        """A sweep carries nothing besides tangents or cotangents: every step is factorized."""
        del system

    def forward(
        self, system: StiffSystem, p: Parameters, record: StepRecord, x0: Array, d: Array, moved: Any, memory: Any
    ) -> tuple[Array, None]:
        """The tangent after a step from that before it and those of the parameters."""
        tableau, dtype, x = self.tableau, system.dtype, d[0]
        h, gh, times, values = self._stages(record, x0)
        solve, _ = self._solvers(system, record, x0, gh)
        t_dots, x_dots = jnp.asarray(tableau.g, h.dtype) * h, record.stages
        a, c = jnp.asarray(tableau.a, dtype), jnp.asarray(tableau.gamma * tableau.C, dtype)

        def rights(s: StiffSystem, z: Array) -> Array:
            along = lambda t_dot, x_dot: jax.jvp(s.rhs, (record.start, z), (t_dot, x_dot))[1]  # noqa: E731
            right = gh * (jax.vmap(s.rhs)(times, values) + jax.vmap(along)(t_dots, x_dots))
            return right if s.mass is None else right + jax.vmap(s.multiply_mass)(c @ x_dots - x_dots)

        known = p.tangent(rights, (x0,), (x,), moved)

        def stage(u: Array, inputs: Any) -> tuple[Array, None]:
            i, t, z, a_row, c_row, right = inputs
            right = right + gh * system.rhs.product(t, z, x + a_row @ u) + system.multiply_mass(c_row @ u)
            return u.at[i].set(solve(right)), None

        u = jnp.zeros_like(record.stages)
        u, _ = lax.scan(stage, u, (jnp.arange(tableau.num_stages), times, values, a, c, known))
        return self._rows(x + jnp.asarray(tableau.m, dtype) @ u, stages=u), memory

    def backward(
        self, system: StiffSystem, p: Parameters, record: StepRecord, x0: Array, d: Array, sums: Any, memory: Any
    ) -> tuple[Array, Any, None]:
        """The cotangent before a step from that after it, with those of the parameters added to `sums`."""
        tableau, dtype = self.tableau, system.dtype
        h, gh, times, values = self._stages(record, x0)
        _, solve = self._solvers(system, record, x0, gh)
        t_dots, x_dots = jnp.asarray(tableau.g, h.dtype) * h, record.stages
        a, c = jnp.asarray(tableau.a, dtype), jnp.asarray(tableau.gamma * tableau.C, dtype)
        u = self._cotangents_of_stages(d) + jnp.asarray(tableau.m, dtype)[:, None] * d[:1]

        def stage(loop: Any, inputs: Any) -> Any:
            u, x = loop
            i, t, z, a_row, c_row = inputs
            w = solve(u[i])
            (moved,) = jax.vjp(lambda y: system.rhs(t, y), z)[1](gh * w)
            image = w if system.mass is None else w @ system.mass.matrix(None, None)
            return (u + a_row[:, None] * moved[None] + c_row[:, None] * image[None], x + moved), w

        inputs = (jnp.arange(tableau.num_stages), times, values, a, c)
        (_, x), w = lax.scan(stage, (u, d[0]), inputs, reverse=True)
        image = None if system.mass is None else c @ x_dots - x_dots
        sums = p.add(sums, times, values, gh * w, w, image)
        moved, sums = p.add_products(sums, record.start, x0, t_dots, x_dots, gh * w)
        return self.carry(x + moved), sums, memory

    def _stages(self, record: StepRecord, x0: Array) -> tuple[Array, Array, Array, Array]:
        """h, gamma h, and times and values of all stages."""
        h = record.end - record.start
        times = record.start + jnp.asarray(self.tableau.c, h.dtype) * h
        values = x0[None] + jnp.asarray(self.tableau.a, x0.dtype) @ record.stages
        return h, self.tableau.gamma * h.astype(x0.dtype), times, values

    def _solvers(self, system: StiffSystem, record: StepRecord, x0: Array, gh: Array) -> Any:
        data = system.matrix(system.jacobian(record.start, x0), 1.0, -gh)
        return plain_solvers(system, system.factor(data))
