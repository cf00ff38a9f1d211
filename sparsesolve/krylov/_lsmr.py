"""LSMR: damped least squares by the Golub-Kahan process, with products by a matrix and its transpose alone.

    min |A x - b|^2 + damp^2 |x|^2

The iterates are those of MINRES on the normal equations: in exact arithmetic `|A^T r|` falls in every step, so that an
early end is safe, and `A^T A` is not formed.

Reference: D. C.-L. Fong, M. Saunders, LSMR: an iterative algorithm for sparse least-squares problems, SIAM J. Sci.
Comput. 33 (2011) 2950-2971, doi:10.1137/10079687X.
Cost of a step: one product with `A` and one with `A^T`, 3 m + 5 n multiply-adds. Memory: m + 4 n numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from sparsesolve.krylov._base import divide


class LSMRInfo(NamedTuple):
    """How LSMR ended.

    Attributes:
        num_steps: pairs of products.
        reduction: `|A^T r - damp^2 x|` divided by `|A^T b|`, as the recurrences have it.
        converged: whether that met the tolerance.
    """

    num_steps: Int[Array, ""]
    reduction: Float[Array, ""]
    converged: Bool[Array, ""]


class _State(NamedTuple):
    x: Array
    u: Array
    v: Array
    h: Array
    h_bar: Array
    alpha: Array
    rho: Array
    rho_bar: Array
    alpha_bar: Array
    zeta_bar: Array
    c_bar: Array
    s_bar: Array
    step: Array


def lsmr(
    multiply: Callable[[Array], Array],
    transposed: Callable[[Array], Array],
    rhs: Float[Array, " m"],
    *,
    damp: float | Float[Array, ""] = 0.0,
    rtol: float | Float[Array, ""] = 1e-8,
    max_steps: int = 1000,
) -> tuple[Float[Array, " n"], LSMRInfo]:
    """Minimises `|A x - b|^2 + damp^2 |x|^2`.

    Args:
        multiply: `x -> A x`, linear.
        transposed: `y -> A^T y`.
        rhs: `b`, shape `(m,)`, real.
        damp: see above.
        rtol: the gradient is to fall to this share of `|A^T b|`.
        max_steps: most steps.

    Returns:
        The solution, shape `(n,)`, and an `LSMRInfo`.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsesolve.krylov import lsmr
        >>> A = jnp.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
        >>> x, info = lsmr(lambda x: A @ x, lambda y: y @ A, jnp.array([1.0, 2.0, 5.0]))
        >>> jnp.round(x, 12), int(info.num_steps)
        (Array([1., 1.], dtype=float64), 2)
    """
    beta, u = _normalised(rhs)
    alpha, v = _normalised(transposed(u))
    first = alpha * beta
    damp = jnp.asarray(damp, rhs.dtype)
    one, zero = jnp.ones_like(alpha), jnp.zeros_like(alpha)

    def going(s: _State) -> Array:
        return (s.step < max_steps) & (jnp.abs(s.zeta_bar) > rtol * first) & (s.alpha > 0)

    def advance(s: _State) -> _State:
        return _step(multiply, transposed, damp, s)

    nothing = jnp.zeros_like(v)
    start = _State(nothing, u, v, v, nothing, alpha, one, one, alpha, first, one, zero, jnp.asarray(0, jnp.int32))
    end = lax.while_loop(going, advance, start)
    # With alpha = 0 the process has found an invariant subspace, and the solution in it.
    reduction = jnp.where(end.alpha > 0, jnp.abs(divide(end.zeta_bar, first)), 0.0)
    return end.x, LSMRInfo(end.step, reduction, reduction <= rtol)


def _step(multiply: Any, transposed: Any, damp: Array, s: _State) -> _State:
    """Section 3.2 of the paper, in its names."""
    beta, u = _normalised(multiply(s.v) - s.alpha * s.u)
    alpha, v = _normalised(transposed(u) - beta * s.v)
    alpha_hat = jnp.hypot(s.alpha_bar, damp)
    rho = jnp.hypot(alpha_hat, beta)
    c, sine = divide(alpha_hat, rho), divide(beta, rho)
    theta = sine * alpha
    alpha_bar = c * alpha
    theta_bar = s.s_bar * rho
    rho_bar = jnp.hypot(s.c_bar * rho, theta)
    c_bar, s_bar = divide(s.c_bar * rho, rho_bar), divide(theta, rho_bar)
    zeta = c_bar * s.zeta_bar
    h_bar = s.h - divide(theta_bar * rho, s.rho * s.rho_bar) * s.h_bar
    x = s.x + divide(zeta, rho * rho_bar) * h_bar
    h = v - divide(theta, rho) * s.h
    return _State(x, u, v, h, h_bar, alpha, rho, rho_bar, alpha_bar, -s_bar * s.zeta_bar, c_bar, s_bar, s.step + 1)


def _normalised(x: Array) -> tuple[Array, Array]:
    length = jnp.sqrt(jnp.sum(x**2))
    return length, divide(x, length)
