"""One-step methods: what their steps leave behind, and what a sweep over them carries. `OneStep` is the common part.

A step maps the state x (and, for some methods, the slope at x) to the state at its end and to the coefficients of the
polynomial in between,

    y(t + theta h) = x + theta q_1 + theta^2 q_2 + ...

Its record holds the converged stages, from which the step is linearized without an iteration: a record is two times,
the state after the step and one vector a stage. What a sweep carries are the rows `x, slope, q_1, q_2, ...` of tangents
or cotangents after a step; the polynomial's only where times between steps are saved at. The methods themselves are
in `_esdirk_steps.py`, `_rosenbrock_steps.py` and `_radau_steps.py`.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from sparsesolve.ode.system._system import StiffSystem


class StepRecord(eqx.Module):
    """What a step leaves behind.

    Attributes:
        start: of the step.
        end: of the step.
        fresh: whether the step knew nothing of the one before.
        last_step: size of the step before, where the method makes use of it.
        y: the state at the end.
        stages: one vector a stage, as the method wants them.
        moved: what the mass matrix was multiplied with in the stages, `None` without one.
        jumped: whether the state was corrected before the step; `None` where none is.
    """

    start: Array
    end: Array
    fresh: Array
    last_step: Array | None
    y: Array
    stages: Array
    moved: Array | None
    jumped: Array | None = None


class RecordingState(NamedTuple):
    """State of a solver, and the stages of its last accepted step."""

    inner: Any
    stages: Array


@dataclasses.dataclass(frozen=True)
class RecordingSolver:
    """For diffrax's loop: a solver that hands out the stages of its steps."""

    solver: Any

    @property
    def interpolation_cls(self) -> Any:
        """The solver's."""
        return self.solver.interpolation_cls

    def error_order(self, terms: Any) -> Any:
        """The solver's."""
        return self.solver.error_order(terms)

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, state: RecordingState, made_jump: Any) -> Any:
        """The solver's step."""
        made, stages = self.solver.stepped(terms, t0, t1, y0, args, state.inner, made_jump)
        y, error, dense, inner, result = made
        return y, error, dense, RecordingState(inner, stages), result


@dataclasses.dataclass(frozen=True)
class OneStep(abc.ABC):
    """How to record and sweep the steps of a one-step method. Host-side.

    Attributes:
        solver: the method.
        dense: whether the polynomials between steps are wanted.
    """

    solver: Any
    dense: bool

    @property
    @abc.abstractmethod
    def num_stages(self) -> int:
        """Rows of what the solver hands out."""

    @property
    @abc.abstractmethod
    def polynomial(self) -> Any:
        """Weights `(degree, s)` of stages in `q_1, q_2, ...`."""

    @property
    def extra(self) -> int:
        """Rows between the state and `q_1` in what a sweep carries."""
        return 0

    def system(self, terms: Any, t: Any, y: Any, args: Any) -> StiffSystem:
        """The prepared system."""
        return self.solver._system(terms, t, y, args)

    def corrects(self, system: StiffSystem) -> bool:
        """Whether the solver corrects states after jumps."""
        return system.mass is not None

    def recording(self, call: dict[str, Any], system: StiffSystem) -> dict[str, Any]:
        """The call of diffrax's loop with a solver that hands out stages."""
        stages = jnp.zeros((self.num_stages, system.size), system.dtype)
        state = RecordingState(call["init_state"].solver_state, stages)
        init = eqx.tree_at(lambda s: s.solver_state, call["init_state"], state)
        return {**call, "solver": RecordingSolver(self.solver), "init_state": init}

    def recorded(self, final: Any) -> Any:
        """The state after the loop as it is without records."""
        return eqx.tree_at(lambda s: s.solver_state, final, final.solver_state.inner)

    def carry(self, x: Array) -> Array:
        """The tangent of a state as what a sweep carries."""
        return jnp.zeros((1 + self.extra + self._powers, x.size), x.dtype).at[0].set(x)

    def value(self, carry: Array) -> Array:
        """The tangent of the state in what a sweep carries."""
        return carry[0]

    def weights(self, record: StepRecord, t: Array, dtype: Any) -> Array:
        """The interpolated solution at `t` is a sum of the rows after the step with these weights."""
        theta = (t - record.end) / (record.end - record.start) + 1
        powers = [theta**k - 1 for k in range(1, self._powers + 1)]
        return jnp.stack([jnp.ones_like(theta), *[jnp.zeros_like(theta)] * self.extra, *powers]).astype(dtype)

    def slope(self, record: StepRecord, after: Any, t: Array) -> Array:
        """Of the interpolated solution at `t`, in the step that ends with `after`, a state of diffrax's loop."""
        stages = after.solver_state.stages
        powers = jnp.asarray(self.polynomial, stages.dtype) @ stages
        h = record.end - record.start
        theta = (t - record.start) / h
        weights = jnp.stack([k * theta ** (k - 1) / h for k in range(1, len(powers) + 1)])
        return weights.astype(powers.dtype) @ powers

    def dense_rows(self, carry: Array) -> int:
        """Leading rows of what a sweep carries from which `dense_info` is made."""
        return len(carry)

    def dense_info(self, system: StiffSystem, records: Any, rows: Array) -> dict[str, Any]:
        """Tangents of what diffrax keeps of each step, from those rows of all steps, `(steps, rows, n)`."""
        del records
        unravel, powers = jax.vmap(system.structure.unravel), rows[:, 1 + self.extra :]
        return {"y0": unravel(rows[:, 0] - jnp.sum(powers, axis=1)), "coefficients": jax.vmap(unravel)(powers)}

    @property
    def _powers(self) -> int:
        return len(self.polynomial) if self.dense else 0

    def _rows(self, *rows: Array, stages: Array) -> Array:
        """What a sweep carries after a step, from tangents of its stages."""
        if not self.dense:
            return jnp.stack(rows)
        return jnp.concatenate([jnp.stack(rows), jnp.asarray(self.polynomial, stages.dtype) @ stages])

    def _cotangents_of_stages(self, carry: Array) -> Array:
        """Of the stages, by way of the polynomial."""
        if not self.dense:
            return jnp.zeros((self.num_stages, carry.shape[1]), carry.dtype)
        return jnp.asarray(self.polynomial, carry.dtype).T @ carry[1 + self.extra :]
