"""Which solvers have steps that can be recorded and swept."""

from __future__ import annotations

from typing import Any

from sparsesolve.ode.adjoint._bdf_steps import BdfSteps
from sparsesolve.ode.multistep._bdf import BDF


def steps_of(solver: Any) -> Any:
    """The steps of a solver; `None` where there are none."""
    if isinstance(solver, BDF):
        return BdfSteps(solver)
    return None
