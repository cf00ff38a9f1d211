"""`covariance` and `standard_errors` of fitted parameters, by linearisation at the solution.

    C = s^2 (J^T J)^-1,     s^2 = chi^2 / (m - n),     chi^2 = 2 cost = |r|^2,

with `s^2 = 1` where `sigma` is believed as it is (`absolute_sigma`). On a manifold these are covariances of the tangent
vector at the solution. With a loss, `J` and the cost are the corrected ones.

Reference: G. A. F. Seber, C. J. Wild, Nonlinear Regression, Wiley 1989, section 2.1, doi:10.1002/0471725315.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import optimistix as optx
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from sparsesolve.least_squares.statistics._fit import Fit, fit_of
from sparsesolve.least_squares.statistics._inverse_gram import (
    Undetermined,
    dense_inverse,
    is_dense,
    sparse_blocks,
    sparse_columns,
)
from sparsesolve.matrix import SparseMatrix

_MANY = 4000  # parameters beyond which their whole covariance is not formed
_NAMED = 8


def covariance(
    sol: optx.Solution,
    of: Callable[[PyTree[np.ndarray]], Any] | None = None,
    *,
    blocks: bool = False,
    absolute_sigma: bool = False,
    pseudo_inverse: bool = False,
) -> Float[Array, "*batch k k"]:
    """The covariance of fitted parameters, all of them or chosen ones.

    Few parameters are treated by a dense factorization of the Jacobian. For many, chosen columns are solved for with a
    sparse one; the whole matrix is never formed.

    Args:
        sol: what `least_squares` returned.
        of: which parameters, as a function of a pytree of them, e.g. `lambda y: y["camera"][3]`; it is called with
            integers in their places. On a manifold it picks parts of the tangent vector.
        blocks: with `of` returning an array `(..., k)`, only the `(k, k)` block of each of its rows.
        absolute_sigma: `sigma` holds the true standard deviations of the residuals; otherwise only their ratios matter
            and the residuals themselves say how large they are.
        pseudo_inverse: where the residuals do not determine all parameters, variances orthogonal to what they leave
            open, as Ceres' null space option; up to 400 parameters.

    Returns:
        Shape `(k, k)` in the order of the flattened selection, `(n, n)` for all parameters; `(..., k, k)` of blocks.
        Traced values cannot be refused: where there is no covariance all of it is infinite.

    Raises:
        TypeError: `sol` is not a solution of `least_squares`.
        ValueError: the residuals do not determine the parameters (names them), there are not more residuals than
            parameters and no `absolute_sigma`, or the matrix would be too large.

    References:
        G. A. F. Seber, C. J. Wild, Nonlinear Regression, 1989, section 2.1, doi:10.1002/0471725315.

    Example:
        >>> import jax.numpy as jnp
        >>> import sparsesolve as ss
        >>> data = jnp.array([1.0, 3.0, 2.0, 4.0])
        >>> sol = ss.least_squares(lambda y, args: y - args, None, 0.0, data)
        >>> round(float(ss.covariance(sol)[0, 0]), 4)  # variance of the mean, 5/3 / 4
        0.4167
    """
    fit = fit_of(sol, "covariance")
    _check_freedom(fit, absolute_sigma)
    if pseudo_inverse and not is_dense(fit.problem.objective.pattern):
        raise ValueError(
            f"covariance got pseudo_inverse=True for {fit.tangents.size} parameters, which would need a dense "
            "factorization; add residuals that hold the free directions, e.g. of the first pose."
        )
    chosen, shape = _selection(fit, of, blocks)
    values, lost = _compute(fit, _Static(chosen), blocks, absolute_sigma, pseudo_inverse)
    if not pseudo_inverse:
        values = jnp.where(jnp.any(lost.which), jnp.inf, values)
        refuse_undetermined(fit, lost)
    return values.reshape(shape)


def standard_errors(sol: optx.Solution, *, absolute_sigma: bool = False) -> PyTree[Array]:
    """Standard errors of the fitted parameters: square roots of the diagonal of their covariance.

    For many parameters each costs a solve with the sparse factors.

    Args:
        sol: what `least_squares` returned.
        absolute_sigma: as for `covariance`.

    Returns:
        A pytree in the structure of the parameters (on a manifold, of the tangent vector).

    Raises:
        TypeError: `sol` is not a solution of `least_squares`.
        ValueError: as for `covariance`.

    References:
        G. A. F. Seber, C. J. Wild, Nonlinear Regression, 1989, section 2.1, doi:10.1002/0471725315.

    Example:
        >>> import jax.numpy as jnp
        >>> import sparsesolve as ss
        >>> data = jnp.array([1.0, 3.0, 2.0, 4.0])
        >>> sol = ss.least_squares(lambda y, args: y["mean"] - args, None, {"mean": 0.0}, data)
        >>> round(float(ss.standard_errors(sol)["mean"]), 4)
        0.6455
    """
    fit = fit_of(sol, "standard_errors")
    everything = jtu.tree_leaves(fit.positions())
    flat = np.concatenate([np.ravel(leaf) for leaf in everything])[:, None]
    variances = covariance(sol, lambda _: flat, blocks=True, absolute_sigma=absolute_sigma)
    return fit.tangents.unravel(jnp.sqrt(variances[:, 0, 0]))


def covariance_or_infinite(sol: optx.Solution, absolute_sigma: bool) -> tuple[Float[Array, "n n"], Undetermined]:
    """The covariance of all parameters, infinite where it cannot be estimated, and what is not determined."""
    fit = fit_of(sol, "covariance")
    chosen, shape = _selection(fit, None, False)
    values, lost = _compute(fit, _Static(chosen), False, absolute_sigma, False)
    good = ~jnp.any(lost.which) & jnp.all(jnp.isfinite(values))
    return jnp.where(good, values, jnp.inf).reshape(shape), lost


def refuse_undetermined(fit: Fit, lost: Undetermined) -> None:
    """Raises with the names of undetermined parameters, where values are known.

    Raises:
        ValueError: there are such parameters.
    """
    if isinstance(lost.singular, Tracer) or not bool(jnp.any(lost.which)):
        return
    dense = is_dense(fit.problem.objective.pattern)
    orthogonal = ", or write pseudo_inverse=True for the variances orthogonal to these directions" if dense else ""
    raise ValueError(
        "covariance found that the residuals do not determine all parameters at the solution: "
        f"{undetermined(fit, lost)}. Fix some of them, add a residual that prefers a value (a prior){orthogonal}."
    )


def undetermined(fit: Fit, lost: Undetermined) -> str:
    """What is not determined, in words."""
    directions = int(jnp.sum(lost.which))
    places = np.flatnonzero(np.asarray(lost.involved))
    names = ", ".join("y" + _name(fit, int(i)) for i in places[:_NAMED])
    more = f" and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
    count = f"{directions} direction{'s' * (directions != 1)}"
    least = "at least " if directions == lost.singular.shape[0] < fit.tangents.size else ""
    return f"the Jacobian vanishes along {least}{count}, in which {names}{more} take part"


def reduced_chi_squared(fit: Fit, cost: Any) -> Any:
    """`chi^2 / (m - n)`, infinite without degrees of freedom."""
    freedom = fit.num_residuals - fit.tangents.size
    return 2 * cost / freedom if freedom > 0 else jnp.full_like(cost, jnp.inf)


class _Static:
    """A host array as a static argument, compared by content."""

    def __init__(self, array: np.ndarray):
        self.array = np.ascontiguousarray(array)
        self._key = (self.array.shape, self.array.tobytes())

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self._key == other._key


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _compute(fit: Fit, chosen: _Static, blocks: bool, absolute: bool, pseudo: bool) -> tuple[Array, Undetermined]:
    lin = fit.linearise()
    matrix = SparseMatrix(lin.data, fit.problem.objective.pattern)
    columns = chosen.array
    if is_dense(matrix.pattern):
        whole, lost = dense_inverse(matrix, pseudo)
        rows = columns[:, :, None] if blocks else columns[:, None]
        values = whole[rows, columns[:, None, :] if blocks else columns[None, :]]
    elif blocks:
        values, lost = sparse_blocks(matrix, columns)
    else:
        values, lost = sparse_columns(matrix, columns)
        values = values[:, columns]
    return values if absolute else values * reduced_chi_squared(fit, lin.cost), lost


def _selection(fit: Fit, of: Any, blocks: bool) -> tuple[np.ndarray, tuple[int, ...]]:
    """Positions of the chosen parameters, `(k,)` or `(b, k)`, and the shape of the result."""
    picked = [np.asarray(leaf) for leaf in jtu.tree_leaves(fit.positions() if of is None else of(fit.positions()))]
    if not picked or not all(np.issubdtype(leaf.dtype, np.integer) for leaf in picked):
        raise TypeError(
            "covariance got an `of` that does not return parameters; write a function that indexes their pytree, e.g. "
            "of=lambda y: y['rate']."
        )
    if blocks:
        if of is None or len(picked) != 1 or picked[0].ndim < 1:
            raise ValueError(
                "covariance got blocks=True, which needs one array of parameters, whose last axis makes a block; write "
                "e.g. of=lambda y: y['points']."
            )
        size = picked[0].shape[-1]
        return picked[0].reshape(-1, size), (*picked[0].shape, size)
    flat = np.concatenate([leaf.ravel() for leaf in picked])
    if flat.size > _MANY:
        raise ValueError(
            f"covariance was asked for {flat.size} parameters at once ({8 * flat.size**2 / 1e9:.1f} GB); choose some "
            "with of=lambda y: ..., or write blocks=True for diagonal blocks."
        )
    return flat, (flat.size, flat.size)


def _check_freedom(fit: Fit, absolute: bool) -> None:
    m, n = fit.num_residuals, fit.tangents.size
    if m <= n and not absolute:
        raise ValueError(
            f"covariance got a fit of {m} residuals to {n} parameters: none are left over to estimate their variance "
            "from. Give sigma to least_squares and write absolute_sigma=True, or fit more data."
        )


def _name(fit: Fit, position: int) -> str:
    where = fit.tangents.locate(position)
    return "" if where == "the scalar" else where
