"""IDR(s): induced dimension reduction, with biorthogonal residual differences.

Residuals are forced into shrinking spaces, `G_{j+1} = (I - omega A M^-1)(G_j ∩ P^perp)`, by `s` shadow vectors `P`: at
most `n + n / s` products in exact arithmetic, short recurrences throughout. With `G` the last `s` residual differences,
`A U = G` and `P^H G` lower triangular, a step of a sweep is

    c = (P^H G)^-1 P^H r,    v = r - G c,    u = U c + omega M^-1 v,    g = A u

made biorthogonal to the earlier columns; after `s` of them one step `r <- (I - omega A M^-1) r` enters the next space.
`s = 1` is close to BiCGStab; `s = 4` close to full GMRES on many problems.

Reference: M. B. van Gijzen, P. Sonneveld, Algorithm 913: an elegant IDR(s) variant that efficiently exploits
biorthogonality properties, ACM Trans. Math. Softw. 38 (2011) 5, doi:10.1145/2049662.2049667.
Cost of a product: one preconditioner, about `16 s n` flops. Memory: `3 s + 4` vectors, whatever the steps.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact, Real

from sparsesolve.krylov._base import Correction, KrylovInfo, LinearMap, Watch, divide, dot, norm, solve_in_cycles

_ANGLE = 0.7  # keeps omega away from zero where A r is nearly orthogonal to r ("maintaining the convergence")


class _State(NamedTuple):
    update: Array
    residual: Array
    differences: Array  # G, (s, n)
    directions: Array  # U, (s, n)
    small: Array  # P^H G, (s, s), lower triangular
    shadowed: Array  # P^H r, (s,)
    omega: Array
    column: Array  # which column of G comes next; s: the step into the next space
    step: Array
    broken: Array
    watch: Watch


def idr(
    matvec: LinearMap,
    rhs: Inexact[Array, " n"],
    x0: Inexact[Array, " n"] | None = None,
    *,
    precondition: LinearMap | None = None,
    rtol: float | Real[Array, ""] = 1e-8,
    atol: float | Real[Array, ""] = 0.0,
    num_shadows: int = 4,
    max_steps: int = 1000,
    window: int = 200,
) -> tuple[Inexact[Array, " n"], KrylovInfo]:
    """Solves `A x = b` by IDR(s).

    Args:
        matvec: `v -> A v`, linear.
        rhs: `b`, shape `(n,)`, real or complex.
        x0: first guess, shape `(n,)`; zero if not given.
        precondition: `v -> M^-1 v`, linear.
        rtol: the solve ends when `|b - A x| <= max(rtol |b|, atol)` in the Euclidean norm.
        atol: see `rtol`.
        num_shadows: `s`; more make fewer steps and cost memory.
        max_steps: most steps, of one product each.
        window: steps without a smaller residual after which the recurrence is restarted, once.

    Returns:
        The best solution met and a `KrylovInfo`.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsesolve.krylov import idr
        >>> A = jnp.array([[4.0, 1.0], [-2.0, 3.0]])
        >>> x, info = idr(lambda v: A @ v, jnp.array([6.0, 4.0]))
        >>> jnp.round(x, 12)
        Array([1., 2.], dtype=float64)
    """
    s = max(1, min(num_shadows, rhs.shape[0]))

    def preconditioned(v: Array) -> Array:
        return v if precondition is None else precondition(v).astype(v.dtype)

    def cycle(residual: Array, target: Array, limit: Array) -> Correction:
        def going(state: _State) -> Array:
            return (state.step < limit) & state.watch.alive(target, window) & ~state.broken

        shadows = _shadows(s, residual)
        nothing = jnp.zeros((s, residual.shape[0]), residual.dtype)
        start = _State(
            update=jnp.zeros_like(residual),
            residual=residual,
            differences=nothing,
            directions=nothing,
            small=jnp.eye(s, dtype=residual.dtype),
            shadowed=_product(jnp.conj(shadows), residual),
            omega=jnp.ones((), residual.dtype),
            column=jnp.asarray(0, jnp.int32),
            step=jnp.asarray(0, jnp.int32),
            broken=jnp.asarray(False),
            watch=Watch.of(residual),
        )
        end = lax.while_loop(going, lambda state: _step(matvec, preconditioned, shadows, state), start)
        return Correction(end.update, end.step, end.broken, jnp.asarray(False))

    return solve_in_cycles(cycle, matvec, rhs, x0, rtol=rtol, atol=atol, max_steps=max_steps)


def _step(matvec: LinearMap, preconditioned: LinearMap, shadows: Array, st: _State) -> _State:
    """One product: a column of `G`, or (after the last) the step into the next space."""
    s, k = st.small.shape[0], st.column
    entering = k == s
    index, row = jnp.arange(s), jnp.minimum(k, s - 1)
    eps = jnp.finfo(st.residual.dtype).eps
    c = _forward(st.small, st.shadowed, index >= k)
    v = preconditioned(st.residual - _product(c, st.differences))
    u = jnp.where(entering, v, _product(c, st.directions) + st.omega * v)
    g = matvec(u)

    # A column: biorthogonal to the earlier ones, then the residual orthogonal to one more shadow.
    along = _product(jnp.conj(shadows), g)
    a = _forward(st.small, along, index < jnp.where(entering, 0, k))
    g_column, u_column = g - _product(a, st.differences), u - _product(a, st.directions)
    column = jnp.where(index >= k, along - _product(st.small, a), 0)
    pivot = column[row]
    beta = divide(st.shadowed[row], pivot)

    # The step into the next space.
    overlap, length = dot(g, st.residual), norm(g)
    angle = divide(jnp.abs(overlap), length * st.watch.norm)
    omega = divide(overlap, (length**2).astype(g.dtype)) * jnp.where(angle < _ANGLE, divide(_ANGLE, angle), 1)

    factor = jnp.where(entering, omega, beta)
    residual = st.residual - factor * jnp.where(entering, g, g_column)
    tiny = jnp.where(entering, jnp.abs(overlap) <= eps * length * st.watch.norm, jnp.abs(pivot) <= eps * norm(g_column))
    watch = st.watch.after(residual, 1)
    return _State(
        update=st.update + factor * jnp.where(entering, u, u_column),
        residual=residual,
        differences=st.differences.at[row].set(jnp.where(entering, st.differences[row], g_column)),
        directions=st.directions.at[row].set(jnp.where(entering, st.directions[row], u_column)),
        small=jnp.where((index == k)[None], column[:, None], st.small),
        shadowed=_product(jnp.conj(shadows), residual),
        omega=jnp.where(entering, omega, st.omega),
        column=jnp.where(entering, 0, k + 1),
        step=st.step + 1,
        broken=tiny & (watch.norm > 0),
        watch=watch,
    )


def _forward(lower: Array, rhs: Array, wanted: Array) -> Array:
    """Solves with the rows and columns of a lower triangular matrix that are `wanted`; zero elsewhere."""
    out = jnp.zeros_like(rhs)
    for i in range(rhs.shape[0]):
        value = divide(rhs[i] - jnp.sum(lower[i] * out), lower[i, i])
        out = out.at[i].set(jnp.where(wanted[i], value, 0))
    return out


def _shadows(s: int, residual: Array) -> Array:
    """`s` orthonormal pseudo-random vectors as rows, the same in every solve."""
    real = jnp.finfo(residual.dtype).dtype
    rows: list[Array] = []
    for v in jax.random.normal(jax.random.key(913), (s, residual.shape[0]), real):
        for row in rows:
            v = v - dot(row, v) * row
        rows.append(v / norm(v))
    return jnp.stack(rows).astype(residual.dtype)


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
