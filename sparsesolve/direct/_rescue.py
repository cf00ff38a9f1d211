"""What happens when refinement fails: GMRES with the factors as preconditioner, then a verdict. Traced.

Factors with `p` perturbed pivots differ from `A` by rank `p`, so that GMRES needs about `p + 1` steps however wrong
they are; factors of drifted values or of lower precision leave clusters that it handles as well. Every cycle solves
for a correction and is judged by the true residual.

The verdict `singular` is a certificate, not a guess: a vector `v` with `|A v|_i <= tol |a_i| |v|` in every row, columns
scaled to the same size, shows that changing each row by a relative `tol` makes the matrix singular (W. Oettli, W.
Prager, Numer. Math. 6 (1964) 405-409, doi:10.1007/BF01386090). Candidates are the direction that `A` shortened most
and, for the transpose, the residual that GMRES could not reduce. Without a certificate the solve is `inaccurate`.
Cost: nothing where no member of a batch needs it (a while loop without iterations). This code is compiled with every
solve and hardly ever runs: so GMRES takes the form of GCR, which compiles faster.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Inexact, Int, Real

from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._status import SolveStatus
from sparsesolve.krylov import gcr_cycle
from sparsesolve.matrix import matvec

_CYCLE = 50  # steps of a cycle, fewer where two vectors a step would take more room than
_ROOM = 2**23  # so many numbers
_SMALL = 1e-3  # residual over right-hand side: up to here nobody doubts a solution of small backward error,
_LARGE = 0.1  # up to here it passes unless the matrix is found to be singular (condition numbers of 1e15)
_CYCLE_RTOL = 1e-6  # one cycle reduces the residual this far at most: the next one starts from the true residual


class Solved(NamedTuple):
    """A solution with its true residual and backward error."""

    x: Inexact[Array, " n"]
    residual: Inexact[Array, " n"]
    error: Real[Array, ""]

    @staticmethod
    def where(condition: Bool[Array, ""], a: Solved, b: Solved) -> Solved:
        return Solved(*(jnp.where(condition, new, old) for new, old in zip(a, b, strict=True)))


class System(NamedTuple):
    """`A x = b` (or its transpose) with factors of a nearby matrix."""

    plan: AbstractDirectPlan
    factors: Any
    data: Inexact[Array, " nnz"]
    rhs: Inexact[Array, " n"]
    transpose: bool
    norm: Real[Array, ""]  # of A, infinity norm
    rhs_norm: Real[Array, ""]

    @staticmethod
    def of(plan: AbstractDirectPlan, factors: Any, data: Array, rhs: Array, transpose: bool) -> System:
        ones = jnp.ones(rhs.shape, jnp.finfo(rhs.dtype).dtype)
        norm = largest(matvec(plan.pattern, jnp.abs(data), ones, transpose=transpose))
        return System(plan, factors, data, rhs, transpose, norm, largest(rhs))

    def product(self, x: Array) -> Array:
        return matvec(self.plan.pattern, self.data, x, transpose=self.transpose)

    def precondition(self, residual: Array) -> Array:
        return self.plan.solve(self.factors, residual, transpose=self.transpose)

    def measure(self, x: Array) -> Solved:
        residual = self.rhs - self.product(x)
        scale = self.scale(x)
        return Solved(x, residual, largest(residual) / jnp.where(scale > 0, scale, jnp.ones_like(scale)))

    def scale(self, x: Array) -> Array:
        return self.norm * largest(x) + self.rhs_norm

    def accepts(self, solved: Solved, small: float) -> Bool[Array, ""]:
        """Whether the backward error passes and the residual is `small` beside the right-hand side: a numerically
        singular matrix gives a huge x, beside which any residual looks small."""
        tolerance = jnp.finfo(self.rhs.dtype).eps ** 0.8
        return (solved.error <= tolerance) & (largest(solved.residual) <= small * self.rhs_norm)


def rescue(system: System, solved: Solved, max_steps: int) -> tuple[Solved, Int[Array, ""], SolveStatus]:
    """Corrects a solution that does not pass, with at most `max_steps` steps of GMRES.

    Returns:
        The better solution, the steps taken, and the status.
    """
    finite = jnp.isfinite(system.norm) & jnp.isfinite(system.rhs_norm)

    def body(state: tuple[Solved, Array, Array, Array]) -> tuple[Solved, Array, Array, Array]:
        old = state[0]
        new, null, steps = _correct(system, old, max_steps)
        right = _null_ratio(system, null, system.transpose)
        left = _null_ratio(system, new.residual, not system.transpose)
        new = Solved.where(largest(old.residual) <= largest(new.residual), old, new)
        return new, steps, jnp.minimum(right, left), jnp.asarray(False)

    # Under vmap a `while_loop` runs while any member wants to; `lax.cond` would compute both branches always.
    start = (solved, jnp.asarray(0), jnp.full_like(system.norm, jnp.inf), finite & ~system.accepts(solved, _SMALL))
    solved, steps, ratio, _ = lax.while_loop(lambda state: state[3], body, start)
    eps = jnp.finfo(system.rhs.dtype).eps
    passed = system.accepts(solved, _SMALL) | (system.accepts(solved, _LARGE) & (ratio > 100 * eps))
    status = SolveStatus.where(ratio <= eps**0.75, SolveStatus.singular, SolveStatus.inaccurate)
    status = SolveStatus.where(passed, SolveStatus.successful, status)
    return solved, steps, SolveStatus.where(finite, status, SolveStatus.nonfinite)


def _correct(system: System, solved: Solved, max_steps: int) -> tuple[Solved, Array, Int[Array, ""]]:
    """Cycles of corrections, as long as each reduces the backward error, and the vector that `A` shortens most."""
    eps = jnp.finfo(system.rhs.dtype).eps
    length = min(_CYCLE, max(8, _ROOM // system.rhs.size), max(1, max_steps))
    useful = largest(solved.residual) < _SMALL * system.rhs_norm  # false for NaN too
    zero = jnp.zeros_like(system.rhs)
    nothing = Solved(zero, system.rhs, jnp.asarray(1.0, solved.error.dtype))

    def cycle(state: tuple[Solved, Array, Array, Array]) -> tuple[Solved, Array, Array, Array]:
        old, _, steps, _ = state
        size = largest(old.residual)
        found = gcr_cycle(
            system.product,
            old.residual / size,
            precondition=system.precondition,
            target=jnp.clip(eps * system.scale(old.x) / size, _CYCLE_RTOL, 0.5),
            num_steps=length,
        )
        new = system.measure(old.x + found.update * size)
        steps = steps + found.num_steps
        going = (new.error > 2 * eps) & (new.error < old.error / 2) & (steps + length <= max_steps)
        return Solved.where(new.error < old.error, new, old), found.null, steps, going

    start = (Solved.where(useful, solved, nothing), zero, jnp.asarray(0, jnp.int32), jnp.asarray(max_steps > 0))
    found, null, steps, _ = lax.while_loop(lambda state: state[3], cycle, start)
    return found, null, steps.astype(int)


def _null_ratio(system: System, v: Array, transpose: bool) -> Real[Array, ""]:
    """`max_i |A v|_i / (|A D^-1| 1)_i` for `v` scaled to `|D v| = 1`, where `D` holds the largest entries of the
    columns (infinity norms); infinite for `v` zero or not finite."""
    pattern, size = system.plan.pattern, jnp.abs(system.data)
    source = pattern.rows if transpose else pattern.indices
    column = jnp.zeros(v.shape, size.dtype).at[source].max(size)
    column = jnp.where(column > 0, column, largest(size))  # a zero column: its unit vector is a null vector
    length = largest(column * v)
    image = matvec(pattern, system.data, v / jnp.where(length > 0, length, 1), transpose=transpose)
    bound = matvec(pattern, size, 1 / jnp.where(column > 0, column, 1), transpose=transpose)
    ratio = largest(image / jnp.where(bound > 0, bound, 1))
    return jnp.where((length > 0) & jnp.isfinite(ratio), ratio, jnp.inf)


def largest(x: Inexact[Array, " n"]) -> Real[Array, ""]:
    """Infinity norm; NaN where an entry is."""
    return jnp.max(jnp.abs(x), initial=0)
