"""The quadratic program of a step within bounds and under linear equality constraints.

    min  d^T H d / 2 + g^T d,     A d = rest,   low <= d <= high,      H = J^T J + diag(shift)

First an active set is guessed and improved: unknowns in it stay at their bounds, the others solve a saddle-point
system; those that cross a bound join, those whose multiplier pulls them inside leave (a semi-smooth Newton method). It
ends in one to five rounds at a point where all conditions of optimality hold, or not at all: from an empty interior, or
in circles. Then Mehrotra's interior point method, which cannot fail where there is a point at all, says what the active
set is. Nothing is taken for a solution whose conditions were not checked.

References: M. Hintermueller, K. Ito, K. Kunisch, The primal-dual active set strategy as a semismooth Newton method,
SIAM J. Optim. 13 (2003) 865-888, doi:10.1137/S1052623401383558. S. Mehrotra, On the implementation of a primal-dual
interior point method, SIAM J. Optim. 2 (1992) 575-601, doi:10.1137/0802028.
Cost: a factorization for each round, and about fifteen where the guess does not settle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact, Int

from sparsesolve.least_squares.linear_step._saddle_solver import SaddleSolution, SaddleSolver
from sparsesolve.least_squares.objective._linear_constraints import Polytope

_ROUNDS = 10
_PASSES = 3  # refinements of a round
_INTERIOR = 40  # steps of the interior point method
_REDUCTION = 1e-12  # of its complementarity (single precision: its root)
_BACK = 0.995  # of the way to the boundary


class Program(NamedTuple):
    """The program, and the squares `D^2` of its unknowns' scale."""

    multiply: Callable[[Array], Array]  # d -> H d
    gradient: Inexact[Array, " n"]
    region: Polytope
    prepared: Any  # of the saddle-point solver
    shift: Float[Array, " n"]
    squares: Float[Array, " n"]


class Sides(NamedTuple):
    """Unknowns at their lower and at their upper bounds, and the multipliers of the equality constraints.

    Where all unknowns of a constraint are at bounds its multiplier is not determined by the others: it stays.
    """

    lower: Bool[Array, " n"]
    upper: Bool[Array, " n"]
    nu: Inexact[Array, " p"]


class Settled(NamedTuple):
    """A point, whether it is the solution, whether it fulfils the constraints, and the factorizations it took."""

    step: Inexact[Array, " n"]
    sides: Sides
    optimal: Bool[Array, ""]
    feasible: Bool[Array, ""]
    factorizations: Int[Array, ""]


def first_guess(region: Polytope) -> Sides:
    """What is at a bound stays there."""
    return Sides(region.low >= 0, (region.high <= 0) & (region.low < 0), jnp.zeros_like(region.rest))


def solve_program(saddle: SaddleSolver, program: Program, guess: Sides) -> Settled:
    """The solution where `optimal`, otherwise the best that was found. The guess may be that of a program before."""
    zero = jnp.zeros_like(program.gradient)

    def attempt(carry: Any) -> Any:
        before, count = carry
        guessed = (zero, guess, jnp.zeros((), jnp.int32))
        point, sides, interior = lax.cond(count == 0, lambda: guessed, lambda: _interior(saddle, program))
        found = _settle(saddle, program, sides)
        rough = _left_over(saddle, program.region, point)
        total = before.factorizations + interior + found.factorizations
        step = jnp.where(found.optimal, found.step, point)
        return Settled(step, found.sides, found.optimal, found.optimal | rough, total), count + 1

    def going(carry: Any) -> Array:
        found, count = carry
        return ~found.optimal & (count < 2)

    nothing = Settled(zero, guess, jnp.asarray(False), jnp.asarray(False), jnp.zeros((), jnp.int32))
    return lax.while_loop(going, attempt, (nothing, 0))[0]


def _left_over(saddle: SaddleSolver, region: Polytope, d: Array) -> Bool[Array, ""]:
    """Whether a point fulfils the equality constraints."""
    A = saddle.matrix(d.dtype)
    rest = region.rest - A @ d
    allowed = jnp.finfo(d.dtype).eps ** 0.75 * (jnp.abs(region.rest) + jnp.max(jnp.abs(d), initial=0.0))
    return jnp.all(jnp.abs(rest) <= region.rounding + allowed)


