"""`Newton`: direction times line search times acceptance, as an optimistix solver.

One step at `y`:

    F, J  = residual and sparse Jacobian           (compressed JVPs; constant parts computed once per solve)
    d     = -J^-1 F                                (any lineax solver; `AutoSparse` by default)
    y    <- y + t d                                (line search on |F|)

until a convergence test of `_convergence.py` holds. Quadratic convergence near a regular root; every way to fail
has a result of its own (`_results.py`). Cost per step: one Jacobian, one factorization, one residual per trial.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
import optimistix as optx
from jaxtyping import Array, Bool, Float, Inexact, Int, PyTree

from sparsesolve._tree import Structure
from sparsesolve.jacobian import SparseJacobian
from sparsesolve.linear import AutoSparse
from sparsesolve.linear._prepared import prepared_jacobian
from sparsesolve.linear._pure import purify_module
from sparsesolve.linear._resolution import resolution, resolved_rtol, two_norm
from sparsesolve.nonlinear._backtracking import AbstractLineSearch, Backtracking, Trial
from sparsesolve.nonlinear._convergence import (
    at_rounding_floor,
    largest_by_leaf,
    rounding_floor,
    scaled_step,
    solves_each_equation,
)
from sparsesolve.nonlinear._direction import Direction, newton_direction
from sparsesolve.nonlinear._results import RESULTS, to_optimistix


class Prepared:
    """Holds a prepared Jacobian as a static part of a state.

    Drivers compare the static parts of states from different traces of one function, and tracing twice may prepare
    twice; states fit together if their matrices do.
    """

    def __init__(self, jacobian: SparseJacobian):
        self.jacobian = jacobian

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prepared) and self.jacobian.pattern == other.jacobian.pattern

    def __hash__(self) -> int:
        return hash(self.jacobian.pattern)


class NewtonState(eqx.Module):
    """What a Newton iteration carries from step to step.

    Attributes:
        operands: arguments of the prepared Jacobian after `y`.
        invariants: its constant parts.
        scale: largest magnitude each leaf of `y` has had.
        start_norm: Euclidean norm of the residual before the last step.
        residual_norm: Euclidean norm of the residual at the current `y`.
        step_norm: last Newton step relative to the tolerance; at most 1 means converged.
        step_length: last step length `t`.
        finite_leaves: which leaves of the residual were finite at the start of the last step.
        converged: whether a convergence test held.
        result: `RESULTS.successful` until something fails.
        counts: `num_steps`, `num_residuals`, `num_jacobians`, `num_factorizations`, `num_linear_iterations`.
        prepared: the prepared Jacobian.
    """

    operands: PyTree[Array]
    invariants: PyTree[Array]
    scale: PyTree[Array]
    start_norm: Float[Array, ""]
    residual_norm: Float[Array, ""]
    step_norm: Float[Array, ""]
    step_length: Float[Array, ""]
    finite_leaves: Bool[Array, " leaves"]
    converged: Bool[Array, ""]
    result: RESULTS
    counts: dict[str, Int[Array, ""]]
    prepared: Prepared = eqx.field(static=True)


class Newton(optx.AbstractRootFinder):
    """Newton's method with a backtracking line search and a sparse Jacobian.

    For `root_find` of this package and for `optx.root_find`. Under optimistix the pattern is detected from the
    function as optimistix hands it over; arrays that the function closes over are then no longer known, which for
    unstructured meshes makes the pattern dense: use `sparsesolve.root_find` there.

    Attributes:
        rtol: tolerance on the Newton step relative to the largest magnitude in its leaf of `y`; `None` means
            eps^(2/3) of the dtype (4e-11 in float64).
        atol: absolute tolerance on the Newton step.
        norm: norm of the step divided by its tolerance.
        linear_solver: any lineax solver.
        line_search: how far to go along the Newton direction.

    Example:
        >>> import jax.numpy as jnp, optimistix as optx
        >>> from sparsesolve.nonlinear import Newton
        >>> sol = optx.root_find(lambda y, a: y**2 - a, Newton(), jnp.ones(3), jnp.array([1.0, 4.0, 9.0]))
        >>> sol.value
        Array([1., 2., 3.], dtype=float64)
    """

    rtol: Any = None
    atol: Any = 0.0
    norm: Callable[[PyTree], Array] = optx.max_norm
    linear_solver: lx.AbstractLinearSolver = AutoSparse()
    line_search: AbstractLineSearch = Backtracking()

    def init(
        self,
        fn: Callable,
        y: PyTree[Array],
        args: Any,
        options: dict[str, Any],
        f_struct: PyTree[jax.ShapeDtypeStruct],
        aux_struct: PyTree[jax.ShapeDtypeStruct],
        tags: frozenset[object],
    ) -> NewtonState:
        """Prepares the Jacobian and its constant parts.

        `options["jacobian"]` hands over a `SparseJacobian` of a function called as `jacobian(y, *args)`.
        """
        del f_struct, aux_struct, tags
        structure = Structure.of(y)
        resolved_rtol(self.rtol, structure)
        if "jacobian" in options:
            prepared, operands = options["jacobian"], tuple(args)
        else:
            # Equinox closures insist on the split of arguments they were converted with: arrays and the rest.
            pure, data, captured = purify_module(lambda y_, args_: fn(y_, args_)[0], args, y)
            prepared, operands = prepared_jacobian(pure, y, data, captured), (data, captured)
        real = jnp.finfo(structure.dtype).dtype
        names = ("num_steps", "num_residuals", "num_jacobians", "num_factorizations", "num_linear_iterations")
        return NewtonState(
            operands=operands,
            invariants=prepared.invariants(y, *operands),
            scale=largest_by_leaf(y),
            start_norm=jnp.asarray(jnp.inf, real),
            residual_norm=jnp.asarray(jnp.inf, real),
            step_norm=jnp.asarray(jnp.inf, real),
            step_length=jnp.asarray(0.0, real),
            finite_leaves=jnp.ones((len(structure.shapes),), bool),
            converged=jnp.asarray(False),
            result=RESULTS.successful,
            counts={name: jnp.asarray(0, jnp.int32) for name in (*names, "nnz_factor")},
            prepared=Prepared(prepared),
        )

    def step(
        self,
        fn: Callable,
        y: PyTree[Array],
        args: Any,
        options: dict[str, Any],
        state: NewtonState,
        tags: frozenset[object],
    ) -> tuple[PyTree[Array], NewtonState, Any]:
        """One Newton step."""
        del options, tags
        structure = Structure.of(y)
        residual, matrix = state.prepared.jacobian.evaluate(y, *state.operands, invariants=state.invariants)
        f = flat_residual(residual, structure)
        norm = two_norm(f)
        direction = newton_direction(self.linear_solver, matrix, f)
        step = structure.unravel(direction.step)
        scale = jtu.tree_map(jnp.maximum, state.scale, largest_by_leaf(y))
        # Measured by the larger end of the step too, so that y0 = 0 has a scale; not kept if the step is rejected.
        reach = jtu.tree_map(jnp.maximum, scale, largest_by_leaf(_moved(y, step, jnp.ones_like(norm))))
        rtol = resolved_rtol(self.rtol, structure)
        step_norm = scaled_step(step, reach, rtol, self.atol, self.norm).astype(norm.dtype)

        usable = jnp.isfinite(norm) & direction.finite & (direction.solved | (norm == 0))
        eps = max(resolution(structure), resolution(Structure.of(residual)))
        floor = rounding_floor(matrix, structure.ravel(y), eps)
        small = usable & (step_norm <= 1) & solves_each_equation(matrix, direction.step, f, floor)

        limit = jnp.where(usable, jnp.where(small, 1, 2**30), 0)
        trial = _searched(self.line_search, lambda t: fn(_moved(y, step, t), args), f, floor, limit)
        length = jnp.where(trial.accepted, trial.length, 0.0)
        new_y = _moved(y, step, length)
        moved = scaled_step(jtu.tree_map(jnp.subtract, new_y, y), scale, rtol, self.atol, self.norm)
        new_f, aux = trial.payload

        new_floor = rounding_floor(matrix, structure.ravel(new_y), eps)
        converged = small | (usable & at_rounding_floor(f, new_f, floor, new_floor, trial.accepted))
        new_state = NewtonState(
            operands=state.operands,
            invariants=state.invariants,
            scale=scale,
            start_norm=norm,
            residual_norm=jnp.where(trial.accepted, two_norm(new_f), norm),
            step_norm=step_norm,
            step_length=length,
            finite_leaves=_finite_leaves(residual),
            converged=converged,
            result=_judge(norm, direction, trial, converged, moved > 1),
            counts=_counted(state.counts, direction, trial),
            prepared=state.prepared,
        )
        return new_y, new_state, aux

    def terminate(
        self,
        fn: Callable,
        y: PyTree[Array],
        args: Any,
        options: dict[str, Any],
        state: NewtonState,
        tags: frozenset[object],
    ) -> tuple[Bool[Array, ""], optx.RESULTS]:
        """Whether the last step converged or failed."""
        del fn, y, args, options, tags
        return state.converged | (state.result != RESULTS.successful), to_optimistix(state.result)

    def postprocess(
        self,
        fn: Callable,
        y: PyTree[Array],
        aux: Any,
        args: Any,
        options: dict[str, Any],
        state: NewtonState,
        tags: frozenset[object],
        result: optx.RESULTS,
    ) -> tuple[PyTree[Array], Any, dict[str, Any]]:
        """Adds the statistics."""
        del fn, args, options, tags, result
        return y, aux, newton_stats(state)


def newton_stats(state: NewtonState) -> dict[str, Any]:
    """The statistics of a solve."""
    jacobian = state.prepared.jacobian
    return {
        **state.counts,
        "num_colors": jacobian.num_colors,
        "nnz": jacobian.pattern.nnz,
        "residual_norm": state.residual_norm,
    }


def flat_residual(tree: PyTree[Array], structure: Structure) -> Inexact[Array, " n"]:
    """The flat vector of a residual, whose leaves may differ in dtype from the unknowns'."""
    return Structure.of(tree).ravel(tree).astype(structure.dtype)


