"""What a fit says of itself: estimates, standard errors, correlations, chi^2. Host-side text."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optimistix as optx
from jax.core import Tracer

from sparsesolve.least_squares.iteration._results import RESULTS
from sparsesolve.least_squares.statistics._covariance import covariance
from sparsesolve.least_squares.statistics._fit import fit_of

_SHOWN = 24  # parameters
_CORRELATIONS = 10


class FitSolution(optx.Solution):
    """What `least_squares` returns: an `optimistix.Solution` that can report on itself.

    Attributes:
        value: the fitted parameters.
        result: a member of `RESULTS`.
        aux: `None`.
        stats: counts and the cost.
        state: the problem, for `covariance`.
    """

    def report(self, *, absolute_sigma: bool = False) -> str:
        """Estimates with standard errors, correlations, chi^2 and degrees of freedom, as text.

        Args:
            absolute_sigma: as for `covariance`.

        Raises:
            TypeError: values are traced.
        """
        return fit_report(self, absolute_sigma)


def fit_report(sol: optx.Solution, absolute_sigma: bool) -> str:
    """The text of `FitSolution.report`.

    Raises:
        TypeError: values are traced.
    """
    fit = fit_of(sol, "report").reduced()
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((sol.value, sol.stats))):
        raise TypeError(
            "report needs values, but got tracers; return the solution from the jitted function and report there."
        )
    n, m = fit.parameters.size, fit.num_residuals
    shown = min(n, _SHOWN)
    errors, correlations, trouble = _uncertainties(sol, shown, absolute_sigma)
    lines = [_headline(sol, m, n), *_chi_squared(sol, m, fit.num_coordinates), *_table(sol, shown, errors)]
    if n > shown:
        lines.append(f"  and {n - shown} more parameters: covariance(sol, of=lambda y: ...) has theirs")
    return "\n".join([*lines, *(_correlated(fit, correlations) if not trouble else [f"  {trouble}"])])


def _uncertainties(sol: optx.Solution, shown: int, absolute: bool) -> tuple[Any, Any, str]:
    """Standard errors and correlations of the first parameters, or why there are none."""
    try:
        C = np.asarray(covariance(sol, lambda y: _first(y, shown), absolute_sigma=absolute))
    except ValueError as error:
        return np.full(shown, np.nan), None, str(error)
    errors = np.sqrt(np.diag(C))
    safe = np.where(errors > 0, errors, 1.0)
    return errors, C / safe[:, None] / safe, ""


def _first(tree: Any, count: int) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])[:count]


def _headline(sol: optx.Solution, m: int, n: int) -> str:
    steps = int(sol.stats["num_steps"])
    good = bool(sol.result == RESULTS.successful)
    ending = f"converged in {steps} step{'s' * (steps != 1)}" if good else f"NOT converged after {steps} steps"
    return f"Fit of {n} parameter{'s' * (n != 1)} to {m} residuals, {ending}"


def _chi_squared(sol: optx.Solution, m: int, n: int) -> list[str]:
    chi = 2 * float(sol.stats["cost"])
    lines = [f"  chi^2 {chi:.10g}, {m - n} degrees of freedom"]
    if m > n:
        lines.append(f"  reduced chi^2 {chi / (m - n):.6g}, residual standard deviation {np.sqrt(chi / (m - n)):.6g}")
    return lines


def _table(sol: optx.Solution, shown: int, errors: np.ndarray) -> list[str]:
    fit = fit_of(sol, "report")
    on_manifold = fit.problem.objective.retract is not None and fit.basis is None
    names = [_label(fit, i) for i in range(shown)]
    width = max(9, *map(len, names)) if names else 9
    if on_manifold:
        head = f"  {'tangent':<{width}}  standard error"
        return [head, *(f"  {name:<{width}}  {e:.6g}" for name, e in zip(names, errors, strict=True))]
    values = np.asarray(fit.parameters.ravel(sol.value))[:shown]
    held = _at_bounds(fit)
    rows = [f"  {'parameter':<{width}}  {'estimate':>16}  {'standard error':>14}  relative"]
    for i, (name, value, error) in enumerate(zip(names, values, errors, strict=True)):
        relative = f"{100 * error / abs(value):.2g} %" if value != 0 and np.isfinite(error) else "-"
        rows.append(
            f"  {name:<{width}}  {value:>16.10g}  {error:>14.6g}  {relative}{'  at its bound' if held[i] else ''}"
        )
    return rows


def _at_bounds(fit: Any) -> np.ndarray:
    bounds = fit.operands.bounds
    if bounds is None:
        return np.zeros(fit.parameters.size, bool)
    at = np.asarray(fit.parameters.ravel(fit.value))
    return (at <= np.asarray(bounds[0])) | (at >= np.asarray(bounds[1]))


def _correlated(fit: Any, correlations: np.ndarray) -> list[str]:
    """The largest correlations, strongest first."""
    i, j = np.triu_indices(len(correlations), 1)
    size = np.abs(correlations[i, j])
    order = [k for k in np.argsort(-size, kind="stable")[:_CORRELATIONS] if size[k] >= 0.1]
    if not order:
        return []
    rows = [
        f"    {_label(fit, int(i[k]))} and {_label(fit, int(j[k]))}: {correlations[i[k], j[k]]:+.4f}" for k in order
    ]
    return ["  correlations of at least 0.1:", *rows]


def _label(fit: Any, position: int) -> str:
    where = fit.parameters.locate(position)
    return "y" if where == "the scalar" else f"y{where}"
