"""Powell's dogleg: a path from the scaled gradient step to the Gauss-Newton step, cut off at a trust region.

    d_C = -(|D^-1 g|^2 / |J D^-2 g|^2) D^-2 g,     (J^T J) d_N = -g

One factorization serves all radii at an iterate. The subspace form minimises the model over all combinations of both
directions within the region, which bends the path to the better side.

References: M. J. D. Powell, A hybrid method for nonlinear equations, in: Numerical Methods for Nonlinear Algebraic
Equations, 1970, 87-114. R. H. Byrd, R. B. Schnabel, G. A. Shultz, Approximate solution of the trust region problem by
minimization over two-dimensional subspaces, Math. Program. 40 (1988) 247-263, doi:10.1007/BF01580735.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Inexact

from sparsesolve.least_squares.descent._descent import AbstractDescent, Model, Proposal, Verdict
from sparsesolve.least_squares.descent._undamped import Undamped, gauss_newton_step, no_step
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver


class Directions(NamedTuple):
    """Gauss-Newton and Cauchy steps at an iterate."""

    newton: Undamped
    cauchy: Inexact[Array, " n"]


class Region(NamedTuple):
    """The radius (negative before the first step), the scale and the directions at the iterate."""

    radius: Float[Array, ""]
    scale: Float[Array, " n"]
    directions: Directions


@dataclasses.dataclass(frozen=True)
class DoglegRegion(AbstractDescent):
    """See the module's description."""

    subspace: bool = False

    def init(self, m: int, n: int, dtype: Any) -> Region:
        zero = jnp.zeros((n,), dtype)
        return Region(jnp.asarray(-1.0, dtype), zero, Directions(no_step(n, dtype), zero))

    def propose(self, linear: AbstractDampedSolver, model: Model, state: Region) -> tuple[Proposal, Region]:
        matrix = model.jacobian
        scale = jnp.sqrt(model.squares)
        found = lax.cond(model.fresh, lambda: self._directions(linear, model, matrix), lambda: state.directions)
        newton = found.newton.step * scale
        length = jnp.sqrt(jnp.sum(newton**2))
        radius = jnp.where(state.radius < 0, length, state.radius)
        path = self._subspace if self.subspace else self._path
        step = jnp.where(length <= radius, newton, path(newton, found.cauchy * scale, radius, matrix, model, scale))
        step = step / scale
        shortening = jnp.maximum(1.0, length / jnp.maximum(radius, jnp.finfo(length.dtype).tiny))
        count, iterations = model.fresh * found.newton.factorizations, model.fresh * found.newton.iterations
        return Proposal(step, step, found.newton.good, shortening, count, iterations), Region(radius, scale, found)

    def update(self, state: Region, verdict: Verdict) -> Region:
        length = jnp.sqrt(jnp.sum((state.scale * verdict.step) ** 2))
        length = jnp.where(jnp.isfinite(length), length, state.radius)
        shrunk = 0.25 * jnp.minimum(state.radius, length)
        grown = jnp.where(verdict.ratio > 0.75, jnp.maximum(state.radius, 3 * length), state.radius)
        radius = jnp.where(verdict.ratio < 0.25, shrunk, grown)
        return state._replace(radius=jnp.maximum(radius, jnp.finfo(radius.dtype).tiny))

    def _directions(self, linear: AbstractDampedSolver, model: Model, matrix: Any) -> Directions:
        steepest = -model.lin.gradient / model.squares
        image = matrix @ steepest
        along = -jnp.sum(model.lin.gradient * steepest) / _positive(jnp.sum(image**2))
        return Directions(gauss_newton_step(linear, model), along * steepest)

    def _path(self, newton: Array, cauchy: Array, radius: Array, *rest: Any) -> Array:
        """The point of the dogleg on the boundary, in scaled variables."""
        short = jnp.sqrt(jnp.sum(cauchy**2))
        leg = newton - cauchy
        a, b, c = jnp.sum(leg**2), jnp.sum(leg * cauchy), short**2 - radius**2
        root = jnp.sqrt(jnp.maximum(b * b - a * c, 0.0))
        t = jnp.where(b > 0, -c / _positive(b + root), (root - b) / _positive(a))
        return jnp.where(short >= radius, cauchy * (radius / _positive(short)), cauchy + t * leg)

    def _subspace(self, newton: Array, cauchy: Array, radius: Array, matrix: Any, model: Model, scale: Array) -> Array:
        """The best point of the plane of both directions within the region, in scaled variables."""
        first = newton / _positive(jnp.sqrt(jnp.sum(newton**2)))
        second = cauchy - first * jnp.sum(first * cauchy)
        size = jnp.sqrt(jnp.sum(second**2))
        second = jnp.where(size > 1e-8 * jnp.sqrt(jnp.sum(cauchy**2)), second / _positive(size), 0.0)
        basis = jnp.stack([first, second])
        image = jnp.stack([matrix @ (first / scale), matrix @ (second / scale)])
        values, modes = jnp.linalg.eigh(image @ image.T)
        g = modes.T @ (basis @ (model.lin.gradient / scale))
        low, high = jnp.zeros_like(radius), jnp.sqrt(jnp.sum(g**2)) / radius

        def halve(_: Any, ends: Any) -> Any:
            low, high = ends
            middle = 0.5 * (low + high)
            long = jnp.sum((g / _positive(jnp.maximum(values, 0.0) + middle)) ** 2) > radius**2
            return jnp.where(long, middle, low), jnp.where(long, high, middle)

        _, mu = lax.fori_loop(0, 60, halve, (low, high))
        return -(modes @ (g / _positive(jnp.maximum(values, 0.0) + mu))) @ basis


def _positive(x: Array) -> Array:
    return jnp.maximum(x, jnp.finfo(x.dtype).tiny)