def _searched(
    line_search: AbstractLineSearch,
    along: Callable[[Array], tuple[PyTree[Array], Any]],
    f: Inexact[Array, " n"],
    floor: Float[Array, " n"],
    limit: Int[Array, ""],
) -> Trial:
    """Line search on the residual norm; the payload is the flat residual and the function's auxiliary output."""

    def above_floor(v: Array) -> Array:
        # What is within rounding of zero must not hide the progress of smaller equations.
        return two_norm(jnp.maximum(jnp.abs(v) - floor, 0.0))

    def evaluate(length: Array) -> tuple[Array, Any]:
        residual, aux = along(length)
        flat = Structure.of(residual).ravel(residual).astype(f.dtype)
        return above_floor(flat), (flat, aux)

    return line_search.search(evaluate, above_floor(f), limit)


def _moved(y: PyTree[Array], step: PyTree[Array], length: Array) -> PyTree[Array]:
    return jtu.tree_map(lambda a, d: a + length.astype(jnp.finfo(a.dtype).dtype) * d, y, step)


def _finite_leaves(residual: PyTree[Array]) -> Bool[Array, " leaves"]:
    leaves = jtu.tree_leaves(residual)
    return jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]) if leaves else jnp.ones((0,), bool)


def _judge(norm: Array, direction: Direction, trial: Trial, converged: Array, moved: Array) -> RESULTS:
    """The result of a step; the first thing that went wrong wins."""
    result = RESULTS.where(moved, RESULTS.successful, RESULTS.newton_stagnated)
    result = RESULTS.where(trial.accepted, result, RESULTS.line_search_failed)
    result = RESULTS.where(direction.solved, result, RESULTS.singular_jacobian)
    result = RESULTS.where(direction.finite, result, RESULTS.nonfinite_jacobian)
    result = RESULTS.where(jnp.isfinite(norm), result, RESULTS.nonfinite_start)
    return RESULTS.where(converged, RESULTS.successful, result)


def _counted(counts: dict[str, Array], direction: Direction, trial: Trial) -> dict[str, Array]:
    return {
        "num_steps": counts["num_steps"] + 1,
        "num_residuals": counts["num_residuals"] + 1 + trial.num_evaluations.astype(jnp.int32),
        "num_jacobians": counts["num_jacobians"] + 1,
        "num_factorizations": counts["num_factorizations"] + 1,
        "num_linear_iterations": counts["num_linear_iterations"] + direction.num_iterations,
        "nnz_factor": direction.nnz_factor,
    }
