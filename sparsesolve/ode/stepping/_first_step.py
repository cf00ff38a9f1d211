"""The first step from two slopes, for controllers that weigh errors by tolerances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from sparsesolve.ode.system._real import RealStructure
from sparsesolve.ode.system._weights import scaled_norm, tolerance_weights


def first_step(
    controller: Any,
    terms: Any,
    t0: Any,
    t1: Any,
    y0: PyTree[Array],
    args: Any,
    func: Callable[..., PyTree[Array]],
    *,
    error_order: Any,
    least: Any,
) -> Float[Array, ""]:
    """A first step from the slopes at `t0` and after a small explicit step, for an error of `O(h^error_order)`, but
    none that rounding of time would spoil.

    Args:
        controller: has `rtol`, `atol` and `norm`.
        terms: of the differential equation.
        t0: start.
        t1: end, after the start.
        y0: initial values.
        args: of the user.
        func: the slope, as diffrax hands it to controllers.
        error_order: of the first step.
        least: the step to begin with where state or slope are too small to tell one.

    Reference: E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I (1993), section II.4,
    doi:10.1007/978-3-540-78862-1.
    """
    structure = RealStructure.of(y0)
    x0 = lax.stop_gradient(structure.ravel(y0))
    weights = tolerance_weights(structure, controller.rtol, controller.atol, x0)

    def size(v: Array) -> Array:
        return scaled_norm(controller.norm, structure, v, weights)

    def slope(t: Any, x: Array) -> Array:
        control = terms.contr(jnp.zeros_like(t), jnp.ones_like(t))
        return structure.ravel(terms.prod(func(terms, t, structure.unravel(x), args), control))

    time = jnp.asarray(t0)
    f0 = slope(time, x0)
    d0, d1 = size(x0), size(f0)
    small = (d0 < 1e-5) | (d1 < 1e-5)
    span = (t1 - t0).astype(d0.dtype)
    h0 = jnp.minimum(jnp.where(small, least, 0.01 * d0 / jnp.where(d1 == 0, 1.0, d1)), span)
    f1 = slope(time + h0.astype(time.dtype), x0 + h0 * f0)
    steepest = jnp.maximum(d1, size(f1 - f0) / h0)
    h1 = jnp.where(steepest <= 1e-15, jnp.maximum(least, 1e-3 * h0), (0.01 / steepest) ** (1 / error_order))
    h = jnp.minimum(100 * h0, h1)
    h = jnp.where(jnp.isfinite(h), h, h0).astype(time.dtype)
    return lax.stop_gradient(jnp.maximum(h, least_step(time, t1)))


def least_step(t0: Any, t1: Any) -> Float[Array, ""]:
    """Sixteen units of rounding of `t0`, but not more than there is to go."""
    return jnp.minimum(16 * jnp.finfo(jnp.result_type(t0)).eps * jnp.abs(t0), jnp.abs(t1 - t0))
