"""A fit and its covariance as one compiled program, found again by the model: for calls with values, one after another.

What Python does for each of many separately compiled parts takes longer than a small fit. Only calls with floating
arrays and plain options go this way; one that fails says nothing here, and is repeated part by part for its sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.core import Tracer

from sparsesolve._cache import BoundedCache
from sparsesolve._tree import Structure
from sparsesolve.least_squares._least_squares import least_squares
from sparsesolve.least_squares.iteration._checks import checked_bounds
from sparsesolve.least_squares.iteration._engine import AbstractLeastSquaresSolver
from sparsesolve.least_squares.iteration._results import RESULTS
from sparsesolve.least_squares.statistics._covariance import covariance_or_infinite
from sparsesolve.linear._call_key import call_key, forget_with

_calls = BoundedCache("curve_fit calls", maxsize=64)
_PLAIN = {"hessian", "max_steps", "throw"}


def fitted_at_once(
    f: Callable[..., Any],
    residual: Callable[[Any, Any], Any],
    operands: tuple[Any, ...],
    solver: AbstractLeastSquaresSolver | None,
    absolute_sigma: bool,
    options: dict[str, Any],
) -> tuple[Any, Any] | None:
    """Parameters and covariance; `None` where the call is not of the simple kind, or has no good answer.

    Args:
        f: the model, by which a call is recognized.
        residual: of the model.
        operands: start, arguments, `sigma`, bounds, whose values are looked at.
        solver: of `least_squares`.
        absolute_sigma: as for `covariance`.
        options: of `least_squares`.
    """
    if not options.keys() <= _PLAIN or not all(_is_data(leaf) for leaf in jtu.tree_leaves(operands)):
        return None
    key = call_key(f, (residual, solver, absolute_sigma, tuple(sorted(options.items()))))
    if key is None:
        return None
    run = _calls.lookup(key)
    if run is None:
        run = _compiled(residual, solver, absolute_sigma, options)
        _calls.store(key, run)
        forget_with(f, _calls.discard, key)
    p0, _, _, bounds = operands
    checked_bounds(bounds, p0, Structure.of(p0))
    value, C, good = run(*operands)
    return (value, C) if np.asarray(good) else None


def _is_data(leaf: Any) -> bool:
    if isinstance(leaf, float):
        return True
    known = isinstance(leaf, jax.Array | np.ndarray) and not isinstance(leaf, Tracer)
    return known and leaf.dtype.kind == "f"


def _compiled(residual: Any, solver: Any, absolute_sigma: bool, options: dict[str, Any]) -> Callable[..., Any]:
    options = {**options, "throw": False}

    def run(p0: Any, args: Any, sigma: Any, bounds: Any) -> tuple[Any, Any, Any]:
        sol = least_squares(residual, solver, p0, args, sigma=sigma, bounds=bounds, **options)
        C, _ = covariance_or_infinite(sol, absolute_sigma)
        return sol.value, C, (sol.result == RESULTS.successful) & jnp.all(jnp.isfinite(C))

    return jax.jit(run)
