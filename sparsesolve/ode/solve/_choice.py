"""Which method `solve_ode` takes, and how wishes about mass and sparsity reach it. Host-side.

| system | method |
|---|---|
| up to 100 components, no mass matrix or a constant one | `Rodas5P`: a fixed amount of work a step |
| larger, where a factorization costs no more than a few solves (groups, fields on a line) | `Rodas5P` |
| larger otherwise, or a mass matrix that is a function | `BDF`: one linear solve a step, factors kept |

`RadauIIA9` is not among them, though it takes 0.3 to 0.8 of `Rodas5P`'s time on small problems at `rtol` below 1e-7
(`python -m benchmarks ode`): on Prothero and Robinson's problem, stiff components that follow a forcing, its errors are
10 to 400 times the tolerance at the ends of steps, where those of `Rodas5P` and `BDF` are below it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, PyTree

from sparsesolve._cache import BoundedCache
from sparsesolve._tree import Structure, fix_indices, partition
from sparsesolve.linear._call_key import Same, call_key, forget_with
from sparsesolve.ode.multistep._bdf import BDF
from sparsesolve.ode.rosenbrock._rodas5p import Rodas5P
from sparsesolve.ode.rosenbrock._rosenbrock_solver import AbstractRosenbrock
from sparsesolve.ode.runge_kutta._esdirk_solver import AbstractEsdirk
from sparsesolve.ode.solve._checks import check_slope
from sparsesolve.ode.system._mass import as_matrix
from sparsesolve.ode.system._system import as_pattern, prepare_system

SMALL = 100  # components for which any factorization is cheap
LIGHT = 10  # operations of a factorization for each entry of its factors; a solve takes two

_light_cache = BoundedCache("systems with cheap factors", maxsize=64)


def choose_solver(
    f: Callable[[Any, Any, Any], Any], t0: Any, y0: PyTree[Array], args: Any, mass: Any, sparsity: Any
) -> dfx.AbstractAdaptiveSolver:
    """The default method for a system.

    A step of `BDF` costs one solve and no factorization, but it takes four times as many of them at the same error.
    """
    if callable(mass):
        return BDF()
    if Structure.of(y0).size <= SMALL or (mass is None and _is_light(f, t0, y0, args, sparsity)):
        return Rodas5P()
    return BDF()


def _is_light(f: Callable, t0: Any, y0: PyTree[Array], args: Any, sparsity: Any) -> bool:
    """Whether a factorization of `I - h df/dy` costs no more than a few solves; remembered for functions and shapes."""
    data, static = partition(fix_indices(args))
    shapes = tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in data)
    key = call_key(f, (Structure.of(y0), static, shapes, Same(sparsity), jnp.result_type(float)))
    known = None if key is None else _light_cache.lookup(key)
    if known is not None:
        return known
    check_slope(Structure.of(y0), Structure.of(eqx.filter_eval_shape(f, t0, y0, args)))
    plan = prepare_system(dfx.ODETerm(f), t0, y0, args, sparsity=sparsity).linear_solver.plan
    light = plan.flops <= LIGHT * plan.nnz_factor
    if key is not None:
        _light_cache.store(key, light)
        forget_with(f, _light_cache.discard, key)
    return light


def fitted(solver: dfx.AbstractAdaptiveSolver, mass: Any, sparsity: Any) -> dfx.AbstractAdaptiveSolver:
    """The solver with mass matrix and sparsity, where those were given.

    Raises:
        ValueError: for a mass matrix where the solver has no use for one.
    """
    names = {field.name for field in dataclasses.fields(solver)}
    changes = {}
    sparsity = getattr(solver, "sparsity", None) if sparsity is None else sparsity
    sparsity = None if sparsity is None else as_pattern(sparsity)  # while it is no tracer yet
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
