"""`root_find`: from a plain residual function to a root with statistics and derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optimistix as optx
from jax.core import Tracer
from jaxtyping import Array, PyTree

from sparsesolve._tree import Structure
from sparsesolve.linear._raising import raise_unless
from sparsesolve.linear._resolution import resolved_rtol
from sparsesolve.linear._unknowns import checked_unknowns
from sparsesolve.nonlinear._newton import Newton
from sparsesolve.nonlinear._problem import NonlinearProblem, find_problem
from sparsesolve.nonlinear._results import RESULTS
from sparsesolve.pattern import as_pattern


def root_find(
    fn: Callable[[Any, Any], Any],
    solver: optx.AbstractRootFinder | None,
    y0: PyTree[Array],
    args: Any = None,
    *,
    sparsity: Any = None,
    max_steps: int = 256,
    throw: bool = True,
    verbose: bool = False,
    history: bool = False,
) -> optx.Solution:
    """Solves `fn(y, args) = 0` for `y`, with a sparse Jacobian found by itself.

    Called as it is, the iteration is compiled, and a second call with the same function and shapes reuses plan and
    code. Called inside `jit`, `vmap`, `grad` and so on, it takes part in them. The root is differentiable with
    respect to `args` and to anything `fn` closes over, in any mode and order, by the implicit function theorem; it
    does not depend on `y0`.

    Args:
        fn: residual `fn(y, args)`, a pytree of the same structure and shapes as `y`. Plain JAX.
        solver: a root finder of this package; `None` means `Newton()`.
        y0: initial guess, a pytree of floating (or complex, for holomorphic `fn`) arrays or scalars.
        args: anything. Arrays and floats are data, other leaves are configuration: a new value means a new plan. So
            are concrete arrays of signed integers (a mesh's connectivity), on which the pattern may depend.
        sparsity: entries of the Jacobian that can be nonzero (a `SparsityPattern`, a SciPy or BCOO matrix,
            or a `SparseJacobian`); detected when `None`. One that misses an entry is refused.
        max_steps: most iterations.
        throw: raise when no root was found; otherwise `sol.result` says why.
        verbose: print a line for each iteration.
        history: return residual norms and step lengths of all iterations in `sol.stats`.

    Returns:
        An `optimistix.Solution`: `value`, `result` (a member of `RESULTS`) and `stats` with `num_steps`,
        `num_residuals`, `num_jacobians`, `num_factorizations`, `num_linear_iterations`, `num_colors`, `nnz`,
        `nnz_factor`, `residual_norm`, `max_steps`, and with `history` also `residual_norms` (shape
        `(num_steps + 1,)`) and `step_lengths` (shape `(num_steps,)`); inside transformations, where the number of
        steps is not known, both have room for `max_steps` and are NaN after the last step.

    Raises:
        TypeError: for unknowns that are not floating-point numbers.
        ValueError: for a system that is not square, a tolerance below the dtype's resolution, or equations that
            leave unknowns undetermined whatever the values.
        RuntimeError: if no root was found and `throw` is true.

    Reference:
        C. T. Kelley, Solving Nonlinear Equations with Newton's Method, SIAM 2003, doi:10.1137/1.9780898718898.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsesolve.nonlinear import root_find
        >>> def bratu(u, lam):  # -u'' = lam exp(u), u(0) = u(1) = 0
        ...     padded = jnp.pad(u, 1)
        ...     return (2 * u - padded[:-2] - padded[2:]) * 10**2 - lam * jnp.exp(u)
        >>> sol = root_find(bratu, None, jnp.zeros(9), 1.0)
        >>> round(float(sol.value.max()), 3), int(sol.stats["num_colors"])
        (0.141, 1)
    """
    _check_call(fn, solver, max_steps)
    solver = Newton() if solver is None else solver
    y0 = checked_unknowns("root_find", y0, why_inexact="but Newton's method changes unknowns by small amounts")
    structure = Structure.of(y0)
    resolved_rtol(solver.rtol, structure)
    options = {"max_steps": int(max_steps), "verbose": bool(verbose), "history": bool(history)}
    if sparsity is not None:
        sparsity = as_pattern(sparsity, (structure.size, structure.size))
    prepared = find_problem(fn, solver, y0, args, sparsity, options)
    value, info = prepared.problem.solve(y0, prepared.operands)
    if _is_concrete((value, info, prepared.operands)) and bool(info["result"] == RESULTS.singular_jacobian):
        better = prepared.improved(value)
        if better is not None:
            prepared = better
            value, info = prepared.problem.solve(y0, prepared.operands)
    if verbose:
        jax.effects_barrier()
    solution = optx.Solution(value, info["result"], None, _stats(prepared.problem, info, max_steps), None)
    return _raised(solution, info, structure) if throw else solution


def _check_call(fn: Any, solver: Any, max_steps: Any) -> None:
    if not callable(fn):
        raise TypeError(
            f"root_find got fn of type {type(fn).__name__}, which cannot be called; write root_find(fn, solver, y0, "
            "args) with a function fn(y, args)."
        )
    if solver is not None and not isinstance(solver, Newton):
        raise TypeError(
            f"root_find got a solver of type {type(solver).__name__}; give Newton() or None as the second argument "
            "(y0 is the third). Solvers of optimistix run under optimistix.root_find, and become sparse with "
            "linear_solver=AutoSparse()."
        )
    if max_steps < 1:
        raise ValueError(f"root_find got max_steps={max_steps}; at least one step is needed.")


def _is_concrete(tree: Any) -> bool:
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def _stats(problem: NonlinearProblem, info: dict[str, Any], max_steps: int) -> dict[str, Any]:
    stats = {
        **info["counts"],
        "num_colors": problem.jacobian.num_colors,
        "nnz": problem.jacobian.pattern.nnz,
        "residual_norm": info["residual_norm"],
        "max_steps": max_steps,
    }
    if info["history"] is not None:
        steps = info["counts"]["num_steps"]
        last = int(steps) if _is_concrete(steps) else max_steps
        stats["residual_norms"] = info["history"].residual_norms[: last + 1]
        stats["step_lengths"] = info["history"].step_lengths[:last]
    return stats


def _raised(solution: optx.Solution, info: dict[str, Any], structure: Structure) -> optx.Solution:
    """The solution, or an error: at once where values are known, while running where they are traced."""
    result = solution.result
    if not _is_concrete(result):
        return raise_unless(result == RESULTS.successful, result, solution)
    if not bool(result == RESULTS.successful):
        raise RuntimeError(_sentence(solution, info, structure))
    return solution


def _sentence(solution: optx.Solution, info: dict[str, Any], structure: Structure) -> str:
    message = RESULTS[solution.result]
    stats = solution.stats
    steps = int(stats["num_steps"])
    if bool(solution.result == RESULTS.nonfinite_start):
        bad = [name for name, good in zip(structure.names, np.asarray(info["finite_leaves"]), strict=True) if not good]
        return f"{message} Not finite: {', '.join('residual' + name for name in bad)}."
    return f"{message} (After {steps} step{'s' * (steps != 1)}, residual norm {float(stats['residual_norm']):.3e}.)"
