"""The equations without derivatives of `M y' = f(t, y)`, and Newton's correction of a state that does not solve them.

Where rows of M are empty and as many columns, those rows are the equations, those columns the unknowns, and a
correction d solves one sparse system, of the rows of J there and the rows of M elsewhere:

    J d = -f  (rows without entries),        M d = 0  (the others).

For any other singular M of moderate size the equations are `N^T f = 0` with the left kernel N of M, and

    (M + s N N^T J) d = -s N N^T f

keeps what M d tells and is regular where the index is 1.

Reference: P. N. Brown, A. C. Hindmarsh, L. R. Petzold, "Consistent initial condition calculation for
differential-algebraic systems", SIAM J. Sci. Comput. 19 (1998) 1495, doi:10.1137/S1064827595289996.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from sparsesolve.matrix import SparseMatrix
from sparsesolve.ode.system._system import StiffSystem

MOST = 30
LARGEST_DENSE = 400  # up to here a matrix without empty rows is looked at with dense matrices


@dataclasses.dataclass(frozen=True, eq=False)
class Algebraic:
    """Which equations hold at every time, and which unknowns may move. Host-side.

    Attributes:
        equations: rows of M without entries.
        kernel: otherwise N, with a column for each equation; `None` where rows and columns without entries tell all.
    """

    equations: np.ndarray
    kernel: np.ndarray | None

    @classmethod
    def of(cls, mass: SparseMatrix) -> Algebraic | None:
        """From the values of a mass matrix; `None` where it is regular (or large, without empty rows)."""
        size = mass.shape[0]
        there = np.asarray(mass.data) != 0
        rows, columns = np.ones(size, bool), np.ones(size, bool)
        rows[mass.pattern.rows[there]] = False
        columns[mass.pattern.indices[there]] = False
        if rows.sum() == columns.sum() > 0:
            return cls(rows, None)
        if size > LARGEST_DENSE:
            return None
        left, values, _ = np.linalg.svd(np.asarray(mass.todense()))
        zero = values <= 64 * np.finfo(left.dtype).eps * max(values[0], np.finfo(left.dtype).tiny)
        return cls(rows, left[:, zero]) if zero.any() else None


def correction(system: StiffSystem, parts: Algebraic, t: Array) -> Callable[[Float[Array, " n"]], Float[Array, " n"]]:
    """`correct(x)`: Newton's correction of a state. Its derivative at a solution is that of the implicit function."""
    kernel = None if parts.kernel is None else jnp.asarray(parts.kernel, system.dtype)
    rows = jnp.asarray(parts.equations)
    pattern = system.plan.pattern

    def correct(x: Array) -> Array:
        fixed_t, fixed = lax.stop_gradient((t, x))
        jacobian = lax.stop_gradient(system.jacobian(fixed_t, fixed))
        mass = lax.stop_gradient(system.matrix(jnp.zeros_like(jacobian), 1.0, 0.0, fixed_t, fixed))
        slope = system.rhs(t, x)
        if kernel is None:
            data = jnp.where(rows[pattern.rows], jacobian, mass)
            return _solve(system, data, jnp.where(rows, -slope, 0.0))
        size = jnp.max(jnp.abs(mass)) / jnp.max(jnp.abs(jacobian), initial=jnp.finfo(system.dtype).tiny)
        projected = kernel @ (kernel.T @ SparseMatrix(jacobian, pattern).todense())
        whole = SparseMatrix(mass, pattern).todense() + size * projected
        return jnp.linalg.solve(whole, -size * (kernel @ (kernel.T @ slope)))

    return correct


def _solve(system: StiffSystem, data: Array, b: Array) -> Array:
    system = lax.stop_gradient(system)
    state = system.state_of(system.factor(data), b.dtype)
    turned, _ = system.linear_solver.transpose(state, {})

    def solve(chosen: Any) -> Callable[[Any, Array], Array]:
        return lambda _, r: system.linear_solver.compute(chosen, r, {})[0]

    matrix = SparseMatrix(data, system.plan.pattern)
    return lax.custom_linear_solve(lambda v: matrix @ v, b, solve(state), solve(turned))


def relative_size(change: Float[Array, " n"], x: Float[Array, " n"]) -> Float[Array, ""]:
    """The largest change, relative to `1 + |x|`."""
    return jnp.max(jnp.abs(change) / (1.0 + jnp.abs(x)), initial=0.0)


def corrected(correct: Callable[[Array], Array], x: Float[Array, " n"]) -> tuple[Float[Array, " n"], Bool[Array, ""]]:
    """A state that solves the equations without derivatives, and whether one was found; traced.

    Derivatives are those of the implicit function: by what stays and what f depends on; the guess drops out.
    """

    def proceed(carry: tuple[Array, Array, Array, Array]) -> Array:
        _, size, last, count = carry
        return (count < MOST) & jnp.isfinite(size) & ~ended(size, last)

    def advance(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        now, size, _, count = carry
        change = lax.stop_gradient(correct(now))
        return now + change, relative_size(change, now), size, count + 1

    start = lax.stop_gradient(x)
    huge = jnp.asarray(jnp.finfo(x.dtype).max, x.dtype)
    found, size, last, _ = lax.while_loop(proceed, advance, (start, huge, huge, jnp.asarray(0)))
    found, size, last = jax.tree.map(lax.stop_gradient, (found, size, last))
    whole = found + (x - start)
    return whole + correct(whole), ended(size, last)


def ended(size: Any, last: Any) -> Any:
    """Whether corrections have become as small as rounding lets them."""
    eps = jnp.finfo(jnp.result_type(size)).eps
    return (size < 1e4 * eps) | ((size < eps**0.375) & (size > 0.5 * last))
