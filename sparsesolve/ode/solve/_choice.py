"""Which method `solve_ode` takes, and how wishes about mass and sparsity reach it. Host-side.

| system | method |
|---|---|
| up to 20 components, no mass matrix or a constant one, `rtol` from 1e-9 to 1e-7, a plain call | `RadauIIA9` |
| up to 100 components, no mass matrix or a constant one | `Rodas5P`: a fixed amount of work a step |
| larger, where a factorization costs no more than a few solves (groups, fields on a line) | `Rodas5P` |
| larger otherwise, or a mass matrix that is a function | `BDF`: one linear solve a step, factors kept |

A plain call knows all its numbers (outside of `jit`, `vmap` and `grad`) and saves nothing between the ends of steps.
There `RadauIIA9` takes less time than `Rodas5P` at the same `rtol` on all six small problems of `python -m benchmarks
ode`, by factors of 1.1 to 1.6 at 1e-6, 1.2 to 1.8 at 1e-7 and 1.5 to 3 at 1e-8. Not so with 30 to 100 components (0.5
to 1.2 at 1e-7, dense and banded); in batches, where lanes that iterate hold up all others (200 HIRES or ROBER at 1e-7:
0.8 and 0.7); in gradients, which solve for five stages at once (0.9 and 0.4); and between its few steps it loses two
digits. Below 1e-9 rounding errors stop its iteration on ROBER.
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
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, PyTree

from sparsesolve._cache import BoundedCache
from sparsesolve._tree import Structure, fix_indices, partition
from sparsesolve.linear._call_key import Same, call_key, forget_with
from sparsesolve.ode.adjoint._one_step import saves_between
from sparsesolve.ode.multistep._bdf import BDF
from sparsesolve.ode.rosenbrock._rodas5p import Rodas5P
from sparsesolve.ode.rosenbrock._rosenbrock_solver import AbstractRosenbrock
from sparsesolve.ode.runge_kutta._esdirk_solver import AbstractEsdirk
from sparsesolve.ode.runge_kutta._radau9 import RadauIIA9
from sparsesolve.ode.solve._checks import check_slope
from sparsesolve.ode.system._mass import as_matrix
from sparsesolve.ode.system._system import prepare_system

TINY = 20  # components for which a few evaluations more or less matter more than factorizations
TIGHT = 1e-9, 1e-7  # relative tolerances at which order 9 pays, and that rounding errors leave room for
SMALL = 100  # components for which any factorization is cheap
LIGHT = 10  # operations of a factorization for each entry of its factors; a solve takes two

_light_cache = BoundedCache("systems with cheap factors", maxsize=64)


def choose_solver(
    f: Callable[[Any, Any, Any], Any],
    t0: Any,
    y0: PyTree[Array],
    args: Any,
    mass: Any,
    sparsity: Any,
    *,
    tight: bool = False,
) -> dfx.AbstractAdaptiveSolver:
    """The default method for a system; `tight` as told by `is_tight`.

    A step of `BDF` costs one solve and no factorization, but it takes four times as many of them at the same error.
    """
    if callable(mass):
        return BDF()
    size = Structure.of(y0).size
    if tight and size <= TINY:
        return RadauIIA9()
    if size <= SMALL or (mass is None and _is_light(f, t0, y0, args, sparsity)):
        return Rodas5P()
    return BDF()


def is_tight(rtol: Any, numbers: Any, saveat: dfx.SaveAt, event: Any) -> bool:
    """Whether a call is made with tight tolerances and plain.

    Args:
        rtol: relative tolerances.
        numbers: all else that may be traced.
        saveat: what is saved.
        event: where to stop.
    """
    if any(isinstance(leaf, Tracer) for leaf in jtu.tree_leaves((rtol, numbers))):
        return False
    if event is not None or saveat.dense or saves_between(saveat):
        return False
    values = np.concatenate([np.ravel(leaf) for leaf in jtu.tree_leaves(rtol)])
    least, largest = TIGHT
    return bool(np.all((values >= least) & (values <= largest)))


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
