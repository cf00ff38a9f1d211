"""Graduated non-convexity: fits that find the good residuals among many wrong ones, without a good start.

A bounded loss forgets outliers, but its cost has local minima everywhere. A family of surrogates `rho(s; mu)` leads
from a nearly convex cost to the wanted one; each minimiser is where the next solve starts:

    truncated:       s  up to mu / (mu + 1),  1  from (mu + 1) / mu on,  2 sqrt(s mu (mu + 1)) - mu (1 + s)  between,
                     mu from 1 / (2 s_max - 1) upwards, until no residual is between;
    geman_mcclure:   mu s / (mu + s),   mu from 2 s_max down to 1,

by a factor 1.4 a level, with `s = |r_b|^2 / scale^2` and `s_max` that of the fit without a loss. The parameters of the
surrogate are values: all levels share one plan and one compiled iteration.

Reference: H. Yang, P. Antonante, V. Tzoumas, L. Carlone, Graduated non-convexity for robust spatial perception: from
non-minimal solvers to global outlier rejection, IEEE Robot. Autom. Lett. 5 (2020) 1127-1134,
doi:10.1109/LRA.2020.2965893.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import optimistix as optx
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from sparsesolve.least_squares._least_squares import least_squares
from sparsesolve.least_squares.objective._losses import Loss

_FACTOR = 1.4
_COUNTS = ("num_steps", "num_residuals", "num_jacobians", "num_factorizations", "num_linear_iterations")


class Surrogate(eqx.Module):
    """One member of a family of losses.

    Attributes:
        name: of the family.
        mu: which member.
        scale: size of a residual from which it counts less.
        block: how many residuals count as one.
    """

    name: str = eqx.field(static=True)
    mu: Any
    scale: Any
    block: int = eqx.field(static=True)

    def __call__(self, s: Float[Array, ...]) -> Float[Array, ...]:
        mu = jnp.asarray(self.mu, s.dtype)
        if self.name == "geman_mcclure":
            return mu * s / (mu + s)
        low, high = mu / (mu + 1.0), (mu + 1.0) / mu
        between = 2.0 * jnp.sqrt(jnp.clip(s, low, high) * mu * (mu + 1.0)) - mu * (1.0 + s)
        return jnp.where(s <= low, s, jnp.where(s >= high, 1.0, between))


class _Level(NamedTuple):
    y: PyTree[Array]
    mu: Float[Array, ""]
    squares: Float[Array, " blocks"]
    count: Any
    counts: dict[str, Any]


def graduated_non_convexity(
    fn: Callable[[Any, Any], Any],
    solver: Any,
    y0: PyTree[Array],
    args: Any = None,
    *,
    scale: Any,
    loss: Literal["truncated", "geman_mcclure"] = "truncated",
    block: Any = 1,
    max_levels: int = 100,
    level_steps: int = 10,
    **options: Any,
) -> optx.Solution:
    """Minimises a bounded robust cost of `fn(y, args)`, starting from a nearly convex one, so that outliers are found.

    Args:
        fn: residuals `fn(y, args)`, as for `least_squares`.
        solver: as for `least_squares`.
        y0: initial guess; the fit without a loss, the first of the sequence, starts from it.
        args: as for `least_squares`.
        scale: size up to which a residual (the norm of a block) is believed, a positive number; or a pytree of those
            and `None` in the form of the residual, e.g. `{"odometry": None, "closures": 3.0}`: leaves with `None` count
            as without a loss.
        loss: `"truncated"` (squares up to `scale^2`, constant beyond) or `"geman_mcclure"`.
        block: how many consecutive residuals are right or wrong together, e.g. 3 for the edges of a planar pose graph;
            or a pytree of numbers in the form of `scale`.
        max_levels: most members of the family; 100 levels are a factor of 4e14.
        level_steps: most steps of each level but the last one.
        **options: of `least_squares`: `bounds`, `sigma`, `retract`, `sparsity`, `hessian`, `max_steps`, `throw`.

    Returns:
        The solution of the last level; in `stats` the counts are those of all levels, `num_levels` is their number, and
        `weights` tells the good blocks (near 1) from the bad ones (near 0), those of all leaves with a scale one after
        the other.

    Raises:
        TypeError: for options that are not those of `least_squares`.
        ValueError: for an unknown family, or a scale that is not positive.
        RuntimeError: if the last level found no minimiser and `throw` is true.

    Reference:
        H. Yang, P. Antonante, V. Tzoumas, L. Carlone, IEEE Robot. Autom. Lett. 5 (2020) 1127-1134,
        doi:10.1109/LRA.2020.2965893.

    Example:
        >>> import jax.numpy as jnp
        >>> import sparsesolve as ss
        >>> x = jnp.arange(10.0)
        >>> data = (2.0 * x + 1.0).at[4:8].set(40.0)
        >>> line = lambda y, data: y[0] * x + y[1] - data
        >>> sol = ss.graduated_non_convexity(line, None, jnp.zeros(2), data, scale=0.5)
        >>> [round(float(v), 6) for v in sol.value], int(sol.stats["weights"].sum())
        ([2.0, 1.0], 6)
    """
    _check(scale, loss, block, options)
    constants = jax.tree.map(_without_derivative, args)
    early = {**options, "throw": False, "max_steps": level_steps}
    plain = least_squares(fn, solver, y0, constants, **early)
    squares = _squares(plain, scale, block)
    first = _first_level(loss, jnp.max(squares, initial=0.0))
    start = _Level(plain.value, first, squares, jnp.asarray(0), {name: plain.stats[name] for name in _COUNTS})
    start = jax.tree.map(_without_derivative, start)

    def going(level: _Level) -> Array:
        return (level.count < max_levels) & ~_finished(loss, level)

    def advance(level: _Level) -> _Level:
        sol = least_squares(fn, solver, level.y, constants, loss=_surrogates(loss, level.mu, scale, block), **early)
        counts = {name: level.counts[name] + sol.stats[name] for name in _COUNTS}
        mu = level.mu * _FACTOR if loss == "truncated" else jnp.maximum(level.mu / _FACTOR, 1.0)
        return _Level(sol.value, mu, _squares(sol, scale, block), level.count + 1, counts)

    level = jax.tree.map(_without_derivative, _run(going, advance, start))
    last = _surrogates(loss, level.mu, scale, block)
    sol = least_squares(fn, solver, level.y, args, loss=last, **options)
    weights = jax.vmap(jax.grad(Surrogate(loss, level.mu, 1.0, 1)))(_squares(sol, scale, block))
    counts = {name: level.counts[name] + sol.stats[name] for name in _COUNTS}
    stats = {**sol.stats, **counts, "num_levels": level.count + 1, "weights": weights}
    return eqx.tree_at(lambda s: s.stats, sol, stats)


def _check(scale: Any, loss: str, block: int, options: dict[str, Any]) -> None:
    if loss not in ("truncated", "geman_mcclure"):
        raise ValueError(f"graduated_non_convexity got loss={loss!r}; write 'truncated' or 'geman_mcclure'.")
    known = {"bounds", "sigma", "retract", "sparsity", "hessian", "max_steps", "throw"}
    if unknown := sorted(set(options) - known):
        raise TypeError(f"graduated_non_convexity got {', '.join(unknown)}; it takes {', '.join(sorted(known))}.")
    for one, size in _each(scale, block, None):
        if one is not None:
            Loss("linear", one, size)


def _missing(x: Any) -> bool:
    return x is None


def _each(scale: Any, block: Any, residual: Any) -> list[tuple[Any, Any]]:
    """Scale and block of each leaf of a residual; where there is none, of each leaf of `scale`."""
    tree = scale if residual is None else residual
    spread = jax.tree.broadcast(scale, tree, is_leaf=_missing)
    scales = jtu.tree_leaves(spread, is_leaf=_missing)
    blocks = [block] * len(scales) if isinstance(block, int) else jtu.tree_leaves(block, is_leaf=_missing)
    if len(blocks) == len(scales):
        return list(zip(scales, blocks, strict=True))
    raise ValueError(
        f"graduated_non_convexity got block={block!r} for scale={scale!r}; give one number of residuals a block, or "
        "one for each leaf of scale."
    )


def _surrogates(name: str, mu: Any, scale: Any, block: Any) -> Any:
    """The losses of all leaves, in the form of `scale`."""
    form = jtu.tree_structure(scale, is_leaf=_missing)
    each = [None if one is None else Surrogate(name, mu, one, size) for one, size in _each(scale, block, None)]
    return each[0] if jtu.treedef_is_leaf(form) else jtu.tree_unflatten(form, each)


def _first_level(loss: str, largest: Float[Array, ""]) -> Float[Array, ""]:
    """The member to start with (remark 5 of the paper), nearly convex up to the largest square."""
    if loss == "geman_mcclure":
        return jnp.maximum(2.0 * largest, 1.0)
    return 1.0 / jnp.maximum(2.0 * largest - 1.0, 1.0)


def _finished(loss: str, level: _Level) -> Array:
    if loss == "geman_mcclure":
        return level.mu <= 1.0
    low, high = level.mu / (level.mu + 1.0), (level.mu + 1.0) / level.mu
    return (level.count > 0) & jnp.all((level.squares <= low) | (level.squares >= high))


def _squares(sol: optx.Solution, scale: Any, block: Any) -> Float[Array, " blocks"]:
    """Squared norms of the blocks of weighted residuals at a solution, over `scale^2`, of all leaves with a scale."""
    structure, flat = sol.state.problem.objective.residuals, sol.state.residual()
    if jtu.treedef_is_leaf(jtu.tree_structure(scale, is_leaf=_missing)):
        return jnp.sum(flat.reshape(-1, block) ** 2, axis=1) / scale**2
    leaves, parts = jtu.tree_leaves(structure.unravel(flat)), []
    for leaf, (one, size) in zip(leaves, _each(scale, block, structure.unravel(flat)), strict=True):
        if one is not None:
            parts.append(jnp.sum(leaf.reshape(-1, size) ** 2, axis=1) / one**2)
    return jnp.concatenate(parts)


def _run(going: Callable[[_Level], Array], advance: Callable[[_Level], _Level], level: _Level) -> _Level:
    """A loop on the host where values are known, so that later calls find compiled code; else a `while_loop`."""
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(level)):
        return lax.while_loop(going, advance, level)
    while bool(going(level)):
        level = advance(level)
    return level


def _without_derivative(leaf: Any) -> Any:
    inexact = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.inexact)
    return lax.stop_gradient(leaf) if inexact else leaf
