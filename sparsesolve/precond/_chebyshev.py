"""Chebyshev polynomials in `D^-1 A`: the smoother of multigrid, and a preconditioner of its own. Traced.

One sweep of degree `k` multiplies the error by the polynomial that is smallest on `[lower, upper]`,

    x <- x + q(D^-1 A) D^-1 (b - A x),     1 - t q(t) = T_k((c - t) / h) / T_k(c / h),

with centre `c` and half width `h` of the interval: only products, no triangular solves, and the same polynomial for
`A^T`. M. Adams, M. Brezina, J. Hu, R. Tuminaro, Parallel multigrid smoothing: polynomial versus Gauss-Seidel, J.
Comput. Phys. 188 (2003) 593-610, doi:10.1016/S0021-9991(03)00194-3; the recurrence is algorithm 12.1 of Y. Saad,
Iterative Methods for Sparse Linear Systems (2003). Cost: `k` products a sweep, one less from `x = 0`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, Real

from sparsesolve.krylov._base import LinearMap

_STEPS = 8  # of Lanczos; the largest Ritz value is then within a few percent
_SAFETY = 1.08


class Interval(NamedTuple):
    """Where the eigenvalues of `D^-1 A` lie that a sweep reduces."""

    lower: Real[Array, ""]
    upper: Real[Array, ""]


def smooth(
    product: LinearMap,
    inverse_diagonal: Inexact[Array, " n"],
    interval: Interval,
    degree: int,
    b: Inexact[Array, " n"],
    x: Inexact[Array, " n"] | None = None,
) -> Inexact[Array, " n"]:
    """One Chebyshev sweep for `A x = b`, from zero when there is no `x`."""
    lower, upper = interval.lower.astype(b.dtype), interval.upper.astype(b.dtype)
    centre, half = (upper + lower) / 2, (upper - lower) / 2
    ratio = centre / half

    # A loop, not unrolled steps: XLA on the CPU would compute each x anew inside every term of the next product.
    def body(_: Any, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, step, weight = carry
        following = 1 / (2 * ratio - weight)
        step = (following * weight) * step + (2 * following / half) * inverse_diagonal * (b - product(x))
        return x + step, step, following

    residual = b if x is None else b - product(x)
    step = (1 / centre) * inverse_diagonal * residual
    x = step if x is None else x + step
    return jax.lax.fori_loop(0, degree - 1, body, (x, step, 1 / ratio))[0]


def spectral_interval(
    product: LinearMap,
    absolute_row_sums: Real[Array, " n"],
    inverse_diagonal: Inexact[Array, " n"],
    spread: float,
) -> Interval:
    """The part of the spectrum of `D^-1 A` to reduce: from its largest eigenvalue down to `1 / spread` of it.

    Above, the largest Ritz value of a few steps of Lanczos with a margin, or the bound of Gershgorin's circles if that
    is lower. Below, nothing is reduced that is not there: for a diagonally dominant matrix the circles end early.

    Args:
        product: `v -> A v`.
        absolute_row_sums: `sum_j |a_ij|`, `(n,)`.
        inverse_diagonal: `1 / a_ii`, `(n,)`.
        spread: upper end over lower end.
    """
    rows = absolute_row_sums * jnp.abs(inverse_diagonal)
    circles = jnp.max(rows)
    upper = jnp.minimum(circles, _SAFETY * largest_ritz_value(product, jnp.sqrt(jnp.abs(inverse_diagonal))))
    upper = jnp.where(jnp.isfinite(upper) & (upper > 0), upper, circles)
    return Interval(jnp.clip(2 - circles, upper / spread, 0.9 * upper), upper)


def largest_ritz_value(product: LinearMap, scale: Real[Array, " n"]) -> Real[Array, ""]:
    """An estimate from below of the largest eigenvalue of `S A S`, `S = diag(scale)`, by a few steps of Lanczos.

    Exact recurrences for a Hermitian matrix; for others the symmetric part of the projection is taken.
    """
    dtype = jax.eval_shape(product, scale).dtype
    start, real = start_vector(scale.shape[0], scale.dtype), scale.dtype
    scale = scale.astype(dtype)

    def step(carry: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], tuple[Array, Array]]:
        v, before, beta = carry
        w = scale * product(scale * v) - beta.astype(dtype) * before
        alpha = jnp.real(jnp.vdot(v, w))
        w = w - alpha.astype(dtype) * v
        beta = jnp.linalg.norm(w)
        return (w / jnp.where(beta > 0, beta, 1).astype(dtype), v, beta), (alpha, beta)

    v = (start / jnp.linalg.norm(start)).astype(dtype)
    zero = jnp.zeros((), real)
    _, (alpha, beta) = jax.lax.scan(step, (v, jnp.zeros_like(v), zero), None, _STEPS)
    return _largest_eigenvalue(jnp.diag(alpha) + jnp.diag(beta[:-1], 1) + jnp.diag(beta[:-1], -1))


def _largest_eigenvalue(small: Real[Array, "k k"]) -> Real[Array, ""]:
    """The largest modulus of an eigenvalue of a symmetric matrix, at most 2 % too large for 8 rows: the 128-th root of
    the trace of its 128-th power. Compiles faster than an eigenvalue solver."""
    exponent = jnp.zeros((), small.dtype)
    power = small
    for k in range(7):
        norm = jnp.max(jnp.abs(power))
        norm = jnp.where(norm > 0, norm, 1)
        exponent += jnp.log(norm) / 2**k
        power = (power / norm) @ (power / norm)
    return jnp.exp(exponent + jnp.log(jnp.maximum(jnp.trace(power), jnp.finfo(small.dtype).tiny)) / 2**7)


def start_vector(n: int, dtype: jnp.dtype) -> Real[Array, " n"]:
    """Numbers between -1/2 and 1/2 with energy at all frequencies: Knuth's multiplicative hash of the position."""
    hashed = jnp.arange(n, dtype=jnp.uint32) * jnp.uint32(2654435769)
    hashed = (hashed ^ (hashed >> 15)) * jnp.uint32(2246822519)
    return (hashed >> 8).astype(dtype) / 2**24 - 0.5


def invert_diagonal(diagonal: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
    """`1 / d`, and 1 where that is not a number to work with."""
    usable = (diagonal != 0) & jnp.isfinite(diagonal)
    return jnp.where(usable, 1 / jnp.where(usable, diagonal, 1), 1)
