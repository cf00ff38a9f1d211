"""`curve_fit`: a model, data, and out come parameters and their covariance, with SciPy's signature and meaning."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from sparsesolve._cache import BoundedCache
from sparsesolve.least_squares._curve_fit_call import fitted_at_once
from sparsesolve.least_squares._least_squares import least_squares
from sparsesolve.least_squares.iteration._engine import AbstractLeastSquaresSolver
from sparsesolve.least_squares.iteration._results import RESULTS
from sparsesolve.least_squares.statistics._covariance import covariance_or_infinite, undetermined
from sparsesolve.linear._call_key import Same

_residuals = BoundedCache("curve_fit residuals", maxsize=64)
_OPTIONS = {"loss", "sparsity", "hessian", "max_steps", "throw", "verbose", "history"}
_SCIPY = {  # what stands here for SciPy's other arguments
    "method": "method= is not needed, one method serves with and without bounds; write solver= for another one",
    "jac": "jac= is not needed, derivatives come from JAX",
    "maxfev": "maxfev= counts evaluations; write max_steps= for the most steps",
    "max_nfev": "max_nfev= counts evaluations; write max_steps= for the most steps",
    "ftol": "write solver=LevenbergMarquardt(ftol=...); the default asks for all digits",
    "xtol": "write solver=LevenbergMarquardt(rtol=...); the default asks for all digits",
    "gtol": "gtol= is not needed; the default tolerances ask for all digits",
    "x_scale": "x_scale= is not needed, parameters are scaled by the columns of the Jacobian",
    "diag": "diag= is not needed, parameters are scaled by the columns of the Jacobian",
    "f_scale": "write loss=Loss(name, scale=...)",
    "epsfcn": "epsfcn= is not needed, nothing is differenced",
    "diff_step": "diff_step= is not needed, nothing is differenced",
}


def curve_fit(
    f: Callable[..., Any],
    xdata: PyTree[Any],
    ydata: Float[Array, " m"],
    p0: Any = None,
    sigma: Any = None,
    absolute_sigma: bool = False,
    check_finite: bool | None = None,
    bounds: Any = (-np.inf, np.inf),
    *,
    full_output: bool = False,
    nan_policy: Literal["raise", "omit"] | None = None,
    solver: AbstractLeastSquaresSolver | None = None,
    **options: Any,
) -> Any:
    """Fits `f(xdata, *parameters)` to `ydata` by least squares; as `scipy.optimize.curve_fit`, in plain JAX.

    Runs under `jit`, `vmap` and `grad` too: the fitted parameters and their covariance are differentiable with respect
    to the data, `sigma`, and what `f` closes over.

    Args:
        f: the model, `f(xdata, *p0)`; `f(xdata, p0)` for a `p0` that is neither a sequence nor a vector.
        xdata: anything that `f` takes: an array, or a pytree of arrays.
        ydata: data, of the shape that `f` returns.
        p0: initial guess: a vector or a sequence of numbers (or of arrays), or any other pytree of parameters, e.g. a
            dict. `None`: ones, as many as `f` has arguments, moved into the bounds.
        sigma: standard deviations of the data (a scalar or one each), or their covariance matrix `(m, m)`.
        absolute_sigma: `sigma` is in the units of the data; otherwise only ratios matter and the covariance is scaled
            so that the reduced chi^2 is one.
        check_finite: refuse data that are not finite; `None` means yes.
        bounds: `(lower, upper)`, each a number or in the form of `p0`; `None` or infinite where there is no bound.
        full_output: also return a dictionary with `nfev` (evaluations), `fvec` (weighted residuals) and `solution` (the
            solution of `least_squares`, with its `report()`), a message, and 1 for success (0 otherwise).
        nan_policy: `"omit"` leaves out data of which `ydata`, or `xdata` along its last axis, is NaN (their values must
            be known); `"raise"` refuses them, as does `None`.
        solver: of `least_squares`; `None` means `LevenbergMarquardt()`.
        **options: of `least_squares`: `loss`, `sparsity`, `hessian`, `max_steps`, `throw`, `verbose`, `history`.

    Returns:
        `(popt, pcov)`: parameters in the structure of `p0` (a vector for a sequence of numbers), and their covariance
        `(n, n)` in flattened order; with `full_output` three more. Where the covariance cannot be estimated it is
        infinite, with a warning.

    Raises:
        TypeError: for unknown options (for SciPy's other ones it says what to write instead), or a number of parameters
            that cannot be found out.
        ValueError: for data that are not finite, fewer data than parameters, or shapes that do not fit.
        RuntimeError: if the fit fails.

    References:
        K. W. Vugrin, L. P. Swiler, R. M. Roberts, N. J. Stucky-Mack, S. P. Sullivan, Confidence region estimation
        techniques for nonlinear regression in groundwater flow, Water Resour. Res. 43 (2007) W03423,
        doi:10.1029/2005WR004804.

    Example:
        >>> import jax.numpy as jnp
        >>> import sparsesolve as ss
        >>> x = jnp.array([0.0, 1.0, 2.0, 3.0, 4.0])
        >>> y = jnp.array([2.0, 1.3, 0.7, 0.5, 0.3])
        >>> popt, pcov = ss.curve_fit(lambda x, a, k: a * jnp.exp(-k * x), x, y)
        >>> [round(float(p), 2) for p in popt], [round(float(e), 2) for e in jnp.sqrt(jnp.diag(pcov))]
        ([2.01, 0.48], [0.05, 0.02])
    """
    _check_options(options, nan_policy)
    ydata = _as_floats(ydata)
    if nan_policy == "omit":
        xdata, ydata, sigma = _without_nan(xdata, ydata, sigma)
    p0, starred, vector = _start(f, p0, bounds)
    n = sum(np.size(leaf) for leaf in jtu.tree_leaves(p0))
    _check_data(xdata, ydata, n, check_finite is None or check_finite)
    sigma = _checked_sigma(sigma, ydata)
    args = {"x": xdata, "y": ydata}
    residual = _residual(f, starred)
    limits = None if _no_bounds(bounds) else tuple(_like(side, p0, vector) for side in bounds)
    if not full_output:
        found = fitted_at_once(f, residual, (p0, args, sigma, limits), solver, absolute_sigma, options)
        if found is not None:
            return found
    sol = least_squares(residual, solver, p0, args, sigma=sigma, bounds=limits, **options)
    C, lost = covariance_or_infinite(sol, absolute_sigma)
    if not isinstance(C, Tracer) and not np.isfinite(np.asarray(C)).all():
        what = undetermined(sol.state, lost) if bool(jnp.any(lost.which)) else "there are no more data than parameters"
        warnings.warn(f"curve_fit could not estimate the covariance of the parameters: {what}.", stacklevel=2)
    if not full_output:
        return sol.value, C
    good = sol.result == RESULTS.successful
    info = {"nfev": sol.stats["num_residuals"], "fvec": sol.state.residual(), "solution": sol}
    message = "traced" if isinstance(good, Tracer) else (RESULTS[sol.result] or "converged")
    return sol.value, C, info, message, jnp.asarray(good, int)


def _check_options(options: dict[str, Any], nan_policy: Any) -> None:
    for name in sorted(set(options) - _OPTIONS):
        hint = _SCIPY.get(name, f"beyond SciPy's arguments it takes {', '.join(sorted(_OPTIONS))} and solver")
        raise TypeError(f"curve_fit got {name}; {hint}.")
    if nan_policy not in (None, "raise", "omit"):
        raise ValueError(f"curve_fit got nan_policy={nan_policy!r}; write 'raise', 'omit' or None.")


def _as_floats(values: Any) -> Any:
    """An array of floats, of NumPy where there is none yet."""
    if not isinstance(values, jax.Array):
        values = np.asarray(values)
    return values if jnp.issubdtype(values.dtype, jnp.inexact) else values.astype(jnp.result_type(values, float))


def _without_nan(xdata: Any, ydata: Array, sigma: Any) -> tuple[Any, Array, Any]:
    """Data without those that are NaN, and their standard deviations or covariance.

    Raises:
        TypeError: values are traced, so that it is not known how many are left.
        ValueError: the data are no vector.
    """
    if any(isinstance(leaf, Tracer) for leaf in jtu.tree_leaves((xdata, ydata, sigma))):
        raise TypeError(
            "curve_fit got nan_policy='omit' with traced data, of which the number to be left is not known; give data "
            "to be left out a large sigma and a finite value."
        )
    if ydata.ndim != 1:
        raise ValueError(f"curve_fit got nan_policy='omit' for ydata of shape {ydata.shape}; it works on vectors.")
    m = ydata.size
    bad = np.isnan(np.asarray(ydata))
    along = [leaf for leaf in jtu.tree_leaves(xdata) if jnp.ndim(leaf) and jnp.shape(leaf)[-1] == m]
    for leaf in along:
        if np.issubdtype(np.asarray(leaf).dtype, np.inexact):
            bad |= np.isnan(np.asarray(leaf)).reshape(-1, m).any(0)
    keep = np.flatnonzero(~bad)
    kept = jtu.tree_map(lambda x: x[..., keep] if any(x is leaf for leaf in along) else x, xdata)
    if sigma is not None and jnp.ndim(sigma):
        sigma = jnp.asarray(sigma)
        sigma = sigma[np.ix_(keep, keep)] if sigma.ndim == 2 else sigma[keep]
    return kept, ydata[keep], sigma


def _residual(f: Callable[..., Any], starred: bool) -> Callable[[Any, Any], Any]:
    """The residual of a model; the same object for the same model, so that a second fit is recognized."""

    def build() -> Callable[[Any, Any], Any]:
        if starred:
            return lambda p, args: _difference(f(args["x"], *p), args["y"])
        return lambda p, args: _difference(f(args["x"], p), args["y"])

    return _residuals.get((Same(f), starred), build)


def _difference(model: Any, ydata: Array) -> Array:
    if jnp.shape(model) != ydata.shape and np.prod(jnp.shape(model)) != 1:
        raise ValueError(
            f"curve_fit got a model of shape {jnp.shape(model)} for ydata of shape {ydata.shape}; they must be equal."
        )
    return model - ydata


def _start(f: Callable[..., Any], p0: Any, bounds: Any) -> tuple[Any, bool, bool]:
    """The start, whether `f` takes its parts one by one, and whether they are given back as a vector."""
    if p0 is None:
        return _default_start(_num_parameters(f), bounds), True, True
    if isinstance(p0, list | tuple):
        if all(jnp.ndim(leaf) == 0 and jtu.all_leaves([leaf]) for leaf in p0):
            if all(isinstance(leaf, int | float | np.generic) for leaf in p0):
                plain = not any(isinstance(leaf, np.generic) for leaf in p0)
                return np.array(p0, float if plain else jnp.result_type(float, *p0)), True, True
            return jnp.stack([jnp.asarray(leaf, jnp.result_type(leaf, float)) for leaf in p0]), True, True
        return tuple(p0), True, False
    if isinstance(p0, np.ndarray | jax.Array):
        return jnp.atleast_1d(jnp.asarray(p0, jnp.result_type(p0, float))), True, True
    if jtu.all_leaves([p0]):
        return jnp.asarray(p0, jnp.result_type(p0, float))[None], True, True
    return p0, False, False


def _default_start(count: int, bounds: Any) -> Array:
    """SciPy's: ones; the middle of two bounds, one away from a single bound."""
    if _no_bounds(bounds):
        return jnp.ones((count,), float)
    sides = (default if side is None else side for side, default in zip(bounds, (-np.inf, np.inf), strict=True))
    low, high = (jnp.broadcast_to(jnp.asarray(side, float), (count,)) for side in sides)
    below, above = jnp.isfinite(low), jnp.isfinite(high)
    inside = jnp.where(below & above, 0.5 * (low + high), jnp.where(below, low + 1.0, high - 1.0))
    return jnp.where(below | above, inside, 1.0)


def _num_parameters(f: Callable[..., Any]) -> int:
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except ValueError:
        parameters = []
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(parameters) < 2 or any(p.kind not in plain for p in parameters):
        raise TypeError(
            "curve_fit cannot tell how many parameters the model has from its signature; give an initial guess p0."
        )
    return len(parameters) - 1


def _check_data(xdata: Any, ydata: Array, n: int, check_finite: bool) -> None:
    if ydata.size < n:
        raise ValueError(
            f"curve_fit got {ydata.size} data for {n} parameters, which they cannot determine; fit fewer parameters, "
            "or use least_squares with residuals that prefer values (a prior)."
        )
    for name, tree in (("xdata", xdata), ("ydata", ydata)) if check_finite else ():
        for path, leaf in jtu.tree_leaves_with_path(tree):
            known = isinstance(leaf, float | np.ndarray | np.generic | jax.Array) and not isinstance(leaf, Tracer)
            if known and jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) and not np.all(bad := np.isfinite(leaf)):
                where = [int(i) for i in np.argwhere(~np.atleast_1d(bad))[0]]
                raise ValueError(
                    f"curve_fit got {name}{jtu.keystr(path)} with a NaN or infinite entry at {where}; leave such data "
                    "out, or give them a large sigma and a finite value."
                )


