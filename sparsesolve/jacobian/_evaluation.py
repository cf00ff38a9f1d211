"""`Evaluation`: a plan together with its device tables and compiled functions. Values, driven by a static plan."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from sparsesolve.jacobian._arguments import Arguments
from sparsesolve.jacobian._plan import Invariants, Plan


class Evaluation:
    """Evaluates one plan, compiled once for every kind of call.

    Called eagerly, the plan's tables are arguments of the compiled function; inside a trace they are constants.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self._program = plan.program
        self._compiled = jax.jit(self._traced, static_argnums=0, inline=True)

    def invariants(self, arguments: Arguments) -> Invariants:
        """What the unknowns do not enter."""
        tables = self._tables(arguments.parameters)
        return self._compiled_invariants(arguments.parameters, list(self._program.consts), tables)

    def run(self, arguments: Arguments, invariants: Invariants | None, want_value: bool) -> tuple[list[Any], Any]:
        """Output and aux leaves (none unless wanted) and the CSR data."""
        unknowns, parameters, consts = arguments.unknowns, arguments.parameters, list(self._program.consts)
        tables = self._tables([*unknowns, *parameters])
        return self._compiled(want_value, unknowns, parameters, consts, invariants, tables)

    def run_now(self, arguments: Arguments) -> np.ndarray:
        """The CSR data at concrete arguments, computed at once even while an outer function is being traced."""
        unknowns, parameters, consts = arguments.unknowns, arguments.parameters, list(self._program.consts)
        inputs = (unknowns, parameters, consts, None, self._device_tables)
        return np.asarray(self._compiled.lower(False, *inputs).compile()(*inputs)[1])

    def _traced(
        self, want_value: bool, unknowns: Any, parameters: Any, consts: Any, invariants: Any, tables: Any
    ) -> tuple[list[Any], Any]:
        if invariants is None:
            invariants = self.plan.invariants(parameters, consts, tables)
        leaves = []
        if want_value:
            whole = self._program.piece(self._program.unknowns, self._program.jaxpr.outvars)
            leaves = whole(unknowns, self.plan.environment(invariants, consts))
        return leaves, self.plan.data(unknowns, invariants, consts, tables)

    @functools.cached_property
    def _compiled_invariants(self) -> Callable[..., Invariants]:
        return jax.jit(self.plan.invariants, inline=True)

    @functools.cached_property
    def _host_tables(self) -> dict[str, Any]:
        return self.plan.tables()

    @functools.cached_property
    def _device_tables(self) -> dict[str, Any]:
        with jax.ensure_compile_time_eval():
            return jax.device_put(self._host_tables)

    def _tables(self, leaves: list[Any]) -> dict[str, Any]:
        traced = any(isinstance(v, Tracer) for v in (*leaves, *self._program.consts))
        return self._host_tables if traced else self._device_tables
