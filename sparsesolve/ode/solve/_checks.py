"""What `solve_ode` refuses, and what it says: what was seen, why it cannot work, what to write instead."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.core import Tracer

from sparsesolve._tree import Structure
from sparsesolve.matrix import SparseMatrix
from sparsesolve.ode.stepping._algebraic import LARGEST_DENSE, Algebraic
from sparsesolve.ode.system._system import StiffSystem
from sparsesolve.ode.system._weights import tolerance_weights


def check_times(t0: Any, t1: Any, dt0: Any, saveat: Any) -> None:
    """Refuses intervals that are empty or not finite, first steps away from the end, and times to save at that are
    outside of the interval or not in the order in which they are reached. Concrete values only."""
    if isinstance(t0, Tracer) or isinstance(t1, Tracer):
        return
    start, end = float(t0), float(t1)
    if not (np.isfinite(start) and np.isfinite(end)):
        raise ValueError(f"solve_ode got the interval from {start} to {end}; both ends must be finite numbers.")
    if start == end:
        raise ValueError(
            f"solve_ode got t0 = t1 = {start:g}, an interval of length zero; the solution there is y0. Write t1 > t0 "
            "(or t1 < t0 to integrate backward in time)."
        )
    for sub in jtu.tree_leaves(saveat.subs, is_leaf=lambda s: hasattr(s, "ts")):
        ts = getattr(sub, "ts", None)
        if ts is None or isinstance(ts, Tracer):
            continue
        times = np.asarray(ts)
        inside = (times >= min(start, end)) & (times <= max(start, end))
        if not inside.all():
            raise ValueError(
                f"solve_ode got saveat.ts with {float(times[~inside][0]):g}, outside of the interval from "
                f"{start:g} to {end:g}; move t1 or leave it out."
            )
        if (np.diff(times) * (end - start) < 0).any():
            raise ValueError(
                f"solve_ode got saveat.ts that are not sorted from t0={start:g} to t1={end:g}; write "
                f"saveat=SaveAt(ts=jnp.sort(ts){'' if end > start else '[::-1]'})."
            )
    if dt0 is not None and not isinstance(dt0, Tracer) and not 0 < float(dt0) * np.sign(end - start) < np.inf:
        raise ValueError(
            f"solve_ode got dt0={float(dt0):g} for the interval from {start:g} to {end:g}; the first step is a finite "
            "number other than zero, with the sign of t1 - t0. Leave it out to have it chosen."
        )


def check_jumps(jump_ts: Any) -> None:
    """Refuses times of jumps that are not numbers. Concrete values only."""
    if jump_ts is None or any(isinstance(leaf, Tracer) for leaf in jtu.tree_leaves(jump_ts)):
        return
    times = np.asarray(jump_ts)
    if not np.issubdtype(times.dtype, np.number) or np.isnan(times).any():
        raise ValueError(f"solve_ode got jump_ts={jump_ts}; write an array of times, all of them numbers.")


def check_tolerances(rtol: Any, atol: Any, structure: Structure) -> None:
    """Refuses tolerances that are negative, not finite, all zero, or below the resolution of the state's dtype."""
    real = [jnp.finfo(dtype) for dtype in structure.dtypes]
    eps = max(float(info.eps) for info in real)
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        _check_structure(name, tolerance, structure)
        for leaf in jtu.tree_leaves(tolerance):
            if isinstance(leaf, Tracer):
                continue
            values = np.asarray(leaf)
            if not (np.isfinite(values).all() and (values >= 0).all()):
                raise ValueError(f"solve_ode got {name}={leaf}; tolerances are finite and not negative.")
            if name == "rtol" and 0 < values.min(initial=np.inf) < 10 * eps:
                raise ValueError(
                    f"solve_ode got rtol={float(values.min()):g}, but the state's dtype "
                    f"({max(structure.dtypes, key=lambda d: float(jnp.finfo(d).eps))}) resolves only {eps:.1e}; write "
                    f"rtol={100 * eps:.0e} or more, or a state of float64 (with jax.config.update('jax_enable_x64', "
                    "True))."
                )
    leaves = [leaf for tree in (rtol, atol) for leaf in jtu.tree_leaves(tree)]
    if not any(isinstance(leaf, Tracer) for leaf in leaves) and all(not np.any(np.asarray(leaf)) for leaf in leaves):
        raise ValueError("solve_ode got rtol = atol = 0; write rtol=1e-6, say.")


