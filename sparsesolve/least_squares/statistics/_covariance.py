"""`covariance` and `standard_errors` of fitted parameters, by linearisation at the solution.

    C = s^2 (J^T J)^-1,     s^2 = chi^2 / (m - n),     chi^2 = 2 cost = |r|^2,

with `s^2 = 1` where `sigma` is believed as it is (`absolute_sigma`). On a manifold these are covariances of the tangent
vector at the solution. With a loss, `J` and the cost are the corrected ones. Linear equality constraints leave the
parameters `y_b + Z u`, whose covariance `s^2 Z (Z^T J^T J Z)^-1 Z^T` is singular.

Reference: G. A. F. Seber, C. J. Wild, Nonlinear Regression, Wiley 1989, section 2.1, doi:10.1002/0471725315.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import optimistix as optx
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from sparsesolve.least_squares.objective._equality import constant
from sparsesolve.least_squares.statistics._constrained_inverse import spread_dense, spread_sparse
from sparsesolve.least_squares.statistics._fit import Fit, fit_of
from sparsesolve.least_squares.statistics._inverse_gram import Undetermined, dense_inverse, is_dense
from sparsesolve.least_squares.statistics._sparse_inverse import SparseInverse
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
    hold_bounds: bool = False,
) -> Float[Array, "*batch k k"]:
    """The covariance of fitted parameters, all of them or chosen ones.

    Few parameters are treated by a dense factorization of the Jacobian. For many the whole matrix is never formed:
    blocks of parameters that meet in residuals come from the selected inverse of a sparse factorization, for twice its
    operations however many there are, and other entries from solves.

    Args:
        sol: what `least_squares` returned.
        of: which parameters, as a function of a pytree of them, e.g. `lambda y: y["camera"][3]`; it is called with
            integers in their places. On a manifold it picks parts of the tangent vector.
        blocks: with `of` returning an array `(..., k)`, only the `(k, k)` block of each of its rows.
        absolute_sigma: `sigma` holds the true standard deviations of the residuals; otherwise only their ratios matter
            and the residuals themselves say how large they are.
        pseudo_inverse: where the residuals do not determine all parameters, variances orthogonal to what they leave
            open (in parameters scaled by the columns of the Jacobian), as Ceres' null space option; of more than 400
            parameters up to seven directions may be open.
        hold_bounds: parameters that the data press against a bound count as known: no variance, and a degree of freedom
            more. By default all are treated alike, as by `scipy.optimize.curve_fit`.

    Returns:
        Shape `(k, k)` in the order of the flattened selection, `(n, n)` for all parameters; `(..., k, k)` of blocks.
        Traced values cannot be refused: where there is no covariance all of it is infinite.

    Raises:
        TypeError: `sol` is not a solution of `least_squares`.
        ValueError: the residuals do not determine the parameters (names them), there are not more residuals than
            parameters and no `absolute_sigma`, or the matrix would be too large.

    References:
        G. A. F. Seber, C. J. Wild, Nonlinear Regression, 1989, section 2.1, doi:10.1002/0471725315. A. M. Erisman,
        W. F. Tinney, On computing certain elements of the inverse of a sparse matrix, Commun. ACM 18 (1975) 177-179,
        doi:10.1145/360680.360704.

    Example:
        >>> import jax.numpy as jnp
        >>> import sparsesolve as ss
        >>> data = jnp.array([1.0, 3.0, 2.0, 4.0])
        >>> sol = ss.least_squares(lambda y, args: y - args, None, 0.0, data)
        >>> round(float(ss.covariance(sol)[0, 0]), 4)  # variance of the mean, 5/3 / 4
        0.4167
    """
    fit = fit_of(sol, "covariance").reduced(hold_bounds)
    _check_freedom(fit, absolute_sigma)
    chosen, shape = _selection(fit, of, blocks)
    values, lost = _compute(fit, _Static(chosen), _How(blocks, absolute_sigma, pseudo_inverse, hold_bounds))
    if pseudo_inverse:
        _refuse_more(lost, fit)
        known = ~jnp.all(lost.which)
        values = jnp.where(known, values, jnp.inf)
    else:
        values = jnp.where(jnp.any(lost.which), jnp.inf, values)
        refuse_undetermined(fit, lost)
    return values.reshape(shape)


def standard_errors(
    sol: optx.Solution, *, absolute_sigma: bool = False, pseudo_inverse: bool = False, hold_bounds: bool = False
) -> PyTree[Array]:
    """Standard errors of the fitted parameters: square roots of the diagonal of their covariance.

    For many parameters all of them take about as long as two sparse factorizations.

    Args:
        sol: what `least_squares` returned.
        absolute_sigma: as for `covariance`.
        pseudo_inverse: as for `covariance`.
        hold_bounds: as for `covariance`.

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
    how = {"absolute_sigma": absolute_sigma, "pseudo_inverse": pseudo_inverse, "hold_bounds": hold_bounds}
    variances = covariance(sol, lambda _: flat, blocks=True, **how)
    return fit.parameters.unravel(jnp.sqrt(jnp.maximum(variances[:, 0, 0], 0.0)))


