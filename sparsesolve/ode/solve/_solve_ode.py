"""`solve_ode`: from a plain right-hand side to a solution with statistics; diffrax does the integration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import optimistix as optx
from jax.core import Tracer
from jaxtyping import Array, PyTree

from sparsesolve._tree import Structure
from sparsesolve.linear import AutoSparse
from sparsesolve.linear._raising import raise_unless
from sparsesolve.linear._unknowns import checked_unknowns
from sparsesolve.ode.adjoint._adjoint import DiscreteAdjoint, UnseenStates
from sparsesolve.ode.multistep._bdf import BDF
from sparsesolve.ode.rosenbrock._rosenbrock_solver import AbstractRosenbrock
from sparsesolve.ode.runge_kutta._esdirk_solver import AbstractEsdirk
from sparsesolve.ode.solve._call import Setting, prepare_call, watch_of
from sparsesolve.ode.solve._checks import check_jumps, check_times, check_tolerances
from sparsesolve.ode.solve._choice import choose_solver, fitted, local_tolerances
from sparsesolve.ode.solve._failure import failure_sentence
from sparsesolve.ode.solve._initial import MODES, initial_values
from sparsesolve.ode.solve._watched import WatchedController, WatchState
from sparsesolve.ode.stepping._controller import StiffController
from sparsesolve.ode.stepping._first_step import least_step
from sparsesolve.ode.system._system import StiffSystem, prepare_system

MAX_STEPS = 2**17
MAX_SAVED_STEPS = 4096


def solve_ode(
    f: Callable[[Any, Any, Any], Any],
    t0: Any,
    t1: Any,
    y0: PyTree[Array],
    args: Any = None,
    *,
    solver: dfx.AbstractAdaptiveSolver | None = None,
    rtol: Any = 1e-6,
    atol: Any = 1e-8,
    dt0: Any = None,
    mass: Any = None,
    saveat: dfx.SaveAt | None = None,
    jump_ts: Any = None,
    sparsity: Any = None,
    event: dfx.Event | None = None,
    adjoint: dfx.AbstractAdjoint | None = None,
    max_steps: int | None = None,
    norm: Callable[[PyTree], Array] = optx.rms_norm,
    inconsistent: str = "correct",
    throw: bool = True,
    progress_meter: dfx.AbstractProgressMeter | None = None,
) -> dfx.Solution:
    """Solves `dy/dt = f(t, y, args)`, or `M dy/dt = f(t, y, args)`, with a stiff method on a sparse Jacobian.

    Called as it is, the integration is compiled, and a second call with the same function and shapes reuses plan and
    code, whatever the numbers (tolerances and times included). Called inside `jit`, `vmap`, `grad` and so on, it takes
    part in them. For everything else there is `diffrax.diffeqsolve` with the same solvers.

    Args:
        f: right-hand side `f(t, y, args)`, a pytree of the same structure and shapes as `y`. Plain JAX.
        t0: start.
        t1: end; before `t0` to integrate backward in time.
        y0: values at `t0`, a pytree of floating or complex arrays or scalars.
        args: anything. Arrays and floats are data, other leaves are configuration: a new value means a new plan. So
            are concrete arrays of signed integers.
        solver: any adaptive solver of diffrax; `None` chooses one by size, mass and what a factorization costs.
        rtol: relative tolerance: a number, or a pytree like `y0` with a number or an array for each leaf.
        atol: absolute tolerance, likewise.
        dt0: first step; chosen if `None`.
        mass: `M`, constant (`SparseMatrix`, SciPy, dense, or its diagonal) or a function `mass(t, y, args)`; may be
            singular. `None` means the identity.
        saveat: what to save, as in diffrax; `None` saves the end.
        jump_ts: times at which `f` jumps; the integration restarts there, with algebraic components corrected.
        sparsity: entries of df/dy that can be nonzero; detected when `None`.
        event: where to stop, as in diffrax.
        adjoint: how to differentiate, as in diffrax; `DiscreteAdjoint()` if `None`.
        max_steps: most steps; 131072 if `None`, and 4096 where all steps are saved.
        norm: of errors divided by their tolerances.
        inconsistent: what to do with a start that does not solve the equations without derivatives: `"correct"` the
            components without derivatives and warn (see `ode.consistent_start`), `"refuse"`, or `"keep"` it.
        throw: raise when the end was not reached; otherwise `sol.result` says why and the solution is kept up to there.
        progress_meter: as in diffrax.

    Returns:
        A `diffrax.Solution`: `ts`, `ys`, `result` and `stats` with `num_steps`, `num_accepted_steps`,
        `num_rejected_steps`, `num_error_rejections`, `num_newton_rejections`, and for solvers of this package
        `num_residuals`, `num_jacobians`, `num_factorizations`, `num_solves`, `num_linear_iterations` and so on. Where
        it ended, also if not at the end: `final_time`, the last step tried `final_step`, and `worst_component`, the
        position in the flat state of what changed most in it relative to its tolerance (-1: nothing did); with a
        singular mass matrix also `num_corrected_components` and `largest_correction` of the start.

    Raises:
        TypeError: for states that are not floating-point numbers.
        ValueError: for a result of `f` that does not look like the state, tolerances below the dtype's resolution, an
            empty interval, or algebraic equations that have a higher index or for which no start is found.
        RuntimeError: if the end was not reached and `throw` is true; the sentence says where and what to try.

    Reference:
        E. Hairer, G. Wanner, Solving Ordinary Differential Equations II (1996), doi:10.1007/978-3-642-05221-7.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsesolve.ode import solve_ode
        >>> def heat(t, u, k):  # u_t = k u_xx, u = 0 at both ends
        ...     padded = jnp.pad(u, 1)
        ...     return k * (padded[:-2] - 2 * u + padded[2:]) * 100
        >>> sol = solve_ode(heat, 0.0, 0.1, jnp.sin(jnp.pi * jnp.arange(1, 10) / 10), 1.0, rtol=1e-5)
        >>> round(float(sol.ys[0].max()), 2)
        0.38
    """
    _check_choices(f, solver, inconsistent)
    y0 = checked_unknowns("solve_ode", y0, why_inexact="which cannot hold a solution that changes continuously")
    structure = Structure.of(y0)
    saveat = dfx.SaveAt(t1=True) if saveat is None else saveat
    check_times(t0, t1, dt0, saveat)
    check_jumps(jump_ts)
    check_tolerances(rtol, atol, structure)
    time = jnp.result_type(float)
    y0 = jtu.tree_map(lambda leaf: leaf.astype(jnp.result_type(leaf, time)), y0)  # as diffrax does, before f is traced
    start, end = jnp.asarray(t0, time), jnp.asarray(t1, time)
    times = (start, end, None if dt0 is None else jnp.asarray(dt0, time))
    mass = getattr(solver, "mass", None) if mass is None else mass
    solver = choose_solver(f, start, y0, args, mass, sparsity) if solver is None else solver
    solver = fitted(solver, mass, sparsity)
    started: dict[str, Any] = {}
    if mass is not None:
        system = prepare_system(dfx.ODETerm(f), start, y0, args, sparsity=sparsity, mass=mass)
        y0, started = initial_values(system, start, y0, solver, rtol, atol, inconsistent)
        solver = _with_pivots(system, solver, times, y0)
        first = jnp.sign(end - start) * jnp.maximum(1e-5 * jnp.abs(end - start), least_step(start, end))
        times = (start, end, first) if dt0 is None else times
    wishes = {
        "solver": solver,
        "controller": _controller(solver, rtol, _positive(atol), norm, jump_ts),
        "saveat": saveat,
        "event": event,
        "adjoint": _adjoint(saveat, adjoint, throw, max_steps is None),
        "meter": dfx.NoProgressMeter() if progress_meter is None else progress_meter,
    }
    arrays, static = eqx.partition(wishes, eqx.is_array)
    prepared = prepare_call(f, times[0], y0, args, Setting(static, _most_steps(max_steps, saveat)))
    solution, finite = prepared.run(y0, times, arrays, prepared.data, prepared.captured)
    watch = watch_of(solution.controller_state)
    solution = _finished(solution, saveat, {**_stopped(watch, times), **started})
    if not throw:
        return solution
    okay = (solution.result == dfx.RESULTS.successful) | (solution.result == dfx.RESULTS.event_occurred)
    if isinstance(okay, Tracer):
        return raise_unless(okay, solution.result, solution)
    if not bool(okay):
        raise RuntimeError(failure_sentence(solution, watch, finite, structure, times))
    return solution


def _check_choices(f: Any, solver: Any, inconsistent: str) -> None:
    if not callable(f):
        raise TypeError(
            f"solve_ode got f of type {type(f).__name__}, which cannot be called; write solve_ode(f, t0, t1, y0, args) "
            "with a function f(t, y, args)."
        )
    if solver is not None and not isinstance(solver, dfx.AbstractAdaptiveSolver):
        raise TypeError(
            f"solve_ode got a solver of type {type(solver).__name__}; give one that estimates its error, such as "
            "Rodas5P() or BDF(), or None."
        )
    if inconsistent not in MODES:
        raise ValueError(f"solve_ode got inconsistent={inconsistent!r}; write 'correct', 'refuse' or 'keep'.")


def _is_concrete(tree: Any) -> bool:
    return not any(isinstance(leaf, Tracer) for leaf in jtu.tree_leaves(tree))


def _most_steps(max_steps: int | None, saveat: dfx.SaveAt) -> int:
    if max_steps is not None:
        if max_steps < 1:
            raise ValueError(f"solve_ode got max_steps={max_steps}; at least one step is needed.")
        return int(max_steps)
    subs = jtu.tree_leaves(saveat.subs, is_leaf=lambda s: isinstance(s, dfx.SubSaveAt))
    saves_all = saveat.dense or any(isinstance(s, dfx.SubSaveAt) and s.steps for s in subs)
    return MAX_SAVED_STEPS if saves_all else MAX_STEPS


def _controller(solver: Any, rtol: Any, atol: Any, norm: Any, jump_ts: Any) -> Any:
    rtol, atol = (jtu.tree_map(lambda leaf: jnp.asarray(leaf, float), tol) for tol in (rtol, atol))
    rtol, atol = local_tolerances(solver, rtol, atol)
    # Proportional and integral (Gustafsson): fewer rejections where errors grow from step to step.
    if isinstance(solver, BDF):  # it chooses step and order together
        inner, weighted = StiffController(rtol, atol, norm), False
        return _clipped(WatchedController(inner, rtol, atol, norm, weighted), jump_ts)
    p, i = (0.2, 0.6) if isinstance(solver, AbstractRosenbrock | AbstractEsdirk) else (0.0, 1.0)
    inner = dfx.PIDController(rtol=0.0, atol=1.0, norm=norm, pcoeff=p, icoeff=i)
    return _clipped(WatchedController(inner, rtol, atol, norm), jump_ts)


def _positive(atol: Any) -> Any:
    """The absolute tolerance, and where it is zero the least number by which errors (of zero) can be divided."""
    info = jnp.finfo(jnp.result_type(float))
    return jtu.tree_map(lambda leaf: jnp.maximum(jnp.asarray(leaf, float), info.tiny / info.eps), atol)


def _clipped(controller: WatchedController, jump_ts: Any) -> Any:
    if jump_ts is None or np.size(jump_ts) == 0:
        return controller
    return dfx.ClipStepSizeController(controller, jump_ts=jnp.sort(jnp.ravel(jnp.asarray(jump_ts, float))))


def _with_pivots(system: StiffSystem, solver: Any, times: Any, y0: Any) -> dfx.AbstractAdaptiveSolver:
    """The solver with pivots matched to `M - h J` at the start, where that is known."""
    where = (lambda s: s.root_finder.linear_solver) if isinstance(solver, AbstractEsdirk) else _linear_solver
    linear = where(solver)
    if linear is not None and not (isinstance(linear, AutoSparse) and linear.plan is None):
        return solver
    if not _is_concrete((eqx.filter(system, eqx.is_array), times, y0)):
        return solver
    x = system.structure.ravel(y0)
    h = 1e-3 * jnp.abs(times[1] - times[0])
    data: Any = np.asarray(system.matrix(system.jacobian(times[0], x), 1.0, -h, times[0], x))
    if not np.isfinite(data).all():
        return solver
    pinned = (AutoSparse() if linear is None else linear).prepare(system.plan.pattern, data)
    return eqx.tree_at(where, solver, pinned, is_leaf=lambda leaf: leaf is None)


def _linear_solver(solver: Any) -> Any:
    return solver.linear_solver


def _adjoint(
    saveat: dfx.SaveAt, adjoint: dfx.AbstractAdjoint | None, throw: bool, boundless: bool
) -> dfx.AbstractAdjoint:
    chosen = DiscreteAdjoint() if adjoint is None else adjoint
    # Derivatives of states of solver and controller, where somebody wants to see them, are diffrax's business.
    if saveat.solver_state or saveat.controller_state or type(chosen) is not DiscreteAdjoint:
        return chosen
    return UnseenStates(chosen.records, chosen.otherwise, throw, boundless)


def _stopped(watch: WatchState, times: Any) -> dict[str, Any]:
    """Where the integration ended, for those who read no sentence: under `jit`, or with `throw=False`."""
    direction = jnp.where(times[1] >= times[0], 1.0, -1.0)
    return {
        "final_time": direction * watch.time,
        "final_step": direction * watch.step,
        "worst_component": watch.worst,
    }


def _finished(solution: dfx.Solution, saveat: dfx.SaveAt, started: dict[str, Any]) -> dfx.Solution:
    """The solution with all statistics, and without states that were not asked for."""
    watch, state = watch_of(solution.controller_state), solution.solver_state
    stats = {
        **solution.stats,
        "num_error_rejections": watch.num_error_rejections,
        "num_newton_rejections": watch.num_newton_rejections,
        **getattr(state, "counts", {}),
        **started,
    }
    return dataclasses.replace(
        solution,
        stats=stats,
        solver_state=state if saveat.solver_state else None,
        controller_state=solution.controller_state if saveat.controller_state else None,
    )
