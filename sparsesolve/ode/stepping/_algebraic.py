"""The equations without derivatives of `M y' = f(t, y)`, and Newton's correction of a state that does not solve them.

Where rows of M are empty and as many columns, those rows are the equations, those columns the unknowns, and a
correction d solves one sparse system, of the rows of J there and the rows of M elsewhere:

    J d = -f  (rows without entries),        M d = 0  (the others).

For any other singular M of moderate size the equations are `N^T f = 0` with the left kernel N of M, and

    (M + s N N^T J) d = -s N N^T f

keeps what M d tells and is regular where the index is 1.

References: P. N. Brown, A. C. Hindmarsh, L. R. Petzold, "Consistent initial condition calculation for
differential-algebraic systems", SIAM J. Sci. Comput. 19 (1998) 1495, doi:10.1137/S1064827595289996. P. Deuflhard,
Newton Methods for Nonlinear Problems, Springer 2011, section 3.3 (damping), doi:10.1007/978-3-642-23899-4.
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

MOST = 60
LARGEST_DENSE = 400  # up to here a matrix without empty rows is looked at with dense matrices
_LEAST = 1e-6  # damping

Correction = Callable[[Array], Callable[[Array], Array]]
"""`correction(near)(x)`: of `x`, with matrices at `near`, which are factorized once."""


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


def correction(system: StiffSystem, parts: Algebraic, t: Array) -> Correction:
    """Newton's correction of a state. Its derivative at a solution is that of the implicit function."""
    kernel = None if parts.kernel is None else jnp.asarray(parts.kernel, system.dtype)
    rows = jnp.asarray(parts.equations)
    pattern = system.plan.pattern

    def at(near: Array) -> Callable[[Array], Array]:
        fixed_t, fixed = lax.stop_gradient((t, near))
        jacobian = lax.stop_gradient(system.jacobian(fixed_t, fixed))
        mass = lax.stop_gradient(system.matrix(jnp.zeros_like(jacobian), 1.0, 0.0, fixed_t, fixed))
        if kernel is None:
            solve = sparse_solver(system, jnp.where(rows[pattern.rows], jacobian, mass))
            return lambda x: solve(jnp.where(rows, -system.rhs(t, x), 0.0))
        size = jnp.max(jnp.abs(mass)) / jnp.max(jnp.abs(jacobian), initial=jnp.finfo(system.dtype).tiny)
        onto = kernel @ kernel.T
        projected = onto @ SparseMatrix(jacobian, pattern).todense()
        whole = SparseMatrix(mass, pattern).todense() + size * projected
        return lambda x: jnp.linalg.solve(whole, -size * (onto @ system.rhs(t, x)))

    return at


def sparse_solver(system: StiffSystem, data: Array) -> Callable[[Array], Array]:
    """Factorizes a matrix that has the pattern of `M - h J`; solutions are differentiable by the right-hand side."""
    system = lax.stop_gradient(system)
    state = system.state_of(system.factor(data), system.dtype)
    turned, _ = system.linear_solver.transpose(state, {})

    def solve(chosen: Any) -> Callable[[Any, Array], Array]:
        return lambda _, r: system.linear_solver.compute(chosen, r, {})[0]

    matrix = SparseMatrix(data, system.plan.pattern)
    return lambda b: lax.custom_linear_solve(lambda v: matrix @ v, b, solve(state), solve(turned))


def relative_size(change: Float[Array, " n"], x: Float[Array, " n"]) -> Float[Array, ""]:
    """The largest change, relative to `1 + |x|`."""
    return jnp.max(jnp.abs(change) / (1.0 + jnp.abs(x)), initial=0.0)


def corrected(newton: Correction, x: Float[Array, " n"]) -> tuple[Float[Array, " n"], Bool[Array, ""]]:
    """A state that solves the equations without derivatives, and whether one was found; traced.

    Newton's method, damped by the natural monotonicity test: with the matrices of a step its simplified successor must
    be shorter. Along an exponential (a diode, a reaction) whole steps would overshoot by orders of magnitude and creep
    back. Derivatives are those of the implicit function: by what stays and what f depends on; the guess drops out.
    """
    one = jnp.ones((), x.real.dtype)
    huge = jnp.finfo(one.dtype).max * one
    rounding = jnp.finfo(x.dtype).eps ** 0.375

    def proceed(carry: tuple[Array, Array, Array, Array, Array]) -> Array:
        _, size, last, damping, count = carry
        return (count < MOST) & ~ended(size, last) & (damping > _LEAST)

    def advance(carry: tuple[Array, Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array, Array]:
        now, size, _, damping, count = carry
        correct = newton(now)
        change = lax.stop_gradient(correct(now))
        length = relative_size(change, now)
        trial = now + damping * change
        left = relative_size(lax.stop_gradient(correct(trial)), now)
        good = (left <= (1 - damping / 4) * length) | (length <= rounding)
        whole = jnp.where(good & (damping == 1), length, huge)
        eased = jnp.where(good, jnp.minimum(4 * damping, 1.0), damping / 4)
        return jnp.where(good, trial, now), whole, size, eased, count + 1

    start = lax.stop_gradient(x)
    found, size, last, *_ = lax.while_loop(proceed, advance, (start, huge, huge, one, jnp.asarray(0)))
    found, size, last = jax.tree.map(lax.stop_gradient, (found, size, last))
    near = found + (x - start)
    return near + newton(found)(near), ended(size, last)


def ended(size: Any, last: Any) -> Any:
    """Whether corrections have become as small as rounding lets them."""
    eps = jnp.finfo(jnp.result_type(size)).eps
    return (size < 1e4 * eps) | ((size < eps**0.375) & (size > 0.5 * last))
