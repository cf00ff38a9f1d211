"""BiCGStab(l): biconjugate gradients, stabilised by a minimal residual polynomial of degree `l` every `l` steps.

Acts on `B = A M^-1` (preconditioned from the right), so its residual is the true one of `A x = b`. One sweep takes
`2 l` products: `l` BiCG steps that also carry `r_j = B^j r`, `u_j = B^j u`, then

    r <- r - sum_j gamma_j r_j,   gamma minimising |r|,

by modified Gram-Schmidt. `l = 2` finds the complex pairs of eigenvalues of convection that `l = 1` cannot. The
preconditioner must be linear. Reference: G. L. G. Sleijpen, D. R. Fokkema, BiCGstab(l) for linear equations involving
unsymmetric matrices with complex spectrum, Electron. Trans. Numer. Anal. 1 (1993) 11-32.
Cost of a product: one preconditioner, about 14 n flops (l = 2). Memory: `2 l + 4` vectors, whatever the steps.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact, Real

from sparsesolve.krylov._base import Correction, KrylovInfo, LinearMap, Watch, divide, dot, norm, solve_in_cycles


class _State(NamedTuple):
    update: Array  # in the preconditioned unknowns: the correction is M^-1 update
    residual: Array
    direction: Array
    rho: Array
    alpha: Array
    omega: Array
    step: Array
    broken: Array
    watch: Watch


def bicgstab(
    matvec: LinearMap,
    rhs: Inexact[Array, " n"],
    x0: Inexact[Array, " n"] | None = None,
    *,
    precondition: LinearMap | None = None,
    rtol: float | Real[Array, ""] = 1e-8,
    atol: float | Real[Array, ""] = 0.0,
    degree: int = 2,
    max_steps: int = 1000,
    window: int = 200,
) -> tuple[Inexact[Array, " n"], KrylovInfo]:
    """Solves `A x = b` by BiCGStab(l).

    Args:
        matvec: `v -> A v`, linear.
        rhs: `b`, shape `(n,)`, real or complex.
        x0: first guess, shape `(n,)`; zero if not given.
        precondition: `v -> M^-1 v`, linear.
        rtol: the solve ends when `|b - A x| <= max(rtol |b|, atol)` in the Euclidean norm.
        atol: see `rtol`.
        degree: `l`, of the stabilising polynomial.
        max_steps: most products; the sweep of `2 l` that reaches it is finished.
        window: products without a smaller residual after which the recurrence is restarted, once.

    Returns:
        The best solution met and a `KrylovInfo`, whose steps are products.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsesolve.krylov import bicgstab
        >>> A = jnp.array([[4.0, 1.0], [-2.0, 3.0]])
        >>> x, info = bicgstab(lambda v: A @ v, jnp.array([6.0, 4.0]))
        >>> jnp.round(x, 12), int(info.num_steps)
        (Array([1., 2.], dtype=float64), 4)
    """

    def preconditioned(v: Array) -> Array:
        return v if precondition is None else precondition(v).astype(v.dtype)

    def cycle(residual: Array, target: Array, limit: Array) -> Correction:
        def going(s: _State) -> Array:
            return (s.step < limit) & s.watch.alive(target, window) & ~s.broken

        def sweep(s: _State) -> _State:
            return _sweep(lambda v: matvec(preconditioned(v)), degree, shadow, s)

        shadow = residual / jnp.where(norm(residual) == 0, 1, norm(residual))
        one = jnp.ones((), residual.dtype)
        nothing = jnp.zeros_like(residual)
        start = _State(
            update=nothing,
            residual=residual,
            direction=nothing,
            rho=one,
            alpha=0 * one,
            omega=one,
            step=jnp.asarray(0, jnp.int32),
            broken=jnp.asarray(False),
            watch=Watch.of(residual),
        )
        end = lax.while_loop(going, sweep, start)
        return Correction(preconditioned(end.update), end.step, end.broken, jnp.asarray(False))

    return solve_in_cycles(cycle, matvec, rhs, x0, rtol=rtol, atol=atol, max_steps=max_steps)


def _sweep(product: LinearMap, degree: int, shadow: Array, s: _State) -> _State:
    """`degree` steps of BiCG, then the minimal residual part."""
    x, rho, alpha = s.update, -s.omega * s.rho, s.alpha
    r, u = [s.residual], [s.direction]
    broken = jnp.asarray(False)
    eps = jnp.finfo(s.residual.dtype).eps
    for j in range(degree):
        new_rho = dot(shadow, r[j])
        broken = broken | ((jnp.abs(new_rho) <= eps * norm(r[j])) & (norm(r[j]) > 0))
        beta = alpha * divide(new_rho, rho)
        rho = new_rho
        u = [ri - beta * ui for ri, ui in zip(r, u, strict=True)]
        u.append(product(u[j]))
        sigma = dot(shadow, u[j + 1])
        broken = broken | ((jnp.abs(sigma) <= eps * norm(u[j + 1])) & (norm(u[j]) > 0))
        alpha = divide(rho, sigma)
        r = [ri - alpha * ui for ri, ui in zip(r, u[1:], strict=True)]
        r.append(product(r[j]))
        x = x + alpha * u[0]
    x, residual, direction, omega = _minimal_residual(x, r, u)
    broken = broken | ((omega == 0) & (norm(residual) > 0))
    watch = s.watch.after(residual, 2 * degree)
    return _State(x, residual, direction, rho, alpha, omega, s.step + 2 * degree, broken, watch)


def _minimal_residual(x: Array, r: list[Array], u: list[Array]) -> tuple[Array, Array, Array, Array]:
    """Section 3.4 of the reference: the last three loops of its algorithm."""
    degree = len(r) - 1
    tau: dict[tuple[int, int], Array] = {}
    first = [jnp.zeros(())] * (degree + 1)  # gamma'
    for j in range(1, degree + 1):
        for i in range(1, j):
            tau[i, j] = divide(dot(r[i], r[j]), dot(r[i], r[i]))
            r[j] = r[j] - tau[i, j] * r[i]
        first[j] = divide(dot(r[j], r[0]), dot(r[j], r[j]))
    gamma = list(first)
    for j in range(degree - 1, 0, -1):
        gamma[j] = first[j] - sum(tau[j, i] * gamma[i] for i in range(j + 1, degree + 1))
    x = x + gamma[1] * r[0]
    for j in range(1, degree):
        second = gamma[j + 1] + sum(tau[j, i] * gamma[i + 1] for i in range(j + 1, degree))
        x = x + second * r[j]
    residual = r[0] - sum(first[j] * r[j] for j in range(1, degree + 1))
    direction = u[0] - sum(gamma[j] * u[j] for j in range(1, degree + 1))
    return x, residual, direction, gamma[degree]
