"""The conjugate gradient method for Hermitian positive definite matrices, preconditioned.

    alpha = r^H z / p^H A p,   d += alpha p,   r -= alpha A p,   z = M^-1 r,   p <- z + beta p

with the flexible `beta = z_new^H (r_new - r) / (z^H r)`, which equals the usual one for a fixed preconditioner and
tolerates one that changes a little. `p^H A p <= 0` or `r^H M^-1 r <= 0` reveals a matrix or a preconditioner that is
not positive definite; then the solve ends with `BREAKDOWN`.

References: M. R. Hestenes, E. Stiefel, J. Res. Nat. Bur. Standards 49 (1952) 409-436. Y. Notay, Flexible conjugate
gradients, SIAM J. Sci. Comput. 22 (2000) 1444-1460, doi:10.1137/S1064827599362314.
Cost of a step: one product, one preconditioner, 14 n flops. Memory: 5 vectors.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact, Real

from sparsesolve.krylov._base import Correction, KrylovInfo, LinearMap, Watch, divide, dot, norm, solve_in_cycles


class _State(NamedTuple):
    update: Array
    residual: Array
    direction: Array
    rho: Array  # r^H M^-1 r
    step: Array
    hopeless: Array
    watch: Watch


def cg(
    matvec: LinearMap,
    rhs: Inexact[Array, " n"],
    x0: Inexact[Array, " n"] | None = None,
    *,
    precondition: LinearMap | None = None,
    rtol: float | Real[Array, ""] = 1e-8,
    atol: float | Real[Array, ""] = 0.0,
    max_steps: int = 1000,
    window: int = 500,
) -> tuple[Inexact[Array, " n"], KrylovInfo]:
    """Solves `A x = b` for a Hermitian positive definite `A` by conjugate gradients.

    Args:
        matvec: `v -> A v`, linear.
        rhs: `b`, shape `(n,)`, real or complex.
        x0: first guess, shape `(n,)`; zero if not given.
        precondition: `v -> M^-1 v`, Hermitian positive definite.
        rtol: the solve ends when `|b - A x| <= max(rtol |b|, atol)` in the Euclidean norm.
        atol: see `rtol`.
        max_steps: most steps.
        window: steps without a smaller residual after which the recurrence is restarted, once.

    Returns:
        The best solution met and a `KrylovInfo`.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsesolve.krylov import cg
        >>> x, info = cg(lambda v: jnp.array([1.0, 2.0, 4.0]) * v, jnp.ones(3))
        >>> jnp.round(x, 12), int(info.num_steps)
        (Array([1.  , 0.5 , 0.25], dtype=float64), 3)
    """

    def preconditioned(v: Array) -> Array:
        return v if precondition is None else precondition(v).astype(v.dtype)

    def cycle(residual: Array, target: Array, limit: Array) -> Correction:
        def going(s: _State) -> Array:
            return (s.step < limit) & s.watch.alive(target, window) & ~s.hopeless

        z = preconditioned(residual)
        rho = jnp.real(dot(residual, z))
        start = _State(
            jnp.zeros_like(residual),
            residual,
            z,
            rho,
            jnp.asarray(0, jnp.int32),
            rho <= 0,
            Watch.of(residual),
        )
        end = lax.while_loop(going, lambda s: _step(matvec, preconditioned, s), start)
        return Correction(end.update, end.step, jnp.asarray(False), end.hopeless)

    return solve_in_cycles(cycle, matvec, rhs, x0, rtol=rtol, atol=atol, max_steps=max_steps)


def _step(matvec: LinearMap, preconditioned: LinearMap, s: _State) -> _State:
    p = s.direction
    q = matvec(p)
    curvature = jnp.real(dot(p, q))
    indefinite = curvature <= jnp.finfo(curvature.dtype).eps * norm(p) * norm(q)  # False for NaN, which the driver sees
    alpha = jnp.where(indefinite, 0, divide(s.rho, curvature)).astype(p.dtype)
    residual = s.residual - alpha * q
    z = preconditioned(residual)
    rho = jnp.real(dot(residual, z))
    beta = divide(jnp.real(dot(z, residual - s.residual)), s.rho).astype(p.dtype)
    watch = s.watch.after(residual, 1)
    return _State(
        update=s.update + alpha * p,
        residual=residual,
        direction=z + beta * p,
        rho=rho,
        step=s.step + 1,
        hopeless=indefinite | ((rho <= 0) & (watch.norm > 0)),
        watch=watch,
    )