def covariance_or_infinite(sol: optx.Solution, absolute_sigma: bool) -> tuple[Float[Array, "n n"], Undetermined]:
    """The covariance of all parameters, infinite where it cannot be estimated, and what is not determined."""
    fit = fit_of(sol, "covariance").reduced()
    chosen, shape = _selection(fit, None, False)
    values, lost = _compute(fit, _Static(chosen), _How(False, absolute_sigma, False, False))
    good = ~jnp.any(lost.which) & jnp.all(jnp.isfinite(values))
    return jnp.where(good, values, jnp.inf).reshape(shape), lost


def refuse_undetermined(fit: Fit, lost: Undetermined) -> None:
    """Raises with the names of undetermined parameters, where values are known.

    Raises:
        ValueError: there are such parameters.
    """
    if isinstance(lost.singular, Tracer) or not bool(jnp.any(lost.which)):
        return
    few = is_dense(fit.objective.pattern) or not bool(jnp.all(lost.which))
    orthogonal = ", or write pseudo_inverse=True for the variances orthogonal to these directions" if few else ""
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
    least = "at least " if directions == lost.singular.shape[0] < fit.num_coordinates else ""
    return f"the Jacobian vanishes along {least}{count}, in which {names}{more} take part"


def _refuse_more(lost: Undetermined, fit: Fit) -> None:
    """Raises where more directions are open than were looked for, and values are known."""
    if isinstance(lost.singular, Tracer) or not bool(jnp.all(lost.which)):
        return
    raise ValueError(
        f"covariance got pseudo_inverse=True, but {undetermined(fit, lost)}: for {fit.tangents.size} parameters fewer "
        f"than {lost.singular.shape[0]} may be open. Add residuals that hold them, e.g. of the first pose."
    )


def _reduced_chi_squared(fit: Fit, cost: Array, held: Array) -> Array:
    """`chi^2 / (m - n)`, infinite without degrees of freedom."""
    freedom = fit.num_residuals - fit.num_coordinates + jnp.sum(held)
    return jnp.where(freedom > 0, 2 * cost / jnp.maximum(freedom, 1), jnp.inf)


class _How(NamedTuple):
    """Options of a covariance."""

    blocks: bool
    absolute: bool
    pseudo: bool
    hold: bool


class _Static:
    """A host array as a static argument, compared by content."""

    def __init__(self, array: np.ndarray):
        self.array = np.ascontiguousarray(array)
        self._key = (self.array.shape, self.array.tobytes())

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self._key == other._key


@functools.partial(jax.jit, static_argnums=(1, 2))
def _compute(fit: Fit, chosen: _Static, how: _How) -> tuple[Array, Undetermined]:
    lin = fit.linearise(hold_bounds=how.hold)
    matrix = SparseMatrix(lin.data, fit.objective.pattern)
    columns, held = chosen.array, ~lin.free
    if fit.reduction is not None:
        matrix, held = fit.reduction.applied(matrix), jnp.zeros((fit.num_coordinates,), bool)
    if is_dense(matrix.pattern):
        whole, lost = dense_inverse(matrix, held, how.pseudo)
        if fit.basis is not None:
            values = spread_dense(fit.basis, whole, columns, how.blocks)
            return _scaled(fit, values, lin.cost, held, how), _named(fit, lost)
        rows = columns[:, :, None] if how.blocks else columns[:, None]
        values = whole[rows, columns[:, None, :] if how.blocks else columns[None, :]]
    else:
        inverse = SparseInverse(matrix, held, how.pseudo)
        lost = inverse.lost
        if fit.basis is not None:
            values = spread_sparse(fit.basis, inverse, columns, how.blocks)
            return _scaled(fit, values, lin.cost, held, how), _named(fit, lost)
        values = inverse.blocks(columns) if how.blocks else inverse.columns(columns)[:, columns]
    return _scaled(fit, values, lin.cost, held, how), lost


def _scaled(fit: Fit, values: Array, cost: Array, held: Array, how: _How) -> Array:
    return values if how.absolute else values * _reduced_chi_squared(fit, cost, held)


def _named(fit: Fit, lost: Undetermined) -> Undetermined:
    """The same directions in the parameters instead of the coordinates that constraints leave."""
    assert fit.basis is not None
    basis = constant(fit.basis, lost.vectors.dtype)
    return lost._replace(vectors=jax.vmap(lambda v: basis @ v, 1, 1)(lost.vectors))


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
    m, n = fit.num_residuals, fit.num_coordinates
    if m <= n and not absolute:
        raise ValueError(
            f"covariance got a fit of {m} residuals to {n} parameters: none are left over to estimate their variance "
            "from. Give sigma to least_squares and write absolute_sigma=True, or fit more data."
        )


def _name(fit: Fit, position: int) -> str:
    where = fit.parameters.locate(position)
    return "" if where == "the scalar" else where