def _checked_sigma(sigma: Any, ydata: Array) -> Any:
    """Standard deviations in the shape of the data, or a covariance matrix.

    Raises:
        ValueError: wrong shape, or not positive (definite).
    """
    if sigma is None:
        return None
    sigma, m = sigma if isinstance(sigma, Tracer) else np.asarray(sigma), ydata.size
    sigma = sigma.astype(ydata.dtype)
    if sigma.shape not in ((), ydata.shape, (m,), (m, m)):
        raise ValueError(
            f"curve_fit got sigma of shape {sigma.shape} for {m} data of shape {ydata.shape}; give one standard "
            f"deviation, one for each datum, or a covariance matrix of shape ({m}, {m})."
        )
    if isinstance(sigma, Tracer):
        return sigma
    if sigma.shape == (m, m) and ydata.shape != (m, m):
        if not bool(jnp.all(jnp.isfinite(jnp.linalg.cholesky(jnp.asarray(sigma))))):
            raise ValueError("curve_fit got a covariance matrix sigma that is not positive definite.")
    elif not np.all(sigma > 0):
        raise ValueError("curve_fit got standard deviations sigma that are not all positive.")
    return sigma


def _no_bounds(bounds: Any) -> bool:
    if bounds is None:
        return True
    leaves = jtu.tree_leaves(bounds)
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        return False
    return bool(all(np.all(np.isinf(leaf)) for leaf in leaves)) and len(bounds) == 2


def _like(side: Any, p0: Any, vector: bool) -> Any:
    """One side of the bounds in the form of the start."""
    return jnp.asarray(side, p0.dtype) if vector and isinstance(side, list | tuple) else side
