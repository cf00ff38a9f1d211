"""Flexible GMRES: the smallest residual over a Krylov space, restarted, preconditioned from the right.

One cycle of `m` steps from the residual `r` builds, with `v_1 = r / |r|`,

    A Z = V H,      z_j = M^-1 v_j,      V orthonormal, H upper Hessenberg, (m + 1) x m,

and returns `d = Z y`, where `y` minimises `| |r| e_1 - H y |`. Because the `z_j` are kept, the preconditioner may
change from step to step. Orthogonality comes from classical Gram-Schmidt, repeated where more than a digit was lost
("twice is enough"; more repetitions changed no step count), over the whole basis with its zero rows: XLA copies what a
loop slices off. Givens rotations are kept as one product `Q` and the triangular factor as its inverse, both grown by a
column a step: small products instead of loops over single rotations.

References: Y. Saad, A flexible inner-outer preconditioned GMRES algorithm, SIAM J. Sci. Comput. 14 (1993) 461-469,
doi:10.1137/0914028. L. Giraud, J. Langou, M. Rozloznik, Comput. Math. Appl. 50 (2005) 1069-1075,
doi:10.1016/j.camwa.2005.08.009.
Cost of a step: one product, one preconditioner, `4 m n` to `8 m n` flops. Memory: `(2 m + 1) n` numbers, `(m + 1) n`
without a preconditioner.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact, Real

from sparsesolve.krylov._base import Correction, KrylovInfo, LinearMap, norm, solve_in_cycles


class _Arnoldi(NamedTuple):
    basis: Array  # (m + 1, n), row j is v_j; zero beyond the last one
    directions: Array | None  # (m, n), row j is z_j; None without a preconditioner, when z_j = v_j
    rotation: Array  # Q, (m + 1, m + 1)
    inverse: Array  # inverse of the triangular factor, (m, m); zero columns where there is none yet
    rhs: Array  # Q |r| e_1, (m + 1,); entry `step` is the norm of the residual so far
    step: Array
    broken: Array


def gmres(
    matvec: LinearMap,
    rhs: Inexact[Array, " n"],
    x0: Inexact[Array, " n"] | None = None,
    *,
    precondition: LinearMap | None = None,
    rtol: float | Real[Array, ""] = 1e-8,
    atol: float | Real[Array, ""] = 0.0,
    restart: int = 30,
    max_steps: int = 1000,
) -> tuple[Inexact[Array, " n"], KrylovInfo]:
    """Solves `A x = b` by restarted flexible GMRES.

    Args:
        matvec: `v -> A v`, linear.
        rhs: `b`, shape `(n,)`, real or complex.
        x0: first guess, shape `(n,)`; zero if not given.
        precondition: `v -> M^-1 v`, about `A^-1 v`; need not be linear nor the same in every step.
        rtol: the solve ends when `|b - A x| <= max(rtol |b|, atol)` in the Euclidean norm.
        atol: see `rtol`.
        restart: steps a cycle; `2 restart + 1` vectors are stored.
        max_steps: most steps in all.

    Returns:
        The best solution met and a `KrylovInfo`.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsesolve.krylov import gmres
        >>> A = jnp.array([[4.0, 1.0], [2.0, 3.0]])
        >>> x, info = gmres(lambda v: A @ v, jnp.array([6.0, 8.0]))
        >>> jnp.round(x, 12), int(info.num_steps), int(info.status)
        (Array([1., 2.], dtype=float64), 2, 0)
    """
    m = max(1, min(restart, rhs.shape[0], max_steps))

    def cycle(residual: Array, target: Array, limit: Array) -> Correction:
        def going(s: _Arnoldi) -> Array:
            return (s.step < jnp.minimum(m, limit)) & (jnp.abs(s.rhs[s.step]) > target) & ~s.broken

        end = lax.while_loop(going, lambda s: _arnoldi_step(matvec, precondition, s), _start(residual, m, precondition))
        weights = _product(end.inverse, end.rhs[:m])
        update = _product(weights, end.basis[:m] if end.directions is None else end.directions)
        # A step that broke down was taken too.
        steps = end.step + end.broken.astype(end.step.dtype)
        return Correction(update, steps, end.broken, jnp.asarray(False))

    return solve_in_cycles(cycle, matvec, rhs, x0, rtol=rtol, atol=atol, max_steps=max_steps)


def _start(residual: Array, m: int, precondition: LinearMap | None) -> _Arnoldi:
    dtype, n = residual.dtype, residual.shape[0]
    beta = norm(residual)
    first = residual / jnp.where(beta == 0, 1, beta)
    return _Arnoldi(
        basis=jnp.zeros((m + 1, n), dtype).at[0].set(first),
        directions=None if precondition is None else jnp.zeros((m, n), dtype),
        rotation=jnp.eye(m + 1, dtype=dtype),
        inverse=jnp.zeros((m, m), dtype),
        rhs=jnp.zeros(m + 1, dtype).at[0].set(beta.astype(dtype)),
        step=jnp.asarray(0, jnp.int32),
        broken=jnp.asarray(False),
    )


def _arnoldi_step(matvec: LinearMap, precondition: LinearMap | None, s: _Arnoldi) -> _Arnoldi:
    """One more basis vector, one more column of the least-squares problem."""
    j, m = s.step, s.inverse.shape[0]
    v = s.basis[j]
    z = v if precondition is None else precondition(v).astype(v.dtype)
    w = matvec(z)
    size = norm(w)
    w, coefficients = _orthogonalise(s.basis, w, size)
    tail = norm(w)
    eps = 10 * jnp.finfo(v.dtype).eps
    tail = jnp.where(tail <= eps * size, 0, tail)  # the space is invariant: the solution lies in it
    w = w / jnp.where(tail == 0, 1, tail) * (tail != 0)

    column = _product(s.rotation, coefficients.at[j + 1].set(tail.astype(v.dtype)))
    a = column[j]
    radius = jnp.sqrt(jnp.abs(a) ** 2 + tail**2)
    broken = radius <= eps * size  # A z_j lies in the span of the earlier ones: the matrix is singular, or M is
    safe = jnp.where(broken, 1, radius)
    c, d = a / safe, tail / safe
    row, next_row = s.rotation[j], s.rotation[j + 1]
    rotation = s.rotation.at[j].set(jnp.conj(c) * row + d * next_row).at[j + 1].set(-d * row + c * next_row)
    above = jnp.where(jnp.arange(m) < j, column[:m], 0)
    inverse = s.inverse.at[:, j].set((-_product(s.inverse, above) / safe).at[j].set(1 / safe))
    rhs = s.rhs.at[j].set(jnp.conj(c) * s.rhs[j]).at[j + 1].set(-d * s.rhs[j])
    return _Arnoldi(
        basis=s.basis.at[j + 1].set(w),
        directions=None if s.directions is None else s.directions.at[j].set(z),
        rotation=jnp.where(broken, s.rotation, rotation),
        inverse=jnp.where(broken, s.inverse, inverse),
        rhs=jnp.where(broken, s.rhs, rhs),
        step=jnp.where(broken, j, j + 1),
        broken=broken,
    )


def _orthogonalise(basis: Array, w: Array, size: Array) -> tuple[Array, Array]:
    """`w` without its components along the rows of `basis`, and those components. Rows not there yet are zero."""

    def project(w: Array, coefficients: Array) -> tuple[Array, Array]:
        along = _product(jnp.conj(basis), w)
        return w - _product(along, basis), coefficients + along

    w, coefficients = project(w, jnp.zeros(basis.shape[0], w.dtype))
    return lax.cond(norm(w) < 0.1 * size, project, lambda *same: same, w, coefficients)


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
