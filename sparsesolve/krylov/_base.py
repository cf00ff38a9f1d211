"""What all Krylov methods share: how a solve starts, is checked, ends and says how it ended.

A method supplies one *cycle*: from a residual `r` a correction `d` with `A d ~ r`, as far as its recurrences reach (a
restart of GMRES; CG until its recursive residual meets the tolerance). The driver adds corrections and computes the
true residual after each,

    x <- x + d,    r <- b - A x,

and only that residual decides: recursive residuals drift away from the truth. Adding whole cycles is the group-wise
update of H. A. van der Vorst, Q. Ye, Residual replacement strategies for Krylov subspace iterative methods, SIAM J.
Sci. Comput. 22 (2000) 835-852, doi:10.1137/S1064827599353865. Everything is traced; loops are `lax.while_loop`s, so
that under `vmap` a finished member keeps its values while the others go on. Cost: one product more for each cycle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Inexact, Int, Real

LinearMap = Callable[[Inexact[Array, " n"]], Inexact[Array, " n"]]

CONVERGED, MAX_STEPS, STAGNATION, BREAKDOWN, NONFINITE = range(5)
_RUNNING = -1

_PROGRESS = 0.999  # a cycle that does not reduce the residual by this factor counts as none
_PATIENCE = 2  # cycles without progress before a solve has stagnated


class KrylovInfo(NamedTuple):
    """How a Krylov solve ended.

    Attributes:
        num_steps: products with the matrix in the recurrences (those for the check of the residual come on top).
        residual_norm: Euclidean norm of the true residual `b - A x` of the solution returned.
        relative_residual: that norm divided by the norm of `b`; 0 for `b = 0`.
        status: `CONVERGED`, `MAX_STEPS`, `STAGNATION`, `BREAKDOWN` or `NONFINITE` (0 to 4).
    """

    num_steps: Int[Array, ""]
    residual_norm: Real[Array, ""]
    relative_residual: Real[Array, ""]
    status: Int[Array, ""]

    @property
    def converged(self) -> Bool[Array, ""]:
        """Whether the true residual met the tolerance."""
        return self.status == CONVERGED


class Correction(NamedTuple):
    """What one cycle returns.

    Attributes:
        update: `d` with `A d ~ r`, `(n,)`.
        num_steps: products it took.
        broken: the recurrences divided by (nearly) zero; a restart may help.
        hopeless: it makes no sense to go on (CG met a direction of negative curvature).
    """

    update: Inexact[Array, " n"]
    num_steps: Int[Array, ""]
    broken: Bool[Array, ""]
    hopeless: Bool[Array, ""]


# From a residual, the norm to reach and the most steps to take, to a correction.
Cycle = Callable[[Inexact[Array, " n"], Real[Array, ""], Int[Array, ""]], Correction]


class _State(NamedTuple):
    x: Array
    residual: Array
    norm: Array
    steps: Array
    stale: Array
    status: Array


def solve_in_cycles(
    cycle: Cycle,
    matvec: LinearMap,
    rhs: Inexact[Array, " n"],
    x0: Inexact[Array, " n"] | None,
    *,
    rtol: float | Real[Array, ""],
    atol: float | Real[Array, ""],
    max_steps: int,
) -> tuple[Inexact[Array, " n"], KrylovInfo]:
    """Runs cycles until `|b - A x| <= max(rtol |b|, atol)` or until that is out of reach.

    The solution returned is the best one met. Right-hand sides are scaled by a power of two first, so that squares
    neither overflow nor underflow.
    """
    dtype = jax.eval_shape(lambda b: b + matvec(b), rhs).dtype
    rhs = rhs.astype(dtype)
    scale = _power_of_two(rhs)
    b = rhs / scale
    b_norm = norm(b)
    tolerance = jnp.maximum(rtol * b_norm, jnp.asarray(atol, b_norm.dtype) / scale).astype(b_norm.dtype)
    zero = b_norm == 0
    x = jnp.zeros_like(b) if x0 is None else jnp.where(zero, 0, x0.astype(dtype) / scale)
    residual = b if x0 is None else b - matvec(x)
    start = norm(residual)
    status = jnp.where(start <= tolerance, CONVERGED, jnp.where(jnp.isfinite(start), _RUNNING, NONFINITE))
    state = _State(x, residual, start, jnp.asarray(0, jnp.int32), jnp.asarray(0, jnp.int32), status.astype(jnp.int32))

    def body(s: _State) -> _State:
        left = jnp.where(s.status == _RUNNING, max_steps - s.steps, 0)  # under vmap: nothing for finished members
        found = cycle(s.residual, tolerance, left)
        x = s.x + found.update
        residual = b - matvec(x)
        new_norm = norm(residual)
        progress = new_norm <= _PROGRESS * s.norm
        stale = jnp.where(progress, 0, s.stale + 1)
        steps = s.steps + found.num_steps
        status = jnp.where(steps >= max_steps, MAX_STEPS, _RUNNING)
        status = jnp.where(stale >= _PATIENCE, STAGNATION, status)
        status = jnp.where(found.hopeless | (found.broken & ~progress), BREAKDOWN, status)
        status = jnp.where(jnp.isfinite(new_norm), status, NONFINITE)
        status = jnp.where(new_norm <= tolerance, CONVERGED, status)
        better = new_norm < s.norm
        old, new = (s.x, s.residual, s.norm), (x, residual, new_norm)
        x, residual, new_norm = (jnp.where(better, b, a) for a, b in zip(old, new, strict=True))
        return _State(x, residual, new_norm, steps, stale, status.astype(jnp.int32))

    end = lax.while_loop(lambda s: s.status == _RUNNING, body, state)
    # Numbers that are not finite come from the operator, or from recurrences that broke down: one product tells.
    overflowed = (end.status == NONFINITE) & jnp.isfinite(start)
    probe = lax.cond(overflowed, lambda: norm(matvec(end.x)), lambda: jnp.full_like(b_norm, jnp.nan))
    status = jnp.where(overflowed & jnp.isfinite(probe), BREAKDOWN, end.status)
    relative = jnp.where(zero, 0, end.norm / jnp.where(zero, 1, b_norm))
    return end.x * scale, KrylovInfo(end.steps, end.norm * scale, relative, status)


class Watch(NamedTuple):
    """The residual norms of a cycle with short recurrences: when to give the cycle up.

    Attributes:
        start: norm the cycle began with.
        norm: norm now, by the recurrence.
        best: smallest norm that counted as progress.
        since: steps since then.
    """

    start: Real[Array, ""]
    norm: Real[Array, ""]
    best: Real[Array, ""]
    since: Int[Array, ""]

    @classmethod
    def of(cls, residual: Inexact[Array, " n"]) -> Watch:
        """At the start of a cycle."""
        size = norm(residual)
        return cls(size, size, size, jnp.asarray(0, jnp.int32))

    def after(self, residual: Inexact[Array, " n"], steps: int) -> Watch:
        """After `steps` more products."""
        size = norm(residual)
        progress = size < _PROGRESS * self.best
        return Watch(self.start, size, jnp.where(progress, size, self.best), jnp.where(progress, 0, self.since + steps))

    def alive(self, target: Real[Array, ""], window: int) -> Bool[Array, ""]:
        """Not converged, progress within the last `window` steps, and neither diverged nor NaN."""
        limit = self.start / jnp.finfo(self.start.dtype).eps ** 0.5
        return (self.norm > target) & (self.since < window) & (self.norm < limit)


def norm(v: Inexact[Array, " n"]) -> Real[Array, ""]:
    """The Euclidean norm."""
    return jnp.sqrt(jnp.sum(jnp.real(v) ** 2 + jnp.imag(v) ** 2)) if jnp.iscomplexobj(v) else jnp.sqrt(jnp.sum(v * v))


def dot(u: Inexact[Array, " n"], v: Inexact[Array, " n"]) -> Inexact[Array, ""]:
    """`u^H v`."""
    return jnp.sum(jnp.conj(u) * v)


def divide(a: Inexact[Array, ""] | float, b: Inexact[Array, ""]) -> Inexact[Array, ""]:
    """`a / b`, and 0 where `b` is 0."""
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))


def _power_of_two(v: Inexact[Array, " n"]) -> Real[Array, ""]:
    """A power of two near the largest magnitude in `v`; 1 where that is zero or not finite."""
    largest = jnp.max(jnp.abs(v), initial=0)
    limits = jnp.finfo(largest.dtype)
    usable = (largest > 0) & jnp.isfinite(largest)
    exponent = jnp.frexp(jnp.where(usable, largest, 0.5))[1]
    return jnp.ldexp(jnp.ones_like(largest), jnp.clip(exponent, limits.minexp // 2, limits.maxexp // 2))
