"""Steps of `BDF`, recorded and linearized.

With D the differences before a step (after a jump those of a new start), S its change to another step size and T, p0,
p1 the tables of `_differences.py`, a step is linear in D but for its corrector:

    y_p = p0 S D,  psi = p1 S D,     F(y_1) = c f(t_1, y_1; p) - M (y_1 - y_p + psi) = 0,     D <- T [S D; y_1 - y_p].

Hence a record is two times, order, step size of the history and y_1, and a sweep needs one system with
W = M - c J(t_1, y_1), or its transpose, for every step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from sparsesolve.matrix import SparseMatrix
from sparsesolve.ode.adjoint._parameters import Parameters
from sparsesolve.ode.adjoint._solve import Factors, nearest, no_factors, solve_with
from sparsesolve.ode.multistep._bdf import BDF, BDFState
from sparsesolve.ode.multistep._differences import ALPHA, MAX_ORDER, PREDICTION, ROWS, UPDATE, rescaling
from sparsesolve.ode.newton._kept import Kept
from sparsesolve.ode.newton._newton import Work, new_work
from sparsesolve.ode.stepping._start import start_slope
from sparsesolve.ode.system._system import StiffSystem

_GUESSES = 5  # solutions kept: iterations beyond the first fell from 1.8 to 0.4 a step, each with a solve


class BdfRecord(eqx.Module):
    """What a step leaves behind: see the module."""

    start: Array
    end: Array
    order: Array
    history_step: Array
    fresh: Array
    y: Array
    moved: Any  # y_1 - (y_p - psi), with a mass matrix
    jumped: Array | None = None  # whether the state was corrected before the step, where any is


class BdfMemory(eqx.Module):
    """What a sweep carries besides the tangent or cotangent.

    Attributes:
        factors: of some step.
        found: solutions of the last steps, the last one first.
    """

    factors: Factors
    found: Array


@dataclasses.dataclass(frozen=True)
class BdfSteps:
    """How to record and sweep the steps of a `BDF` solver. Host-side."""

    solver: BDF

    rows: ClassVar = ROWS  # vectors of a history

    def vectors(self, system: StiffSystem) -> int:
        """Of a record."""
        return 1 if system.mass is None else 2

    def system(self, terms: Any, t: Any, y: Any, args: Any) -> StiffSystem:
        """The prepared system."""
        return self.solver._system(terms, t, y, args)

    def corrects(self, system: StiffSystem) -> bool:
        """Whether the solver corrects states after jumps."""
        return system.mass is not None

    def recording(self, call: dict[str, Any], system: StiffSystem) -> dict[str, Any]:
        """The call of diffrax's loop whose states tell all that records need."""
        del system
        return call

    def recorded(self, final: Any) -> Any:
        """The state after the loop as it is without records."""
        return final

    def record(self, system: StiffSystem, before: Any, after: Any) -> BdfRecord:
        """Of the step from `before` to `after`, states of diffrax's loop."""
        old = before.solver_state
        y = system.structure.ravel(after.y)
        fresh = (old.order == 0) | jnp.asarray(before.made_jump)
        moved = None
        if system.mass is not None:
            # F(y_1) = 0 does not tell it where M is singular.
            x0 = system.structure.ravel(before.y)
            history = jnp.where(fresh, self._begun(system, before, x0), old.differences)
            order, ratio, _ = self._coefficients(before.tprev, before.tnext, old.order, old.step, fresh, system.dtype)
            predicted, psi = (jnp.asarray(PREDICTION, system.dtype)[order] @ rescaling(order, ratio)) @ history
            moved = y - predicted + psi
        return BdfRecord(before.tprev, before.tnext, old.order, old.step, fresh, y, moved)

    def _begun(self, system: StiffSystem, before: Any, x: Array) -> Array:
        step = before.tnext - before.tprev
        fresh = (before.solver_state.order == 0) | jnp.asarray(before.made_jump)
        slope = lax.cond(
            eqxi.unvmap_any(fresh),
            lambda: start_slope(system, before.tprev, x, step),
            lambda: jnp.zeros_like(x),
        )
        return jnp.zeros((ROWS, x.size), x.dtype).at[0].set(x).at[1].set(step.astype(x.dtype) * slope)

    def history(self, system: StiffSystem, before: Any) -> Array:
        """From which the steps after `before` can be made again."""
        return before.solver_state.differences.at[0].set(system.structure.ravel(before.y))

    def work(self, system: StiffSystem, t: Array, x: Array) -> Work:
        """At the start of a segment that is integrated again."""
        return new_work(system, t, x)

    def again(self, system: StiffSystem, record: BdfRecord, history: Array, work: Work) -> tuple[Any, Array, Work]:
        """A step whose scalars are known: its record, the history after it, and work; not finite where it fails."""
        count = jnp.zeros((), jnp.int32)
        state = BDFState(history, record.history_step, record.order, count, Kept(work))
        trial = self.solver.trial(system, state, record.start, record.end, history[0], record.fresh)
        y = jnp.where(trial.converged, trial.y, jnp.nan)
        moved = None if system.mass is None else y - trial.equation.known
        made = dataclasses.replace(record, y=y, moved=moved)
        return made, trial.plan.differences(y), trial.work

    def carry(self, x: Array) -> Array:
        """The tangent of a state as that of a history."""
        return jnp.zeros((ROWS, x.size), x.dtype).at[0].set(x)

    def value(self, carry: Array) -> Array:
        """The tangent of the state in that of a history; for cotangents see `carry`."""
        return carry[0]

    def memory(self, system: StiffSystem) -> BdfMemory:
        """At the start of a sweep."""
        return BdfMemory(no_factors(system), jnp.zeros((_GUESSES, system.size), system.dtype))

    def weights(self, record: BdfRecord, t: Array, dtype: Any) -> Array:
        """The interpolated solution at `t` is a sum of rows of the history after the step with these weights."""
        x = (t - record.end) / (record.end - record.start)
        order = jnp.where(record.fresh, 1, record.order)
        powers = [jnp.ones_like(x)]
        for m in range(MAX_ORDER):
            powers.append(powers[-1] * (x + m) / (m + 1))
        powers += [jnp.zeros_like(x)] * (ROWS - MAX_ORDER - 1)
        return jnp.where(jnp.arange(ROWS) <= order, jnp.stack(powers), 0.0).astype(dtype)

    def dense_rows(self, carry: Array) -> int:
        """Leading rows of the history from which `dense_info` is made."""
        del carry
        return 1 + MAX_ORDER

    def dense_info(self, system: StiffSystem, records: BdfRecord, rows: Array) -> dict[str, Any]:
        """Tangents of what diffrax keeps of each step, from those rows of all steps, `(steps, rows, n)`."""
        unravel, order = jax.vmap(system.structure.unravel), jnp.where(records.fresh, 1, records.order)
        used = jnp.arange(1, 1 + MAX_ORDER)[None] <= order[:, None]
        differences = jnp.where(used[:, :, None], rows[:, 1:], 0.0)
        steps = jnp.zeros_like(records.end)
        return {"y1": unravel(rows[:, 0]), "differences": jax.vmap(unravel)(differences), "step": steps}

    def slope(self, record: BdfRecord, after: Any, t: Array) -> Array:
        """Of the interpolated solution at `t`, in the step that ends with `after`, a state of diffrax's loop."""
        history = after.solver_state.differences
        weights = lambda s: self.weights(record, s, history.dtype)  # noqa: E731
        return jax.jvp(weights, (t,), (jnp.ones_like(t),))[1] @ history

    def forward(
        self, system: StiffSystem, p: Parameters, record: BdfRecord, x0: Array, d: Array, moved: Any, memory: BdfMemory
    ) -> tuple[Array, BdfMemory]:
        """The tangent after a step from that before it and those of the parameters."""
        dtype = system.dtype
        order, ratio, c = self._of(record, dtype)
        step = (record.end - record.start).astype(dtype)

        def begin() -> Array:
            slope = p.tangent(_start_slope(record), (x0,), (d[0],), moved)
            return jnp.zeros_like(d).at[0].set(d[0]).at[1].set(step * slope)

        d = lax.cond(eqxi.unvmap_any(record.fresh), lambda: jnp.where(record.fresh, begin(), d), lambda: d)
        scaled = rescaling(order, ratio) @ d
        predicted, psi = jnp.asarray(PREDICTION, dtype)[order] @ scaled
        right = system.multiply_mass(predicted - psi, record.end, record.y)
        right = right + p.tangent(lambda s: _residual(s, record, c), (), (), moved)
        y, memory = self._solve(system, record, c, right, memory, transpose=False)
        update = jnp.asarray(UPDATE, dtype)[order]
        return update[:, :ROWS] @ scaled + update[:, ROWS:] * (y - predicted)[None], memory

    def backward(
        self, system: StiffSystem, p: Parameters, record: BdfRecord, x0: Array, d: Array, sums: Any, memory: BdfMemory
    ) -> tuple[Array, Any, BdfMemory]:
        """The cotangent before a step from that after it, with those of the parameters added to `sums`."""
        dtype = system.dtype
        order, ratio, c = self._of(record, dtype)
        step = (record.end - record.start).astype(dtype)
        update, prediction = jnp.asarray(UPDATE, dtype)[order], jnp.asarray(PREDICTION, dtype)[order]
        moved = update[:, ROWS] @ d
        w, memory = self._solve(system, record, c, moved, memory, transpose=True)
        known = _mass_transposed(system, w, record)
        sums = p.add(sums, record.end, record.y, c * w, -w, record.moved)
        both = jnp.stack([known - moved, -known])
        d = rescaling(order, ratio).T @ (update[:, :ROWS].T @ d + prediction.T @ both)

        def begin(loop: tuple[Array, Array, Any]) -> tuple[Array, Array, Any]:
            _, d, sums = loop
            here = jnp.where(record.fresh, step * d[1], 0.0)
            x, sums = p.start_cotangents(_start_slope(record), record.start, x0, here, sums)
            alone = jnp.zeros_like(d).at[0].set(d[0] + x)
            return jnp.zeros_like(record.fresh), jnp.where(record.fresh, alone, d), sums

        # A loop of one turn or none: unlike a condition it hands the sums through without copying them.
        _, d, sums = lax.while_loop(lambda loop: eqxi.unvmap_any(loop[0]), begin, (record.fresh, d, sums))
        return d, sums, memory

    def _solve(
        self, system: StiffSystem, record: BdfRecord, c: Array, b: Array, memory: BdfMemory, *, transpose: bool
    ) -> tuple[Array, BdfMemory]:
        t, y = record.end, record.y
        data = system.matrix(system.jacobian(t, y), 1.0, -c, t, y)
        matrix = SparseMatrix(data, system.plan.pattern)
        product = lambda v: v @ matrix if transpose else matrix @ v  # noqa: E731
        if system.mass is not None and not system.mass.is_constant:
            minus = lambda z: _residual(system, dataclasses.replace(record, y=z, moved=record.moved + z - y), -c, 1.0)  # noqa: E731
            product = (lambda v: jax.vjp(minus, y)[1](v)[0]) if transpose else (lambda v: jax.jvp(minus, (y,), (v,))[1])
        guess = nearest(product, memory.found, b)
        w, factors = solve_with(system, memory.factors, data, c, product, b, guess, transpose=transpose)
        return w, BdfMemory(factors, jnp.concatenate([w[None], memory.found[:-1]]))

    def _of(self, record: BdfRecord, dtype: Any) -> tuple[Array, Array, Array]:
        return self._coefficients(record.start, record.end, record.order, record.history_step, record.fresh, dtype)

    def _coefficients(
        self, start: Array, end: Array, order: Array, step: Array, fresh: Array, dtype: Any
    ) -> tuple[Array, Array, Array]:
        h = end - start
        order = jnp.where(fresh, 1, order)
        ratio = jnp.where(fresh, 1.0, h / step).astype(dtype)
        return order, ratio, (h / jnp.asarray(ALPHA, h.dtype)[order]).astype(dtype)


def _start_slope(record: BdfRecord) -> Callable[[StiffSystem, Array], Array]:
    return lambda system, x: start_slope(system, record.start, x, record.end - record.start)


def _residual(system: StiffSystem, record: BdfRecord, c: Any, sign: float = -1.0) -> Array:
    """`c f(t, y) + sign M moved`."""
    out = c * system.rhs(record.end, record.y)
    if system.mass is None:
        return out
    return out + sign * system.multiply_mass(record.moved, record.end, record.y)


def _mass_transposed(system: StiffSystem, v: Array, record: BdfRecord) -> Array:
    if system.mass is None:
        return v
    return v @ system.mass.matrix(record.end, record.y)
