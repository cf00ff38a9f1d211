"""Generalised conjugate residuals: one cycle of the least residual over a Krylov space, in few traced operations.

Each step takes a direction `z = M^-1 w`, makes `q = A z` orthonormal to its predecessors (changing `z` alike), and
removes the component of the residual along it:

    x <- x + (q^H r) z,     r <- r - (q^H r) q.

The residuals are those of right-preconditioned flexible GMRES. Where GCR would break down (`q^H r = 0` while GMRES
merely stalls) the next direction comes from `w = q` instead of `w = r`, which keeps the Krylov space growing
(Orthodir). A direction that loses all of `q` in the orthogonalisation is a null vector of `A` up to rounding; it is
returned, for it tells a singular matrix from a bad preconditioner.

References: S. C. Eisenstat, H. C. Elman, M. H. Schultz, Variational iterative methods for nonsymmetric systems of
linear equations, SIAM J. Numer. Anal. 20 (1983) 345-357, doi:10.1137/0720023.
Cost of a step: one product, one preconditioner, `16 m n` flops. Memory `2 m n`. It compiles in a fraction of the time
of `gmres`, which is why solves that hardly ever need it carry this one.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact, Int, Real

from sparsesolve.krylov._base import LinearMap, norm

_STALLED = 0.95  # a step that leaves more than this of the residual does not supply the next direction


class GCRResult(NamedTuple):
    """What a cycle of GCR found.

    Attributes:
        update: `d` with `A d` near the residual it was given, `(n,)`.
        num_steps: products taken.
        null: the direction of unit length that `A` shortens most, `(n,)`.
    """

    update: Inexact[Array, " n"]
    num_steps: Int[Array, ""]
    null: Inexact[Array, " n"]


class _State(NamedTuple):
    update: Array
    residual: Array
    size: Array  # norm of the residual
    next: Array  # what the next direction is made from
    images: Array  # q_j, (m, n), zero beyond the last one
    directions: Array  # z_j, (m, n)
    null: Array
    shortened: Array  # |A null| / |null|
    step: Array
    broken: Array


def gcr_cycle(
    matvec: LinearMap,
    residual: Inexact[Array, " n"],
    *,
    precondition: LinearMap,
    target: Real[Array, ""],
    num_steps: int,
) -> GCRResult:
    """At most `num_steps` steps for `A d = residual`, until the residual left is at most `target`.

    Args:
        matvec: `v -> A v`, linear.
        residual: shape `(n,)`, real or complex.
        precondition: `v -> M^-1 v`, about `A^-1 v`.
        target: Euclidean norm.
        num_steps: length of the cycle.
    """
    m = max(1, min(num_steps, residual.shape[0]))
    eps = jnp.finfo(residual.dtype).eps
    size = norm(residual)
    nothing = jnp.zeros((m, residual.shape[0]), residual.dtype)
    zero = jnp.zeros_like(residual)

    def step(s: _State) -> _State:
        z = precondition(s.next).astype(residual.dtype)
        q = matvec(z)
        before, reach = norm(q), norm(z)

        def project(_: Array, pair: tuple[Array, Array]) -> tuple[Array, Array]:
            q, z = pair
            along = _product(jnp.conj(s.images), q)
            return q - _product(along, s.images), z - _product(along, s.directions)

        q, z = lax.fori_loop(0, 2, project, (q, z))
        tail, length = norm(q), norm(z)
        sound = length > 1e-3 * reach  # otherwise what is left of z is rounding
        shortened = jnp.where(sound, tail / jnp.where(sound, length, 1), jnp.inf)
        best = shortened < s.shortened
        broken = ~(tail > 100 * eps * before)  # true for NaN too
        safe = jnp.where(broken, 1, tail)
        q, z = q * jnp.where(broken, 0, 1 / safe), z / safe
        along = jnp.where(broken, 0, jnp.sum(jnp.conj(q) * s.residual))
        left = s.residual - along * q
        now = norm(left)
        return _State(
            update=s.update + jnp.where(broken, 0, along * z),
            residual=left,
            size=now,
            next=jnp.where(now > _STALLED * s.size, q, left),
            images=s.images.at[s.step].set(q),
            directions=s.directions.at[s.step].set(jnp.where(broken, 0, z)),
            null=jnp.where(best, z, s.null),
            shortened=jnp.where(best, shortened, s.shortened),
            step=s.step + 1,
            broken=broken,
        )

    def going(s: _State) -> Array:
        return (s.size > target) & (s.step < m) & ~s.broken

    infinite = jnp.full_like(size, jnp.inf)
    start = _State(
        zero, residual, size, residual, nothing, nothing, zero, infinite, jnp.asarray(0, jnp.int32), jnp.asarray(False)
    )
    end = lax.while_loop(going, step, start)
    length = norm(end.null)
    return GCRResult(end.update, end.step, end.null / jnp.where(length > 0, length, 1))


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
