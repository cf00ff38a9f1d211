"""Whether the Jacobian of a residual is stored or only multiplied with, and what solves for steps then. Host-side.

Entries pay as long as they are few: a product with stored ones is cheaper than a derivative of the function, and can be
factorized. Without entries go Jacobians that would not fit in memory, and large ones that are nearly full, where
evaluating them takes as many derivatives as there are parameters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sparsesolve._tree import Structure
from sparsesolve.direct import physical_memory
from sparsesolve.least_squares.linear_step._choose_linear import PRODUCTS, choose_damped_solver, choose_product_solver
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver
from sparsesolve.least_squares.linear_step._saddle_solver import SaddleSolver
from sparsesolve.least_squares.objective._linear_constraints import LinearConstraints
from sparsesolve.least_squares.objective._objective import Objective
from sparsesolve.least_squares.objective._products import ProductObjective
from sparsesolve.least_squares.objective._robust import BlockLosses
from sparsesolve.linear._prepared import prepared_jacobian
from sparsesolve.linear._pure import PureFunction
from sparsesolve.pattern import SparsityPattern, TooManyEntriesError, most_entries

_FULL_SHARE = 0.25  # of the entries: nearly full
_LARGE = 20_000_000  # entries from which on a nearly full Jacobian is not stored
_BYTES = 96  # for an entry: values, indices, tables, J^T J and the host's plans


class Form(NamedTuple):
    """A residual and what surrounds it, as in `Objective`."""

    pure: PureFunction
    unknowns: Structure
    tangents: Structure
    losses: BlockLosses | None
    retract: Any
    constraints: LinearConstraints | None = None


def formed(
    form: Form, point: tuple[Any, Any, Any], sparsity: SparsityPattern | None, method: str
) -> tuple[Objective, AbstractDampedSolver]:
    """The objective of a residual and the solver for its steps.

    Args:
        form: of the residual.
        point: example arguments of `form.pure`.
        sparsity: a given pattern.
        method: a name of a method, or `"auto"`.
    """
    if form.constraints is not None:
        return _constrained(form, form.constraints, point, sparsity, method)
    if method in PRODUCTS:
        return _without_entries(form, method)
    if method != "auto":
        return _with_entries(form, point, sparsity, method)
    token = most_entries.set(allowed_entries(Structure.of(form.pure.out).size, form.tangents.size))
    try:
        return _with_entries(form, point, sparsity, method)
    except TooManyEntriesError:
        return _without_entries(form, PRODUCTS[0])
    finally:
        most_entries.reset(token)


def allowed_entries(m: int, n: int) -> int:
    """Entries up to which a Jacobian of shape `(m, n)` is stored."""
    return min(max(_LARGE, int(_FULL_SHARE * m * n)), physical_memory() // _BYTES, most_entries.get())


def _with_entries(
    form: Form, point: tuple[Any, Any, Any], sparsity: SparsityPattern | None, method: str
) -> tuple[Objective, AbstractDampedSolver]:
    jacobian = prepared_jacobian(form.pure, *point, sparsity)
    objective = Objective(
        form.pure, jacobian, form.unknowns, form.tangents, form.losses, form.retract, sparsity is not None
    )
    return objective, choose_damped_solver(objective.pattern, method)


def _constrained(
    form: Form,
    constraints: LinearConstraints,
    point: tuple[Any, Any, Any],
    sparsity: SparsityPattern | None,
    method: str,
) -> tuple[Objective, AbstractDampedSolver]:
    if method in PRODUCTS:
        raise ValueError(
            f"least_squares got equality and bounds with linear_solver={method!r}, which stores no Jacobian; both "
            "together need one, write another method."
        )
    jacobian = prepared_jacobian(form.pure, *point, sparsity)
    objective = Objective(
        form.pure, jacobian, form.unknowns, form.tangents, form.losses, None, sparsity is not None, constraints
    )
    return objective, SaddleSolver(objective.pattern, constraints, method)


def _without_entries(form: Form, method: str) -> tuple[Objective, AbstractDampedSolver]:
    objective = ProductObjective(form.pure, None, form.unknowns, form.tangents, form.losses, form.retract, False)
    return objective, choose_product_solver(form.tangents, objective.shape[0], method)
