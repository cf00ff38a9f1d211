"""Which method `solve_ode` takes, and how wishes about mass and sparsity reach it. Host-side.

| system | method |
|---|---|
| up to 100 components, no mass matrix or a constant one | `Rodas5P`: a fixed amount of work a step |
| larger, or a mass matrix that is a function | `BDF`: one linear solve a step, factors kept |
"""

from __future__ import annotations

import dataclasses
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from sparsesolve._tree import Structure
from sparsesolve.ode.multistep._bdf import BDF
from sparsesolve.ode.rosenbrock._rodas5p import Rodas5P
from sparsesolve.ode.rosenbrock._rosenbrock_solver import AbstractRosenbrock
from sparsesolve.ode.runge_kutta._esdirk_solver import AbstractEsdirk
from sparsesolve.ode.system._mass import as_matrix

SMALL = 100


def choose_solver(structure: Structure, mass: Any) -> dfx.AbstractAdaptiveSolver:
    """The default method for a system."""
    if callable(mass) or structure.size > SMALL:
        return BDF()
    return Rodas5P()


def fitted(solver: dfx.AbstractAdaptiveSolver, mass: Any, sparsity: Any) -> dfx.AbstractAdaptiveSolver:
    """The solver with mass matrix and sparsity, where those were given.

    Raises:
        ValueError: for a mass matrix where the solver has no use for one.
    """
    names = {field.name for field in dataclasses.fields(solver)}
    changes = {}
    for name, value in (("mass", mass), ("sparsity", sparsity)):
        if value is None:
            continue
        if name in names:
            with jax.ensure_compile_time_eval():  # inside transformations, too, which entries there are is known
                changes[name] = value if name == "sparsity" or callable(value) else as_matrix(value)
        elif name == "mass":
            raise ValueError(
                f"solve_ode got a mass matrix and {type(solver).__name__}, which solves y' = f only; give a solver of "
                "this package, such as Rodas5P(), BDF() or RadauIIA5(), or None for the solver."
            )
    return dataclasses.replace(solver, **changes) if changes else solver


def local_tolerances(solver: dfx.AbstractAdaptiveSolver, rtol: Any, atol: Any) -> tuple[Any, Any]:
    """Tolerances of a step for which errors at the end follow `rtol` and `atol`. Traced.

    A method of order p whose error estimate is `O(h^q)` with q > p leaves `O(tolerance^(p / q))` at the end: both are
    multiplied by `rtol^(q / p - 1)` for `TRBDF2` and `Rosenbrock23` (p = 2, q = 3); for other methods p = q.
    """
    if not isinstance(solver, AbstractEsdirk | AbstractRosenbrock):
        return rtol, atol
    power = (solver.tableau.error_order or solver.tableau.order) / solver.tableau.order - 1
    if power == 0:
        return rtol, atol
    least = jnp.min(jnp.stack([jnp.min(leaf) for leaf in jtu.tree_leaves(rtol)]))
    rounding = 100 * jnp.finfo(least.dtype).eps
    factor = jnp.where(least > 0, jnp.maximum(least**power, jnp.minimum(rounding / least, 1.0)), 1.0)
    return jtu.tree_map(lambda leaf: factor * leaf, (rtol, atol))