def _check_structure(name: str, tolerance: Any, structure: Structure) -> None:
    """A tolerance is one number or array for all leaves, or a pytree like the state whose leaves fit its leaves."""
    leaves, treedef = jtu.tree_flatten(tolerance)
    single = jtu.treedef_is_leaf(treedef)
    if not single and treedef != structure.treedef:
        raise ValueError(
            f"solve_ode got {name} as a pytree of another structure than the state:\n  state: {described(structure)}\n"
            f"  {name}: {treedef}\nGive one number, or a pytree like the state."
        )
    for leaf, shape, path in zip(
        leaves * len(structure.shapes) if single else leaves, structure.shapes, structure.names, strict=True
    ):
        try:
            fits = np.broadcast_shapes(np.shape(leaf), shape) == shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"solve_ode got {name} of shape {np.shape(leaf)} for y0{path} of shape {shape}; give a number, or an "
                "array that broadcasts to it."
            )


def check_slope(y: Structure, slope: Structure) -> None:
    """Refuses right-hand sides whose result does not look like the state.

    Raises:
        ValueError: naming both structures.
        TypeError: for slopes that are integers, or complex for a real state.
    """
    if (y.treedef, y.shapes) != (slope.treedef, slope.shapes):
        raise ValueError(
            "solve_ode got a right-hand side f(t, y, args) whose result has another structure than the state:\n"
            f"  state:  {described(y)}\n  result: {described(slope)}\n"
            "Return one slope for each component, in the same pytree with the same shapes."
        )
    for name, a, b in zip(y.names, y.dtypes, slope.dtypes, strict=True):
        if jnp.issubdtype(b, jnp.complexfloating) and not jnp.issubdtype(a, jnp.complexfloating):
            raise TypeError(
                f"solve_ode got a real state y0{name} ({a}) with a complex slope ({b}); write y0{name} as a complex "
                "array."
            )


def described(structure: Structure) -> str:
    """A structure with dtypes and shapes in the place of its leaves."""
    texts = [f"{dtype}{list(shape)}" for shape, dtype in zip(structure.shapes, structure.dtypes, strict=True)]
    return str(jtu.tree_unflatten(structure.treedef, texts)).replace("'", "")


def check_index(system: StiffSystem, t: Any, x: Any) -> None:
    """Refuses a system of a higher index.

    With `N` and `K` the left and right null spaces of `M`, the equations without derivatives are `N^T f = 0`, and the
    index is 1 where `N^T J K` is regular. Concrete values and up to a few hundred unknowns; larger systems show it by
    a correction of their start that fails.

    Raises:
        ValueError: naming the rank.
    """
    assert system.mass is not None
    if system.size > LARGEST_DENSE:
        return
    left, values, right = np.linalg.svd(np.asarray(system.mass.matrix(t, x).todense()))
    kernel = values <= 1e-12 * max(values[0], np.finfo(float).tiny)
    if not kernel.any():
        return
    jacobian = np.asarray(SparseMatrix(system.jacobian(t, x), system.plan.pattern).todense())
    if not np.isfinite(jacobian).all():
        return
    outside, inside = left[:, kernel], right[kernel].T
    size = np.linalg.svd(outside.T @ jacobian @ inside, compute_uv=False)
    if size[-1] <= 1e-13 * max(size[0], np.max(np.abs(outside.T @ jacobian), initial=0.0)):
        raise ValueError(
            f"solve_ode got a singular mass matrix of rank {int((~kernel).sum())} of {system.size} whose algebraic "
            "equations do not determine the other unknowns (their Jacobian is singular): the index is above 1. "
            "Differentiate the constraints until they do, or write solver=RadauIIA5(index=...) for index 2 or 3."
        )