def _settle(saddle: SaddleSolver, program: Program, guess: Sides) -> Settled:
    """Improves an active set until nothing changes."""
    region, squares = program.region, program.squares
    low, high = region.low, region.high
    scale = jnp.sqrt(squares)
    fixed = low >= high
    tolerance = float(jnp.finfo(low.dtype).eps) ** 0.7

    def improve(carry: Any) -> Any:
        before, _, count = carry
        sides = before.sides
        held = sides.lower | sides.upper
        factors = saddle.factor(program.prepared, program.shift, held)
        d = jnp.where(sides.lower, low, jnp.where(sides.upper, high, 0.0))
        A = saddle.matrix(d.dtype)

        def refine(_: Any, carry: Any) -> Any:
            d, nu, good = carry
            lagrangian = program.multiply(d) + program.gradient + nu @ A
            change = saddle.solve_saddle(program.prepared, factors, -lagrangian, region.rest - A @ d)
            return d + change.x, nu + change.nu, good & change.good

        d, nu, good = lax.fori_loop(0, _PASSES, refine, (d, sides.nu, jnp.asarray(True)))
        pull = (program.multiply(d) + program.gradient + nu @ A) / scale
        reach = tolerance * jnp.max(scale * jnp.abs(jnp.where(jnp.isfinite(d), d, 0.0)), initial=0.0) / scale
        least = tolerance * (jnp.max(jnp.abs(program.gradient / scale), initial=0.0) + jnp.max(jnp.abs(pull) * ~held))
        now = Sides(
            jnp.where(held, sides.lower & (fixed | (pull >= -least)), d < low - reach),
            jnp.where(held, sides.upper & (fixed | (pull <= least)), d > high + reach),
            jnp.where(jnp.isfinite(nu), nu, 0.0),
        )
        same = jnp.all(now.lower == sides.lower) & jnp.all(now.upper == sides.upper)
        feasible = _left_over(saddle, region, d)
        optimal = same & good & feasible & jnp.all(jnp.isfinite(d))
        found = Settled(jnp.clip(d, low, high), now, optimal, feasible, before.factorizations + 1)
        return found, same, count + 1

    def going(carry: Any) -> Array:
        _, same, count = carry
        return ~same & (count < _ROUNDS)

    no, zero = jnp.asarray(False), jnp.zeros_like(scale)
    nothing = Settled(zero, guess, no, no, jnp.zeros((), jnp.int32))
    return lax.while_loop(going, improve, (nothing, jnp.asarray(False), jnp.asarray(0)))[0]


class _Point(NamedTuple):
    d: Array
    nu: Array
    slack: tuple[Array, Array]
    z: tuple[Array, Array]
    mu: Array
    count: Array
    stuck: Array


