"""Which solvers have steps that can be recorded and swept."""

from __future__ import annotations

from typing import Any

from sparsesolve.ode.adjoint._bdf_steps import BdfSteps
from sparsesolve.ode.adjoint._esdirk_steps import EsdirkSteps
from sparsesolve.ode.adjoint._radau_steps import RadauSteps
from sparsesolve.ode.adjoint._rosenbrock_steps import RosenbrockSteps
from sparsesolve.ode.adjoint._saveat import looks_between
from sparsesolve.ode.multistep._bdf import BDF
from sparsesolve.ode.rosenbrock._rosenbrock_solver import AbstractRosenbrock
from sparsesolve.ode.runge_kutta._esdirk_solver import AbstractEsdirk
from sparsesolve.ode.runge_kutta._radau_solver import AbstractRadau


def steps_of(call: dict[str, Any]) -> Any:
    """The steps of the solver of a call of diffrax's loop; `None` where there are none."""
    solver, dense = call["solver"], looks_between(call["saveat"], call["event"])
    if isinstance(solver, BDF):
        return BdfSteps(solver)
    if isinstance(solver, AbstractEsdirk):
        return EsdirkSteps(solver, dense, solver.splits(call["terms"]))
    if isinstance(solver, AbstractRosenbrock) and not solver.max_jacobian_age:
        return RosenbrockSteps(solver, dense)
    if isinstance(solver, AbstractRadau):
        return RadauSteps(solver, dense)
    return None
