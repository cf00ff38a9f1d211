"""Initial values that solve the equations without derivatives: looked at, corrected, told.

Of concrete values only what is off by more than the tolerance is corrected, with a warning that names the
components. Inside transformations every start is corrected, and `stats` tells how many components have moved and how
far; where no consistent start is found it becomes NaN, with which no step succeeds.
"""

from __future__ import annotations

import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, PyTree

from sparsesolve.matrix import SparseMatrix
from sparsesolve.ode.runge_kutta._radau_solver import AbstractRadau
from sparsesolve.ode.solve._checks import check_constraints, check_given_index, check_index
from sparsesolve.ode.stepping._algebraic import Algebraic, corrected, correction
from sparsesolve.ode.stepping._consistent import NOT_FOUND, correct_once, report_of, solve_algebraic
from sparsesolve.ode.system._system import StiffSystem
from sparsesolve.ode.system._weights import tolerance_weights

MODES = ("correct", "refuse", "keep")


def initial_values(
    system: StiffSystem, t0: Any, y0: PyTree[Array], solver: Any, rtol: Any, atol: Any, inconsistent: str
) -> tuple[PyTree[Array], dict[str, Any]]:
    """The start to integrate from, and what `stats` says of it.

    Args:
        system: with a mass matrix.
        t0: start time.
        y0: as the user gave it.
        solver: the start of a Radau method that knows the index of components is looked at, not corrected.
        rtol: relative tolerance.
        atol: absolute tolerance.
        inconsistent: `"correct"`, `"refuse"` or `"keep"`.

    Raises:
        ValueError: for an index above 1, for a start that is off and shall not be or cannot be corrected.
    """
    higher = isinstance(solver, AbstractRadau) and solver.index is not None
    if higher:
        check_given_index(solver.index)
    t, x = jnp.asarray(t0, jnp.result_type(float)), system.structure.ravel(y0)
    parts = _algebraic(system, solver, t, x)
    if parts is None:
        return y0, {}
    operands = eqx.filter(system, eqx.is_array), t, x, rtol, atol
    traced = any(isinstance(leaf, Tracer) for leaf in jtu.tree_leaves(operands))
    if higher:
        if not traced and inconsistent != "keep":
            check_constraints(system, parts, t, x, rtol, atol)
        return y0, {}
    if traced:
        if inconsistent != "correct":
            return y0, {}
        found, okay = corrected(correction(system, parts, t), x)
        found = jnp.where(okay, found, jnp.nan)
    else:
        check_index(system, t, x)
        if inconsistent == "keep":
            return y0, {}
        found = _looked_at(system, parts, t, x, _allowed(system, x, rtol, atol), inconsistent)
    change = jax.lax.stop_gradient(jnp.abs(found - x))
    count = jnp.sum(change > 1e-6 * jnp.maximum(jnp.abs(x), 1e-6))
    stats = {"num_corrected_components": count, "largest_correction": jnp.max(change, initial=0.0)}
    return system.structure.unravel(found), stats


def _algebraic(system: StiffSystem, solver: Any, t: Array, x: Array) -> Algebraic | None:
    """`None` for regular matrices, and for those whose entries are not known yet."""
    assert system.mass is not None
    matrix = system.mass.matrix(t, x)
    if system.mass.is_constant and isinstance(solver.mass, SparseMatrix):
        matrix = solver.mass
    if isinstance(matrix.data, Tracer):
        return None
    with jax.ensure_compile_time_eval():
        return Algebraic.of(matrix)


def _allowed(system: StiffSystem, x: Array, rtol: Any, atol: Any) -> np.ndarray:
    """What each component may be off by: its tolerance, or what rounding errors of `f` may make of it."""
    size = np.abs(np.asarray(x))
    rounding = 1e3 * float(jnp.finfo(system.dtype).eps) * np.max(size, initial=0.0)
    with jax.ensure_compile_time_eval():
        tolerance = np.asarray(tolerance_weights(system.structure, rtol, atol, x))
    return np.maximum(np.maximum(tolerance, 1e-8 * size), rounding + 1e-300)


def _looked_at(
    system: StiffSystem, parts: Algebraic, t: Array, x: Array, allowed: np.ndarray, inconsistent: str
) -> Array:
    first = np.abs(np.asarray(correct_once(system, parts.equations, parts.kernel, t, x)))
    if not np.isfinite(np.asarray(x)).all():
        return x  # f will not be finite, which is told elsewhere
    if np.isfinite(first).all() and (first <= allowed).all():
        return x
    worst = int(np.argmax(np.where(np.isfinite(first), first / allowed, np.inf)))
    if inconsistent == "refuse":
        raise ValueError(
            f"solve_ode got a start that is not consistent: the equations without derivatives would move "
            f"y0{system.structure.locate(worst)} by about {first[worst]:.3g}. Solve them first (y0, report = "
            "sparsesolve.ode.consistent_start(f, t0, y0, args, mass=mass)), or write inconsistent='correct'."
        )
    found = solve_algebraic(system, parts, t, x)
    if found is None:
        raise ValueError(f"solve_ode got a start that is not consistent, and {NOT_FOUND}")
    told = "; ".join(f"y0{line}" if line.startswith("[") else line for line in report_of(system, x, found).split("\n"))
    warnings.warn(
        f"solve_ode corrected a start that did not solve the equations without derivatives: {told}. Write "
        "inconsistent='refuse' to be stopped, 'keep' to start as given, or use sparsesolve.ode.consistent_start.",
        stacklevel=4,
    )
    return found
