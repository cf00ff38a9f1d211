"""Steps of ESDIRK methods, recorded and linearized.

With k_i = (z_i - x - sum_j<i a_ij k_j) / gamma and k_1 = h slope, the stages of a step are

    M(t_i, z_i) gamma k_i = gamma h f(t_i, z_i; p),     y_1 = z_s,     slope_1 = k_s / h.

A record holds z_2, ..., z_{s-1} and y_1, with a mass matrix also gamma k_i. A sweep solves a system with
`W_i = M - gamma h J(t_i, z_i)`, or its transpose, for every stage, with factors that serve many stages and steps.

Where the right-hand side is split there are also explicit slopes e_i = h g(t_i, z_i), which later stages and the end
take up as they do the k_i; the end is no stage then, and every step finds k_1 anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from sparsesolve.linear import AbstractDirectSolver
from sparsesolve.ode.adjoint._one_step import OneStep, StepRecord
from sparsesolve.ode.adjoint._parameters import Parameters
from sparsesolve.ode.adjoint._solve import Factors, matrix_near, no_factors, solve_near, solve_with
from sparsesolve.ode.newton._newton import Work, new_work
from sparsesolve.ode.runge_kutta._esdirk_solver import AbstractEsdirk
from sparsesolve.ode.runge_kutta._tableau import EsdirkTableau
from sparsesolve.ode.stepping._start import exact_start_slope
from sparsesolve.ode.system._system import StiffSystem


class EsdirkMemory(eqx.Module):
    """What a sweep carries besides tangents or cotangents.

    Attributes:
        factors: of some stage.
        guess: solutions for the stages of the step before.
    """

    factors: Factors
    guess: Array


@dataclasses.dataclass(frozen=True)
class EsdirkSteps(OneStep):
    """How to record and sweep the steps of an ESDIRK solver. Host-side."""

    solver: AbstractEsdirk
    split: bool

    rows: ClassVar = 2  # vectors of a history: state and slope

    @property
    def tableau(self) -> EsdirkTableau:
        """Of the method."""
        return self.solver.tableau

    @property
    def num_stages(self) -> int:
        """Rows of what the solver hands out: all slopes, the explicit ones last."""
        return (1 + self.split) * self.tableau.stages

    @property
    def polynomial(self) -> np.ndarray:
        """Weights of slopes."""
        return np.tile(self.tableau.dense.T, 1 + self.split)

    @property
    def end(self) -> np.ndarray:
        """Weights of slopes in the state after a step."""
        return np.tile(self.tableau.b, 2) if self.split else self.tableau.a[-1]

    @property
    def lower(self) -> np.ndarray:
        """Weights of the slopes before it in each stage."""
        implicit = np.tril(self.tableau.a, -1)
        if not self.split:
            return implicit
        assert self.tableau.explicit is not None
        return np.hstack([implicit, self.tableau.explicit])

    @property
    def extra(self) -> int:
        """The slope."""
        return 1

    def vectors(self, system: StiffSystem) -> int:
        """Of a record."""
        return (1 if system.mass is None else 2) * (self.tableau.stages - 1) + self.split

    def record(self, system: StiffSystem, before: Any, after: Any) -> StepRecord:
        """Of the step from `before` to `after`, states of diffrax's loop."""
        x, k = system.structure.ravel(before.y), after.solver_state.stages
        fresh = jnp.asarray(before.solver_state.inner.fresh) | before.made_jump | self.split
        return self._record(system, before.tprev, before.tnext, fresh, x, system.structure.ravel(after.y), k)

    def _record(
        self, system: StiffSystem, start: Array, end: Array, fresh: Array, x: Array, y: Array, k: Array
    ) -> StepRecord:
        weights = self.lower[1:] + np.eye(len(self.lower), self.num_stages)[1:] * self.tableau.gamma
        stages = x[None] + jnp.asarray(weights if self.split else weights[:-1], x.dtype) @ k
        moved = None if system.mass is None else self.tableau.gamma * k[1:]
        return StepRecord(start, end, fresh, None, y, stages, moved)

    def history(self, system: StiffSystem, before: Any) -> Array:
        """From which the steps after `before` can be made again."""
        return jnp.stack([system.structure.ravel(before.y), before.solver_state.inner.slope])

    def work(self, system: StiffSystem, t: Array, x: Array) -> Work:
        """At the start of a segment that is integrated again."""
        return new_work(system, t, x)

    def again(self, system: StiffSystem, record: StepRecord, history: Array, work: Work) -> tuple[Any, Array, Work]:
        """A step whose times are known: its record, the history after it, and work; not finite where it fails."""
        x, h = history[0], record.end - record.start
        slopes, _, ok, work = self.solver.trial(system, work, x, record.start, h, history[1], record.fresh)
        y = jnp.where(ok, self.solver.end(x, slopes), jnp.nan)
        made = self._record(system, record.start, record.end, record.fresh, x, y, slopes.all)
        return made, jnp.stack([y, slopes.implicit[-1] / h.astype(x.dtype)]), work

    def memory(self, system: StiffSystem) -> EsdirkMemory:
        """At the start of a sweep."""
        guess = jnp.zeros((self.tableau.stages - 1, system.size), system.dtype)
        return EsdirkMemory(no_factors(system), guess)

    def forward(
        self, system: StiffSystem, p: Parameters, record: StepRecord, x0: Array, d: Array, moved: Any, memory: Any
    ) -> tuple[Array, EsdirkMemory]:
        """The tangent after a step from that before it and those of the parameters."""
        tableau, dtype = self.tableau, system.dtype
        h, gh, times, values = self._stages(record, dtype)
        x, count = d[0], tableau.stages
        start = lambda: jnp.where(record.fresh, p.tangent(_start_slope(record), (x0,), (x,), moved), d[1])  # noqa: E731
        slope = lax.cond(eqxi.unvmap_any(record.fresh), start, lambda: d[1])

        def residuals(s: StiffSystem) -> Array:
            return jax.vmap(lambda t, z, m: _residual(s, t, z, gh, m))(times, values, record.moved)

        rights = p.tangent(residuals, (), (), moved)
        k = jnp.zeros((self.num_stages, x.size), dtype).at[0].set(h * slope)
        explicit = None
        if self.split:
            explicit = p.tangent(lambda s: h * jax.vmap(s.explicit)(times, values), (), (), moved)
            k = k.at[count].set(p.tangent(lambda s, z: h * s.explicit(record.start, z), (x0,), (x,), moved))

        def stage(loop: Any, inputs: Any) -> Any:
            k, factors = loop
            i, t, z, row, right, other, m, guess = inputs
            known = x + row @ k
            right = system.multiply_mass(known, t, z) + right
            new, factors = self._solve(system, gh, t, z, m, right, factors, guess, transpose=False)
            k = k.at[i].set((new - known) / tableau.gamma)
            if system.explicit is not None:
                k = k.at[count + i].set(h * system.explicit.product(t, z, new) + other)
            return (k, factors), new

        lower = jnp.asarray(self.lower[1:], dtype)
        inputs = (jnp.arange(1, count), times, values, lower, rights, explicit, record.moved, memory.guess)
        (k, factors), solutions = lax.scan(stage, (k, memory.factors), inputs)
        y = x + jnp.asarray(self.end, dtype) @ k
        return self._rows(y, k[count - 1] / h, stages=k), EsdirkMemory(factors, solutions)

    def backward(
        self, system: StiffSystem, p: Parameters, record: StepRecord, x0: Array, d: Array, sums: Any, memory: Any
    ) -> tuple[Array, Any, EsdirkMemory]:
        """The cotangent before a step from that after it, with those of the parameters added to `sums`."""
        tableau, dtype = self.tableau, system.dtype
        h, gh, times, values = self._stages(record, dtype)
        count = tableau.stages
        k = self._cotangents_of_stages(d) + jnp.asarray(self.end, dtype)[:, None] * d[:1]
        k = k.at[count - 1].add(d[1] / h)

        def stage(loop: Any, inputs: Any) -> Any:
            k, x, factors = loop
            i, t, z, row, m, guess = inputs
            new = k[i] / tableau.gamma
            right = new if not self.split else new + _explicit_transposed(system, t, z, h * k[count + i])
            w, factors = self._solve(system, gh, t, z, m, right, factors, guess, transpose=True)
            known = _mass_transposed(system, t, z, w) - new
            return (k + row[:, None] * known[None], x + known, factors), w

        lower = jnp.asarray(self.lower[1:], dtype)
        inputs = (jnp.arange(1, count), times, values, lower, record.moved, memory.guess)
        (k, x, factors), w = lax.scan(stage, (k, d[0], memory.factors), inputs, reverse=True)
        sums = p.add(sums, times, values, gh * w, -w, record.moved)
        if self.split:
            x = x + _explicit_transposed(system, record.start, x0, h * k[count])
            times, values = jnp.append(record.start, times), jnp.concatenate([x0[None], values])
            sums = p.add_explicit(sums, times, values, h * k[count:])

        def begin(loop: tuple[Array, Array, Array, Any]) -> tuple[Array, Array, Array, Any]:
            _, x, slope, sums = loop
            here = jnp.where(record.fresh, slope, 0.0)
            moved, sums = p.start_cotangents(_start_slope(record), record.start, x0, here, sums)
            return jnp.zeros_like(record.fresh), x + moved, jnp.where(record.fresh, 0.0, slope), sums

        # A loop of one turn or none: unlike a condition it hands the sums through without copying them.
        going = lambda loop: eqxi.unvmap_any(loop[0])  # noqa: E731
        _, x, slope, sums = lax.while_loop(going, begin, (record.fresh, x, h * k[0], sums))
        before = self.carry(x).at[1].set(slope)
        return before, sums, EsdirkMemory(factors, w)

    def _stages(self, record: StepRecord, dtype: Any) -> tuple[Array, Array, Array, Array]:
        """h, gamma h, and times and values of all stages but the first."""
        h = record.end - record.start
        times = record.start + jnp.asarray(self.tableau.c[1:], h.dtype) * h
        values = record.stages if self.split else jnp.concatenate([record.stages, record.y[None]])
        h = jnp.where(h == 0, 1.0, h)  # of lanes of a batch without steps
        return h.astype(dtype), (self.tableau.gamma * h).astype(dtype), times, values

    def _solve(
        self,
        system: StiffSystem,
        gh: Array,
        t: Array,
        z: Array,
        moved: Any,
        b: Array,
        factors: Factors,
        guess: Array,
        *,
        transpose: bool,
    ) -> tuple[Array, Factors]:
        minus = lambda y: -_residual(system, t, y, gh, _add(moved, y - z))  # noqa: E731
        whole = lambda y: minus(y) if system.mass is not None else y + minus(y)  # noqa: E731
        if transpose:
            _, pull = jax.vjp(whole, z)
            product = lambda v: pull(v)[0]  # noqa: E731
        else:
            product = lambda v: jax.jvp(whole, (z,), (v,))[1]  # noqa: E731

        def data(keep: Array) -> Array:
            y = jnp.where(keep, z, 0.0)
            return system.matrix(system.jacobian(t, y), 1.0, -gh, t, y)

        if not isinstance(system.linear_solver, AbstractDirectSolver):
            return solve_with(system, factors, data(jnp.asarray(True)), gh, product, b, guess, transpose=transpose)
        state_dependent = system.mass is not None and not system.mass.is_constant
        matrix = matrix_near(system, data, product, transpose=transpose, rescued=state_dependent)
        return solve_near(matrix, factors, gh, b, guess)


def _start_slope(record: StepRecord) -> Callable[[StiffSystem, Array], Array]:
    return lambda system, x: exact_start_slope(system, record.start, x, record.end - record.start)


def _add(a: Any, b: Array) -> Any:
    return None if a is None else a + b


def _residual(system: StiffSystem, t: Array, z: Array, gh: Array, moved: Any) -> Array:
    """`gh f(t, z) - M moved`."""
    out = gh * system.rhs(t, z)
    return out if moved is None else out - system.multiply_mass(moved, t, z)


def _explicit_transposed(system: StiffSystem, t: Array, z: Array, v: Array) -> Array:
    assert system.explicit is not None
    explicit = system.explicit
    return jax.vjp(lambda y: explicit(t, y), z)[1](v)[0]


def _mass_transposed(system: StiffSystem, t: Array, z: Array, v: Array) -> Array:
    return v if system.mass is None else v @ system.mass.matrix(t, z)
