"""Linear systems of a sweep: W or its transpose at every recorded step, with the factors of another step.

Generalized conjugate residuals, truncated to one direction, preconditioned by factors of a W that is near: where the
step size and the Jacobian have hardly changed, a few products and solves reach the tolerance. W is factorized
again where its shift has moved far, where the iteration does not arrive, and where the iterations beyond the first
that were spent on old factors add up to the cost of new ones.

Reference: S. C. Eisenstat, H. C. Elman, M. H. Schultz, "Variational iterative methods for nonsymmetric systems of
linear equations", SIAM J. Numer. Anal. 20 (1983) 345, doi:10.1137/0720023.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import equinox.internal as eqxi
import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
from jax import lax
from jaxtyping import Array, Float, Inexact, PyTree

from sparsesolve.krylov import gmres
from sparsesolve.linear import AbstractDirectSolver
from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
from sparsesolve.ode.system._system import StiffSystem

MOST = 8  # iterations with factors of another step
_FAR = 0.25  # |c - c_W| / (c + c_W) of factors that are not tried
_MOST_GMRES = 90
_SPENT = 12.0  # iterations beyond the first that a factorization is worth


class Factors(eqx.Module):
    """Factors that a sweep carries along.

    Attributes:
        arrays: of `M - shift J` at some step.
        shift: NaN: none yet.
        spent: iterations beyond the first since they were made.
    """

    arrays: PyTree[Array]
    shift: Float[Array, ""]
    spent: Float[Array, ""]


def no_factors(system: StiffSystem) -> Factors:
    """Before the first step of a sweep."""
    zero = jnp.zeros((), system.dtype)
    arrays = system.no_factors() if isinstance(system.linear_solver, AbstractDirectSolver) else None
    return Factors(arrays, zero * jnp.nan, zero)


def solve_with(
    system: StiffSystem,
    factors: Factors,
    data: Inexact[Array, " nnz"],
    shift: Float[Array, ""],
    product: Callable[[Array], Array],
    b: Float[Array, " n"],
    guess: Float[Array, " n"],
    *,
    transpose: bool,
) -> tuple[Float[Array, " n"], Factors]:
    """`W^-1 b` or `W^-T b` to about `eps^(2/3)`; NaN where that is not reached.

    Args:
        system: prepared.
        factors: from the step before.
        data: values of W.
        shift: of W.
        product: with W or its transpose.
        b: right-hand side.
        guess: where to start.
        transpose: which of the two.
    """
    linear: Any = system.linear_solver
    if not isinstance(linear, AbstractDirectSolver):
        return _general(linear, SparseMatrix(data, system.plan.pattern), b, transpose), factors
    matrix = matrix_near(system, lambda keep: jnp.where(keep, data, 0.0), product, transpose=transpose)
    return solve_near(matrix, factors, shift, b, guess)


class NearMatrix(NamedTuple):
    """A matrix of a sweep, near that of the step before.

    Attributes:
        factor: its factors, and what `magnitude` wants; of a matrix with other values where the argument is false.
        inverse: `inverse(factors, r)`.
        product: with it.
        magnitude: what its rows add up, in magnitude.
        rescued: whether GMRES takes over where factors of the matrix do not lead to a solution: they are not exact.
    """

    factor: Callable[[Array], tuple[Any, Any]]
    inverse: Callable[[Any, Array], Array]
    product: Callable[[Array], Array]
    magnitude: Callable[[Any, Array], Array]
    rescued: bool = False


def matrix_near(
    system: StiffSystem,
    data: Callable[[Array], Array],
    product: Callable[[Array], Array],
    *,
    transpose: bool,
    rescued: bool = False,
) -> NearMatrix:
    """A matrix on the pattern of the system, whose values `data(true)` are wanted only where it is factorized."""

    def factor(keep: Array) -> tuple[Any, Any]:
        values = data(keep)
        return system.factor(values), jnp.abs(values)

    def inverse(arrays: Any, r: Array) -> Array:
        state = system.state_of(arrays, system.dtype)
        return state.plan.solve(state.factors, r, transpose=transpose)

    def magnitude(sizes: Array, x: Array) -> Array:
        matrix = SparseMatrix(sizes, system.plan.pattern)
        return jnp.abs(x) @ matrix if transpose else matrix @ jnp.abs(x)

    return NearMatrix(factor, inverse, product, magnitude, rescued)


def solve_near(
    matrix: NearMatrix, factors: Factors, shift: Array, b: Array, guess: Array, *, apart: float = _FAR
) -> tuple[Array, Factors]:
    """The solution to about `eps^(2/3)`; NaN where that is not reached.

    Args:
        matrix: of the system.
        factors: from the step before.
        shift: of the matrix.
        b: right-hand side, of any shape.
        guess: where to start.
        apart: `|c - c_W| / (c + c_W)` of shifts beyond which old factors are not tried.
    """
    eps = jnp.finfo(b.dtype).eps
    guess = jnp.where(jnp.any(b != 0), guess, 0.0)  # lanes of a batch that have nothing to do
    far = ~(jnp.abs(shift - factors.shift) <= apart * (shift + factors.shift)) | (factors.spent > _SPENT)

    def attempt(arrays: Any, x: Array, most: Any) -> tuple[Array, Array, Array]:
        inverse = lambda r: matrix.inverse(arrays, r)  # noqa: E731
        return conjugate_residuals(matrix.product, inverse, b, x, eps ** (2 / 3), most)

    x, residual, steps = attempt(factors.arrays, guess, jnp.where(far, 0, MOST))
    bound = eps ** (2 / 3) * _size(b)

    def again(loop: Any) -> Any:
        tried, old, x, done, _ = loop
        need = ~done
        # What depends on the turn cannot be moved out of the loop, where it would be done at every step.
        new, sizes = matrix.factor(tried < 1)
        chosen = jtu.tree_map(lambda a, b: jnp.where(need, a, b), new, old.arrays)
        other, residual, steps = attempt(chosen, jnp.where(jnp.isfinite(x), x, 0.0), jnp.where(need, 2 * MOST, 0))
        limit = jnp.maximum(bound, 64 * eps * _size(matrix.magnitude(sizes, other) + jnp.abs(b)))
        okay = residual <= limit
        if matrix.rescued:
            other, okay = _rescued(matrix, chosen, b, other, done | okay, limit)
        x = jnp.where(need, other, x)
        made = Factors(chosen, jnp.where(need, shift, old.shift), jnp.where(need, 0.0, old.spent))
        return tried + 1, made, x, done | okay, jnp.where(need, steps, loop[4])

    spent = factors.spent + jnp.maximum(steps - 1, 0).astype(b.dtype)
    done = ~far & (residual <= bound)
    start = (jnp.asarray(0), Factors(factors.arrays, factors.shift, spent), x, done, steps)
    going = lambda loop: (loop[0] < 1) & ~eqxi.unvmap_all(loop[3])  # noqa: E731
    _, made, x, done, _ = lax.while_loop(going, again, start)
    return jnp.where(done, x, jnp.nan), made


def _rescued(matrix: NearMatrix, arrays: Any, b: Array, x: Array, okay: Array, limit: Array) -> tuple[Array, Array]:
    """By GMRES where not `okay`."""

    def flat(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
        return lambda v: function(v.reshape(b.shape)).ravel()

    precondition = flat(lambda r: matrix.inverse(arrays, r))
    rest = jnp.where(okay, 0.0, b - matrix.product(x))  # nothing is done for zero
    found, _ = gmres(
        flat(matrix.product), rest.ravel(), precondition=precondition, rtol=0.0, atol=0.5 * limit, max_steps=_MOST_GMRES
    )
    better = x + found.reshape(b.shape)
    return jnp.where(okay, x, better), okay | (_size(b - matrix.product(better)) <= limit)


def conjugate_residuals(
    product: Callable[[Array], Array],
    inverse: Callable[[Array], Array],
    b: Float[Array, " n"],
    x: Float[Array, " n"],
    tolerance: Any,
    most: Any,
) -> tuple[Float[Array, " n"], Array, Array]:
    """`x`, the size of its residual, and iterations; ends at `tolerance |b|` or where the residual shrinks no more."""
    bound = tolerance * _size(b)
    r = b - product(x)

    def body(loop: Any) -> Any:
        x, r, now, k, direction, image, _ = loop
        z = inverse(r)
        q = product(z)
        overlap = jnp.sum(image * q)
        z, q = z - overlap * direction, q - overlap * image
        length = _size(q)
        scale = jnp.where(length > 0, 1 / length, 0.0)
        z, q = scale * z, scale * q
        step = jnp.sum(q * r)
        x, r = x + step * z, r - step * q
        after = _size(r)
        return x, r, after, k + 1, z, q, after < 0.9 * now

    def going(loop: Any) -> Array:
        return (loop[2] > bound) & (loop[3] < most) & loop[6]

    nothing = jnp.zeros_like(b)
    start = (x, r, _size(r), jnp.asarray(0), nothing, nothing, jnp.asarray(True))
    x, _, size, k, *_ = lax.while_loop(going, body, start)
    return x, size, k


def nearest(product: Callable[[Array], Array], rows: Float[Array, "m n"], b: Float[Array, " n"]) -> Float[Array, " n"]:
    """The combination of the rows, solutions of the steps before, with the least residual: a guess.

    Reference: P. F. Fischer, "Projection techniques for iterative solution of A x = b with successive right-hand
    sides", Comput. Methods Appl. Mech. Engrg. 163 (1998) 193, doi:10.1016/S0045-7825(98)00012-7.
    """
    x, r = jnp.zeros_like(b), b
    rounding = jnp.finfo(b.dtype).eps ** 0.6  # of what is left of a row beyond those before it
    found: list[tuple[Array, Array]] = []
    for z in rows:
        q = product(z)
        whole = _size(q)
        for direction, image in found:
            overlap = jnp.sum(image * q)
            z, q = z - overlap * direction, q - overlap * image
        length = _size(q)
        scale = jnp.where(length > rounding * whole, 1 / jnp.where(length > 0, length, 1.0), 0.0)
        z, q = scale * z, scale * q
        step = jnp.sum(q * r)
        x, r = x + step * z, r - step * q
        found.append((z, q))
    return x


def _general(linear: Any, matrix: SparseMatrix, b: Array, transpose: bool) -> Array:
    state = linear.init(SparseLinearOperator(matrix), {})
    if transpose:
        state, _ = linear.transpose(state, {})
    x, result, _ = linear.compute(state, b, {})
    return jnp.where((result == lx.RESULTS.successful) | jnp.all(b == 0), x, jnp.nan)


def _size(v: Array) -> Array:
    return jnp.sqrt(jnp.sum(v * v))
