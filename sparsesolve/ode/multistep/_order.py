"""Which order and step size BDF takes next.

With local errors e_q (in units of the tolerance) of the present order k and its neighbours, the step could grow by

    r_q = (s e_q)^(-1/(q+1)) / b_q,         q = k - 1, k, k + 1,

and the order with the largest r is taken (Shampine and Reichelt's b = 1.3, 1.2, 1.4). Nothing is decided before k + 1
steps of equal size have been made, and the step size stays unless it can grow by `GROWTH` or must shrink: every change
costs accuracy of the differences and, sooner or later, a factorization.

The strictness s makes the global error follow the tolerance. A method of order k that keeps its error per step at the
tolerance takes N ~ tol^(-1/(k+1)) steps and ends with an error of N tol, so s = 45 (1e-4 / rtol)^(1/6): where 400 steps
are made at 1e-4 and all errors add up, as on a limit cycle, the end is wrong by nine times the tolerance.

References: L. F. Shampine, M. W. Reichelt, SIAM J. Sci. Comput. 18 (1997) 1, doi:10.1137/S1064827594276424. On
tolerance proportionality: L. F. Shampine, "Tolerance proportionality in ODE codes", Lecture Notes in Math. 1386 (1989)
118, doi:10.1007/BFb0089235.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Bool, Float, Int

from sparsesolve.ode.multistep._differences import ERROR_CONSTANT, MAX_ORDER
from sparsesolve.ode.stepping._controller import SAFETY, encode_factor

_STRICT = 45.0  # at a relative tolerance of 1e-4
GROWTH = 1.2  # least growth of the step that is worth a change
_SHRINKAGE = 0.9  # growth below which an accepted step is followed by a smaller one
_MARGIN = (1.3, 1.2, 1.4)  # b of the order below, the present one and the one above
_REJECTED_BIAS = 3.0  # small cuts are followed by more
_LARGEST, _SMALLEST = 10.0, 0.02


class Choice(NamedTuple):
    """What follows a step.

    Attributes:
        order: of the next step if this one is accepted.
        restart_count: whether the count of equal steps starts again.
        error_norm: scaled norm that tells a controller to accept or reject, and the step size factor.
        accepted: whether the local error is within the tolerance.
    """

    order: Int[Array, ""]
    restart_count: Bool[Array, ""]
    error_norm: Float[Array, ""]
    accepted: Bool[Array, ""]


def strictness(rtol: Any, dtype: Any, *, algebraic: bool) -> Float[Array, ""]:
    """By how much local errors are held below the tolerance.

    Differences of an `algebraic` component carry the rounding of solves with W, which no step size makes smaller: local
    errors are not asked to be below eps^(5/8) there (1.6e-10 in float64).
    """
    least = jnp.min(jnp.stack([jnp.min(jnp.asarray(leaf, dtype)) for leaf in jtu.tree_leaves(rtol)]))
    eps = jnp.finfo(dtype).eps
    strict = _STRICT * (1e-4 / jnp.maximum(least, eps)) ** (1.0 / 6.0)
    return jnp.clip(strict, 1.0, jnp.maximum(least / eps**0.625, 1.0)) if algebraic else strict


def choose(
    order: Int[Array, ""],
    equal_steps: Int[Array, ""],
    norms: Float[Array, " 3"],
    strict: Float[Array, ""],
    limits: tuple[int, int],
    reach: Float[Array, ""] | float = jnp.inf,
) -> Choice:
    """The choice after a step whose corrector converged.

    Args:
        order: of the step.
        equal_steps: made at this order and step size, with this one.
        norms: scaled norms of the differences of order k, k + 1 and k + 2 after the step.
        strict: see `strictness`.
        limits: least and largest order.
        reach: of a step without a history, the step that its start promises, in units of this one (`_start.py`): what
            a rejected first step is cut to, since its own error says little when it was far too long.
    """
    dtype = norms.dtype
    neighbours = order + jnp.asarray([-1, 0, 1])
    allowed = (neighbours >= jnp.minimum(limits[0], order)) & (neighbours <= limits[1])
    errors = strict * jnp.asarray(ERROR_CONSTANT, dtype)[jnp.clip(neighbours, 0, MAX_ORDER)] * norms
    power = -1.0 / (neighbours + 1).astype(dtype)
    tiny = jnp.finfo(dtype).eps ** 0.5
    growth = jnp.where(allowed, jnp.maximum(errors, tiny) ** power / jnp.asarray(_MARGIN, dtype), 0.0)

    best = jnp.argmax(growth[jnp.asarray([1, 0, 2])])  # the present order if all are equal
    move = jnp.asarray([0, -1, 1])[best]
    largest = jnp.max(growth)
    ready = equal_steps > order
    grows = ready & (largest >= GROWTH)
    shrinks = ready & (largest < _SHRINKAGE)
    moves = ready & (move != 0) & (grows | (move < 0))
    factor = jnp.where(grows, jnp.minimum(largest, _LARGEST), jnp.where(shrinks, jnp.maximum(largest, 0.5), 1.0))

    error = errors[1]
    accepted = error < 1
    cut = jnp.clip(SAFETY * (_REJECTED_BIAS * jnp.maximum(error, 1.0)) ** power[1], _SMALLEST, SAFETY)
    cut = jnp.where(reach < SAFETY, jnp.asarray(reach, dtype), cut)
    norm = encode_factor(accepted, jnp.where(accepted, factor, cut))
    new_order = jnp.where(moves, order + move, order).astype(order.dtype)
    return Choice(new_order, grows | moves | shrinks, norm, accepted)


def failure_norm(reach: Float[Array, ""]) -> Float[Array, ""]:
    """The norm that rejects a step whose corrector failed: infinite, or of a first step the one that asks for its
    `reach` (see `choose`)."""
    return jnp.where(reach < SAFETY, encode_factor(jnp.asarray(False), reach), jnp.inf)
