"""`least_squares`: from a plain residual function to fitted parameters with statistics and derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, PyTree

from sparsesolve._tree import Structure
from sparsesolve.least_squares.iteration._checks import checked_bounds
from sparsesolve.least_squares.iteration._engine import AbstractLeastSquaresSolver
from sparsesolve.least_squares.iteration._implicit import Hessian
from sparsesolve.least_squares.iteration._problem import LeastSquaresProblem, Request, find_problem
from sparsesolve.least_squares.iteration._results import RESULTS
from sparsesolve.least_squares.objective._equality import checked_equality, constrain
from sparsesolve.least_squares.objective._linear_constraints import LinearConstraints
from sparsesolve.least_squares.objective._losses import as_loss
from sparsesolve.least_squares.solvers._levenberg_marquardt import LevenbergMarquardt
from sparsesolve.least_squares.statistics._fit import Fit
from sparsesolve.least_squares.statistics._report import FitSolution
from sparsesolve.linear._raising import raise_unless
from sparsesolve.linear._resolution import resolved_rtol
from sparsesolve.linear._unknowns import checked_unknowns


def least_squares(
    fn: Callable[[Any, Any], Any],
    solver: AbstractLeastSquaresSolver | None,
    y0: PyTree[Array],
    args: Any = None,
    *,
    bounds: Any = None,
    loss: Any = None,
    sigma: Any = None,
    retract: Any = None,
    equality: Any = None,
    sparsity: Any = None,
    hessian: Hessian = "full",
    max_steps: int = 256,
    throw: bool = True,
    verbose: bool = False,
    history: bool = False,
) -> FitSolution:
    """Minimises half the sum of squares of `fn(y, args)` over `y`, with a sparse Jacobian found by itself.

    Called as it is, the iteration is compiled, and a second call with the same function and shapes reuses plan and
    code. Called inside `jit`, `vmap`, `grad` and so on, it takes part in them. The minimiser is differentiable with
    respect to `args`, `sigma`, bounds, parameters of the loss, and anything `fn` closes over, in any mode and order, by
    the implicit function theorem; it does not depend on `y0`.

    Args:
        fn: residuals `fn(y, args)`, a pytree of floating arrays of any shapes. Plain JAX.
        solver: `LevenbergMarquardt()` (what `None` means), `GaussNewton()`, `Dogleg()`.
        y0: initial guess, a pytree of floating arrays or scalars.
        args: anything. Arrays and floats are data, other leaves are configuration: a new value means a new plan. So
            are concrete arrays of signed integers (which camera sees which point), on which the pattern may depend.
        bounds: `(lower, upper)`, each a number, `None`, or a pytree in the form of `y0`.
        loss: a `Loss`, the name of one, or any scalar JAX function `loss(s)` in place of the squared residual `s`
            (divided by `loss.scale**2` if there is such an attribute; `loss.block` consecutive residuals share one
            `s`). Or a pytree of those and `None` in the form of the residual.
        sigma: standard deviations of the residuals (a scalar, a flat vector or the form of the residual), their dense
            covariance `(m, m)`, or a sparse factor `L` with covariance `L L^T`.
        retract: for parameters on manifolds, `retract(y, d)`: the point reached from `y` by the tangent vector `d`,
            with `retract(y, 0) = y`. `d` has the form of `retract.tangent(y)`, or of `y` where there is no such method.
        equality: linear constraints `(A, b)`, `A y = b` for the flattened `y`: `A` a dense or sparse matrix with a
            column for each parameter, concrete, `b` a vector. Eliminated by a basis of the null space that is as sparse
            as the constraints are local; with bounds, steps solve saddle-point systems (`LevenbergMarquardt` alone). A
            start that does not fulfil them is projected. Covariances are those of the parameters `y`.
        sparsity: entries of the Jacobian that can be nonzero (a `SparsityPattern`, a SciPy or BCOO matrix,
            or a `SparseJacobian`); detected when `None`.
        hessian: of derivatives: `"full"` with the curvature of the residuals, or `"gauss_newton"`.
        max_steps: most trial steps.
        throw: raise when no minimiser was found; otherwise `sol.result` says why.
        verbose: print a line for each trial.
        history: return the costs of all steps in `sol.stats["costs"]`.

    Returns:
        An `optimistix.Solution` with a method `report()`: `value`, `result` (a member of `RESULTS`), `state` (a `Fit`),
        and `stats` with `cost` (half the sum of squares, or of losses), `num_steps`, `num_residuals`, `num_jacobians`,
        `num_factorizations`, `num_linear_iterations`, `num_colors`, `nnz`, `nnz_factor`, `max_steps`.

    Raises:
        TypeError: for parameters or residuals that are not real floating-point numbers, or a loss that is none.
        ValueError: for bounds that exclude the start, or shapes of `sigma`, `bounds`, `loss` that do not fit.
        RuntimeError: if no minimiser was found and `throw` is true.

    Reference:
        J. Nocedal, S. J. Wright, Numerical Optimization, 2006, chapter 10, doi:10.1007/978-0-387-40065-5.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsesolve.least_squares import least_squares
        >>> x = jnp.linspace(0.0, 4.0, 30)
        >>> def residual(y, data):
        ...     return y["a"] * jnp.exp(-y["k"] * x) - data
        >>> sol = least_squares(residual, None, {"a": 1.0, "k": 0.1}, 3.0 * jnp.exp(-1.5 * x))
        >>> round(float(sol.value["a"]), 6), round(float(sol.value["k"]), 6)
        (3.0, 1.5)
    """
    solver = LevenbergMarquardt() if solver is None else solver
    _check_call(fn, solver, max_steps, hessian)
    _check_combination(solver, bounds, retract, equality)
    y0 = checked_unknowns(
        "least_squares", y0, why_inexact="but steps change parameters by small real amounts", real=True
    )
    structure = Structure.of(y0)
    resolved_rtol(solver.rtol, structure)
    limits = checked_bounds(bounds, y0, structure)
    options = {"max_steps": int(max_steps), "verbose": bool(verbose), "history": bool(history), "hessian": hessian}
    loss = jtu.tree_map(as_loss, loss, is_leaf=callable)
    shift = constraints = b = None
    if equality is not None and limits is not None:
        matrix, b = checked_equality(equality, structure)
        constraints = LinearConstraints(matrix)
        b = constraints.scaled(b, structure.dtype)
    elif equality is not None:
        fn, y0, args, retract, shift = constrain(fn, y0, args, equality)
    request = Request(fn, solver, args, sigma, loss, retract, constraints, sparsity, options)
    problem, operands = find_problem(request, y0, limits, b)
    value, info = problem.solve(y0, operands)
    if verbose:
        jax.effects_barrier()
    if shift is not None:
        value = jtu.tree_map(jnp.add, value, shift)
    fit = Fit(value, operands, problem)
    solution = FitSolution(value, info["result"], None, _stats(problem, info, max_steps), fit)
    return _raised(solution, info, problem) if throw else solution


def _check_call(fn: Any, solver: Any, max_steps: Any, hessian: Any) -> None:
    if not callable(fn):
        raise TypeError(
            f"least_squares got fn of type {type(fn).__name__}, which cannot be called; write least_squares(fn, "
            "solver, y0, args) with a function fn(y, args)."
        )
    if not isinstance(solver, AbstractLeastSquaresSolver):
        raise TypeError(
            f"least_squares got a solver of type {type(solver).__name__}; give LevenbergMarquardt(), GaussNewton(), "
            "Dogleg() or None as the second argument (y0 is the third). Solvers of optimistix run under "
            "optimistix.least_squares."
        )
    if max_steps < 1:
        raise ValueError(f"least_squares got max_steps={max_steps}; at least one step is needed.")
    if hessian not in ("full", "gauss_newton"):
        raise ValueError(f"least_squares got hessian={hessian!r}; write 'full' or 'gauss_newton'.")


def _check_combination(solver: AbstractLeastSquaresSolver, bounds: Any, retract: Any, equality: Any) -> None:
    if equality is not None and retract is not None:
        raise ValueError(
            "least_squares got both equality and retract; steps that keep A y = b cannot keep to the manifold. "
            "Eliminate the constraints in fn, by fewer parameters."
        )
    if equality is not None and bounds is not None and not isinstance(solver, LevenbergMarquardt):
        raise ValueError(
            f"least_squares got equality and bounds with {type(solver).__name__}, which keeps one of them at a time; "
            "write LevenbergMarquardt()."
        )
    if bounds is not None and retract is not None:
        raise ValueError(
            "least_squares got both bounds and retract; bounds of coordinates mean nothing on a manifold. Parametrise "
            "the bounded part, e.g. by an exponential."
        )


def _is_concrete(tree: Any) -> bool:
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def _stats(problem: LeastSquaresProblem, info: dict[str, Any], max_steps: int) -> dict[str, Any]:
    stats = {
        **info["counts"],
        "num_colors": problem.objective.num_colors,
        "nnz": problem.objective.nnz,
        "nnz_factor": problem.linear.nnz_factor,
        "cost": info["cost"],
        "max_steps": max_steps,
    }
    if info["history"] is not None:
        steps = info["counts"]["num_steps"]
        last = int(steps) if _is_concrete(steps) else max_steps
        stats["costs"] = info["history"].costs[: last + 1]
    return stats


def _raised(solution: FitSolution, info: dict[str, Any], problem: LeastSquaresProblem) -> FitSolution:
    """The solution, or an error: at once where values are known, while running where they are traced."""
    good = info["good"]
    if isinstance(good, Tracer):
        return raise_unless(good, solution.result, solution)
    if not np.asarray(good):
        raise RuntimeError(_sentence(solution, info, problem))
    return solution


def _sentence(solution: FitSolution, info: dict[str, Any], problem: LeastSquaresProblem) -> str:
    message = RESULTS[solution.result]
    steps = int(solution.stats["num_steps"])
    bad = int(info["first_bad"])
    if bool(solution.result == RESULTS.nonfinite_start) and bad >= 0:
        where = problem.objective.residuals.locate(bad)
        return f"{message} The first one is residual{where if where != 'the scalar' else ''}."
    if bool(solution.result == RESULTS.nonfinite_start):
        return (
            "The residual is finite at the initial guess y0, but the sum of its squares overflows. Divide the "
            "residuals by a typical size (sigma=), or start from a point where they are smaller."
        )
    cost = float(np.asarray(solution.stats["cost"]))
    if bool(solution.result == RESULTS.nonlinear_max_steps_reached):  # pyright: ignore
        return (
            f"least_squares took the most steps allowed (max_steps={steps}) and had not converged; the cost is "
            f"{cost:.6e}. Write a larger max_steps, or start nearer. If verbose=True shows a cost that hardly falls "
            "any more, the data do not determine all parameters, or the residual is not smooth."
        )
    return f"{message} (After {steps} step{'s' * (steps != 1)}, cost {cost:.6e}.)"