def check_given_index(index: Any) -> None:
    """Refuses components of an index other than 1, 2 or 3.

    Raises:
        ValueError: naming the index.
    """
    for leaf in jtu.tree_leaves(index):
        if isinstance(leaf, Tracer):
            continue
        wrong = np.asarray(leaf)[~np.isin(np.asarray(leaf), (1, 2, 3))]
        if wrong.size:
            raise ValueError(
                f"solve_ode got RadauIIA5(index=...) with a component of index {wrong.flat[0]:g}, but the method holds "
                "for index 1, 2 and 3. Differentiate the constraints with respect to time until the index is at most 3."
            )


def check_constraints(system: StiffSystem, parts: Algebraic, t: Any, x: Any, rtol: Any, atol: Any) -> None:
    """Refuses starts of systems of a higher index whose equations without derivatives are off by far.

    Off means by more than a hundred times the relative tolerance (at least 1e-3) of what is added up in them,
    `|J| |x|`. Of hidden constraints those on velocities are looked at, see `_hidden_constraint`.

    Raises:
        ValueError: naming the equation.
    """
    slope = np.asarray(system.rhs(t, x))
    jacobian = SparseMatrix(system.jacobian(t, x), system.plan.pattern).to_scipy()
    terms = abs(jacobian) @ np.abs(np.asarray(x)) + np.finfo(slope.dtype).tiny
    if parts.kernel is None:
        off, terms, name = np.abs(slope[parts.equations]), terms[parts.equations], np.flatnonzero(parts.equations)
    else:
        off, terms, name = np.abs(parts.kernel.T @ slope), np.abs(parts.kernel).T @ terms, None
    loose = max([float(np.max(np.asarray(leaf))) for leaf in jtu.tree_leaves(rtol)], default=0.0)
    limit = max(100 * loose, 1e-3)
    if off.size == 0 or not (off > limit * terms).any():
        units = 100 * np.asarray(tolerance_weights(system.structure, rtol, atol, x))
        hidden = None if parts.kernel is not None else _hidden_constraint(system, jacobian, t, x, limit, units)
        if hidden is not None:
            raise ValueError(
                f"solve_ode got a start that is not consistent: the derivative with respect to time of the equation "
                f"without derivatives f{system.structure.locate(hidden)} is not 0 and no unknown is free to make it 0. "
                "Starts of index 3 are not corrected: give velocities that keep the constraints, or write "
                "inconsistent='keep'."
            )
        return
    worst = int(np.argmax(off / terms))
    where = f"number {worst}" if name is None else f"f{system.structure.locate(int(name[worst]))}"
    raise ValueError(
        f"solve_ode got a start that is not consistent: the equation without derivatives {where} is {off[worst]:.3g} "
        "and should be 0. Starts of index 2 and 3 are not corrected: give one that solves the constraints and their "
        "derivatives, or write inconsistent='keep'."
    )


def _hidden_constraint(
    system: StiffSystem, jacobian: Any, t: Any, x: Any, limit: float, units: np.ndarray
) -> int | None:
    """The row of an equation `0 = g(t, y)` whose `g_t + g_y M^-1 f` is off by far though no component without a
    derivative occurs in it: `g` holds of positions, and velocities leave it. For diagonal matrices M.

    Off means by more than `limit` of what is added up and by more than changes of the state by `units` make.
    """
    assert system.mass is not None
    mass = system.mass.matrix(t, x).to_scipy()
    diagonal = mass.diagonal()
    if abs(mass).sum() > np.abs(diagonal).sum():
        return None
    there = diagonal != 0
    slope, rate = (np.asarray(v) for v in system.rhs.with_time_derivative(t, x))
    inverse = np.where(there, 1 / np.where(there, diagonal, 1.0), 0.0)
    rows, sizes = jacobian[~there], abs(jacobian[~there])
    acceleration = abs(jacobian).multiply(np.abs(inverse)[:, None]).tocsr()  # of M^-1 f by y
    bound = np.asarray(sizes[:, ~there].sum(axis=1)).ravel() == 0
    bound &= np.asarray((sizes @ acceleration[:, ~there]).sum(axis=1)).ravel() == 0
    off = np.abs(rows @ (inverse * slope) + rate[~there])
    terms = sizes @ np.abs(inverse * slope) + np.abs(rate[~there])
    wrong = bound & (off > limit * terms + sizes @ (acceleration @ units))
    return int(np.flatnonzero(~there)[np.argmax(np.where(wrong, off, -1.0))]) if wrong.any() else None