def _interior(saddle: SaddleSolver, program: Program) -> tuple[Array, Sides, Array]:
    """A point inside, near the solution, which unknowns press against which bounds there, and the steps it took."""
    region = program.region
    scale = jnp.sqrt(program.squares)
    fixed = region.low >= region.high
    bounded = (jnp.isfinite(region.low) & ~fixed, jnp.isfinite(region.high) & ~fixed)
    number = jnp.maximum(jnp.sum(bounded[0]) + jnp.sum(bounded[1]), 1)
    A = saddle.matrix(scale.dtype)
    unit = jnp.max(jnp.abs(program.gradient) / scale, initial=0.0)
    unit = jnp.where(unit > 0, unit, 1.0)
    first = _first_point(program, fixed, unit / scale)
    z0 = unit * scale
    slack0 = (first - region.low, region.high - first)

    def advance(p: _Point) -> _Point:
        shift = program.shift + sum(_over(b, z, s) for b, z, s in zip(bounded, p.z, p.slack, strict=True))
        factors = saddle.factor(program.prepared, shift, fixed)
        dual = program.multiply(p.d) + program.gradient + p.nu @ A
        left = region.rest - A @ p.d

        def direction(targets: tuple[Array, Array]) -> tuple[Any, tuple[Array, Array], tuple[Array, Array]]:
            towards = [_over(b, t, s) for b, t, s in zip(bounded, targets, p.slack, strict=True)]
            found = saddle.solve_saddle(program.prepared, factors, towards[0] - towards[1] - dual, left)
            moves = (found.x, -found.x)
            dz = [
                jnp.where(b, t - z - _over(b, z, s) * m, 0.0)
                for b, t, z, s, m in zip(bounded, towards, p.z, p.slack, moves, strict=True)
            ]
            return found, moves, (dz[0], dz[1])

        def correct(_: Any, carry: Any) -> Any:
            targets, *_ = carry
            found, moves, dz = direction(targets)
            length = _length(p, bounded, moves, dz)
            ahead = [v + length * w for v, w in zip((*p.slack, *p.z), (*moves, *dz), strict=True)]
            aimed = _gap(bounded, ahead[:2], ahead[2:]) / number
            target = p.mu * jnp.clip(aimed / p.mu, 0.0, 1.0) ** 3
            return (target - moves[0] * dz[0], target - moves[1] * dz[1]), found, moves, dz

        zero = jnp.zeros_like(p.d)
        none = SaddleSolution(zero, jnp.zeros_like(p.nu), jnp.asarray(True))
        # First towards the boundary, which tells how far the complementarity can fall; then there.
        _, found, moves, dz = lax.fori_loop(0, 2, correct, ((zero, zero), none, (zero, zero), (zero, zero)))
        length = jnp.minimum(1.0, _BACK * _length(p, bounded, moves, dz, 1 / _BACK))
        good = found.good & jnp.all(jnp.isfinite(found.x))
        length = jnp.where(good, length, 0.0)
        d, nu = p.d + length * jnp.where(good, found.x, 0.0), p.nu + length * jnp.where(good, found.nu, 0.0)
        slack = tuple(s + length * jnp.where(good, m, 0.0) for s, m in zip(p.slack, moves, strict=True))
        z = tuple(v + length * jnp.where(good, w, 0.0) for v, w in zip(p.z, dz, strict=True))
        return _Point(d, nu, slack, z, _gap(bounded, slack, z) / number, p.count + 1, length < 1e-8)  # pyright: ignore

    reduction = _REDUCTION if jnp.finfo(scale.dtype).bits == 64 else _REDUCTION**0.5
    z = (jnp.where(bounded[0], z0, 0.0), jnp.where(bounded[1], z0, 0.0))
    mu0 = _gap(bounded, slack0, z) / number
    nu0 = jnp.zeros(region.rest.shape, scale.dtype)
    start = _Point(first, nu0, slack0, z, mu0, jnp.zeros((), jnp.int32), jnp.asarray(False))

    def going(p: _Point) -> Array:
        open_ = (p.mu > reduction * mu0) | ~_left_over(saddle, region, p.d)
        return open_ & (p.count < _INTERIOR) & ~p.stuck

    end = lax.while_loop(going, advance, start)
    at = [b & (z / z0 > s / s0) for b, z, s, s0 in zip(bounded, end.z, end.slack, slack0, strict=True)]
    sides = Sides(fixed | at[0], at[1] & ~at[0], end.nu)
    return jnp.clip(end.d, region.low, region.high), sides, end.count


def _first_point(program: Program, fixed: Array, typical: Array) -> Array:
    """Inside the bounds, about a typical step away from them where there is room."""
    low, high = program.region.low, program.region.high
    width = jnp.where(fixed | ~jnp.isfinite(low) | ~jnp.isfinite(high), 0.0, high - low)
    margin = jnp.where(width > 0, jnp.minimum(0.25 * width, typical), typical)
    inside = jnp.clip(jnp.zeros_like(low), low + margin, high - margin)
    return jnp.where(fixed, low, inside)


def _over(bounded: Array, a: Array, b: Array) -> Array:
    return jnp.where(bounded, a / jnp.where(bounded, b, 1.0), 0.0)


def _gap(bounded: Any, slack: Any, z: Any) -> Array:
    return sum(jnp.sum(jnp.where(b, s * v, 0.0)) for b, s, v in zip(bounded, slack, z, strict=True))  # pyright: ignore


def _length(p: _Point, bounded: Any, moves: Any, dz: Any, most: float = 1.0) -> Array:
    """How far slacks and multipliers can go before one of them vanishes."""
    length = jnp.asarray(most, p.d.dtype)
    for b, s, m, z, w in zip(bounded, p.slack, moves, p.z, dz, strict=True):
        for value, move in ((s, m), (z, w)):
            falling = b & (move < 0)
            length = jnp.minimum(length, jnp.min(jnp.where(falling, -value / jnp.where(falling, move, -1.0), most)))
    return length
