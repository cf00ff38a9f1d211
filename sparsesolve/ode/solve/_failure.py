"""What `solve_ode` says when it did not reach the end: where, which component, and what to try."""

from __future__ import annotations

from typing import Any

import diffrax as dfx
import numpy as np

from sparsesolve._tree import Structure
from sparsesolve.ode.solve._watched import WatchState
from sparsesolve.ode.system._real import RealStructure


def failure_sentence(
    solution: dfx.Solution, watch: WatchState, finite: Any, structure: Structure, times: tuple[Any, ...]
) -> str:
    """One paragraph for people.

    Args:
        solution: with its result.
        watch: state of the controller at the end.
        finite: which leaves of the first slope were finite.
        structure: of the state.
        times: start, end and first step.
    """
    bad = [name or " itself" for name, good in zip(structure.names, np.asarray(finite), strict=True) if not good]
    if bad:
        return (
            f"solve_ode found NaN or infinite values in f at t0={float(times[0]):g}: in the leaves "
            f"{', '.join('f' + name for name in bad)}. Evaluate f(t0, y0, args) and start where it is finite."
        )
    stats = solution.stats
    direction = 1.0 if float(times[1]) >= float(times[0]) else -1.0
    t, h = direction * float(watch.time), direction * float(watch.step)
    steps, errors, failures = (
        int(stats[name]) for name in ("num_steps", "num_error_rejections", "num_newton_rejections")
    )
    where = f"at t={t:.9g} (the last step tried was h={h:.3g})"
    worst = int(watch.worst)
    if worst >= 0:
        where += f"; y{_named(structure, worst)} changed most"
    counts = f"{steps} steps, {errors} rejected by their error and {failures} because their equations were not solved"
    if bool(solution.result == dfx.RESULTS.max_steps_reached):
        return (
            f"solve_ode took the most steps allowed ({int(stats['max_steps'])}) and stopped {where}; {counts}. Write a "
            "larger max_steps or rtol, or jump_ts where f jumps."
        )
    if bool(solution.result == dfx.RESULTS.dt_min_reached):
        return (
            f"solve_ode stopped {where}: steps have become too small to move time; {counts}. Likely causes: (a) the "
            "solution goes to infinity there; (b) f is not smooth or not finite there (a jump belongs into jump_ts); "
            "(c) tolerances are below the rounding errors of f, or zero where a component is zero."
        )
    return f"solve_ode stopped {where}: {dfx.RESULTS[solution.result]} {counts}."


def _named(structure: Structure, worst: int) -> str:
    return RealStructure(structure).locate(worst)
