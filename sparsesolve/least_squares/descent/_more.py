"""More's trust region for few unknowns: the step of least predicted cost with |D d| <= radius, by an SVD.

With  J D^-1 = U S V^T  and  z = U^T r,  a step is  -D^-1 V (S^2 + mu)^-1 S z,  and `mu` solves |D d(mu)| = radius to a
tenth by Hebden's iteration. `D` are the largest norms the columns have had, which makes the iteration independent of
the parameters' units. All steps from one iterate share the SVD.

References: J. J. More, The Levenberg-Marquardt algorithm: implementation and theory, LNM 630 (1978) 105-116,
doi:10.1007/BFb0067700. Geodesic acceleration: `_descent.py`.
Cost: an SVD of a triangular factor, about 20 n^3 flops, an iterate.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Inexact

from sparsesolve.least_squares.descent._descent import AbstractDescent, Model, Proposal, Verdict, accelerated
from sparsesolve.least_squares.linear_step._dense_solver import DenseSolver

_ITERATIONS = 20


class Spectrum(NamedTuple):
    """`J D^-1 = Q U S V^T`; `v` is `(n, k)`."""

    u: Inexact[Array, "k k"]
    s: Float[Array, " k"]
    v: Inexact[Array, "n k"]


class Region(NamedTuple):
    """The radius (negative before the first step), the scale, and the SVD at the iterate."""

    radius: Float[Array, ""]
    scale: Float[Array, " n"]
    spectrum: Spectrum
    full: Float[Array, ""]  # whether the last step was undamped


@dataclasses.dataclass(frozen=True)
class MoreRegion(AbstractDescent):
    """See the module's description; the first radius is `factor |D y|`.

    Of factors from 0.1 to 100, 3 lost fewest of 1,100 runs from NIST starts that were moved by up to a tenth.
    """

    factor: float = 3.0

    def init(self, m: int, n: int, dtype: Any) -> Region:
        k = min(m, n)
        empty = Spectrum(jnp.zeros((k, k), dtype), jnp.zeros((k,), dtype), jnp.zeros((n, k), dtype))
        return Region(jnp.asarray(-1.0, dtype), jnp.zeros((n,), dtype), empty, jnp.asarray(0.0, dtype))

    def propose(self, linear: Any, model: Model, state: Region) -> tuple[Proposal, Region]:
        assert isinstance(linear, DenseSolver)
        scale = jnp.maximum(state.scale, jnp.sqrt(model.squares))
        spectrum = lax.cond(model.fresh, lambda: _spectrum(model.prepared.r / scale[None, :]), lambda: state.spectrum)
        u, s, v = spectrum
        to_modes = u.T @ model.prepared.q.T
        z = to_modes @ model.lin.residual
        radius = jnp.where(state.radius < 0, self._first_radius(model, scale), state.radius)
        tiny = jnp.finfo(s.dtype).eps * max(linear.pattern.shape) * jnp.max(s, initial=0.0)
        inverse = jnp.where(s > tiny, 1 / jnp.where(s > tiny, s, 1.0), 0.0)
        undamped = jnp.sqrt(jnp.sum((inverse * z) ** 2))
        outside = undamped > 1.1 * radius
        mu = jnp.where(outside, _parameter(s, s * z, radius), 0.0)
        filtered = jnp.where(outside, s / jnp.maximum(s * s + mu, tiny * tiny), inverse)
        velocity = -(v @ (filtered * z)) / scale
        step = accelerated(velocity, scale**2, model.curvature, lambda w: (v @ (filtered * (to_modes @ w))) / scale)
        length = jnp.sqrt(jnp.sum((scale * velocity) ** 2))
        shortening = jnp.where(outside, undamped / jnp.maximum(length, jnp.finfo(length.dtype).tiny), 1.0)
        good = jnp.all(jnp.isfinite(velocity))
        proposal = Proposal(step, velocity, good, shortening, model.fresh.astype(int), jnp.asarray(0))
        return proposal, Region(radius, scale, spectrum, 1 - outside.astype(scale.dtype))

    def update(self, state: Region, verdict: Verdict) -> Region:
        length = jnp.sqrt(jnp.sum((state.scale * verdict.step) ** 2))
        length = jnp.where(jnp.isfinite(length), length, state.radius)
        shrunk = 0.25 * jnp.minimum(state.radius, length)
        grown = jnp.maximum(state.radius, 2 * length)
        content = (verdict.ratio > 0.75) | (state.full > 0)
        radius = jnp.where(verdict.ratio < 0.25, shrunk, jnp.where(content, grown, state.radius))
        return state._replace(radius=jnp.maximum(radius, jnp.finfo(radius.dtype).tiny))

    def _first_radius(self, model: Model, scale: Array) -> Array:
        if model.position is None:
            return jnp.asarray(jnp.inf, scale.dtype)
        length = self.factor * jnp.sqrt(jnp.sum((scale * model.position) ** 2))
        return jnp.where(length > 0, length, self.factor)


def _spectrum(matrix: Inexact[Array, "k n"]) -> Spectrum:
    finite = jnp.all(jnp.isfinite(matrix))
    u, s, vt = jnp.linalg.svd(jnp.where(finite, matrix, 0.0), full_matrices=False)
    return Spectrum(u, jnp.where(finite, s, jnp.nan), vt.T)


def _parameter(s: Float[Array, " k"], g: Inexact[Array, " k"], radius: Float[Array, ""]) -> Float[Array, ""]:
    """`mu` with `|g / (s^2 + mu)|` within a tenth of the radius; safeguarded as in MINPACK's lmpar."""

    def lengths(mu: Array) -> tuple[Array, Array]:
        shifted = jnp.maximum(s * s + mu, jnp.finfo(s.dtype).tiny)
        length = jnp.sqrt(jnp.sum((g / shifted) ** 2))
        return length, -jnp.sum(g**2 / shifted**3) / length

    def going(carry: Any) -> Array:
        _, _, _, length, count = carry
        return (jnp.abs(length - radius) > 0.1 * radius) & (count < _ITERATIONS)

    def improve(carry: Any) -> Any:
        mu, low, high, length, count = carry
        _, slope = lengths(mu)
        low = jnp.where(length > radius, jnp.maximum(low, mu), low)
        high = jnp.where(length > radius, high, jnp.minimum(high, mu))
        new = mu - (length - radius) / slope * (length / radius)
        new = jnp.where((new > low) & (new < high), new, jnp.maximum(jnp.sqrt(low * high), 1e-3 * high))
        return new, low, high, lengths(new)[0], count + 1

    high = jnp.sqrt(jnp.sum(g**2)) / radius
    start = (1e-3 * high, jnp.zeros_like(high), high, lengths(1e-3 * high)[0], jnp.asarray(0))
    return lax.while_loop(going, improve, start)[0]
