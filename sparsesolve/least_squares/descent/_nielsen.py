"""Damping by a factor `mu`: (J^T J + mu D^2) d = -J^T r, `D` the norms of the columns, with Nielsen's update.

    accepted:  mu <- mu max(1/3, 1 - (2 ratio - 1)^3),  nu <- 2;        rejected:  mu <- mu nu,  nu <- 2 nu

The first step is a probe with hardly any damping: near enough to the solution (pose graphs) the iteration stays
Gauss-Newton's; where such a step fails it goes on with `mu = 1e-4`, at the price of one residual.

Factors have a damping of eps^(2/3) at least. Below, `mu` fades further as long as steps succeed, and solutions take
back what factors have too much where it is felt: at a singular minimum undamped steps only halve the error, and a
damping that stays would make the iteration creep.

References: H. B. Nielsen, Damping parameter in Marquardt's method, IMM-REP-1999-05, Technical University of Denmark.
D. W. Marquardt, SIAM J. Appl. Math. 11 (1963) 431-441, doi:10.1137/0111030.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from sparsesolve.least_squares.descent._descent import AbstractDescent, Model, Proposal, Verdict, accelerated
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver

_MOST = 1e30
_FADING = 0.1  # of a damping that factors no longer have


class Damping(NamedTuple):
    """`mu` and the factor of the next rejection."""

    mu: Float[Array, ""]
    nu: Float[Array, ""]


def least_damping(dtype: Any) -> float:
    """What makes a singular matrix regular, and changes no digit that counts: eps^(2/3)."""
    return float(jnp.finfo(dtype).eps) ** (2 / 3)


def faintest_damping(dtype: Any) -> float:
    """What is as good as none for solutions: eps^2."""
    return float(jnp.finfo(dtype).eps) ** 2


@dataclasses.dataclass(frozen=True)
class NielsenDamping(AbstractDescent):
    """See the module's description; `start` is the damping where the probe failed."""

    start: float = 1e-4
    probe: bool = True

    def init(self, m: int, n: int, dtype: Any) -> Damping:
        first = least_damping(dtype) if self.probe else self.start
        return Damping(jnp.asarray(first, dtype), jnp.asarray(2.0, dtype))

    def propose(self, linear: AbstractDampedSolver, model: Model, state: Damping) -> tuple[Proposal, Damping]:
        factored = jnp.maximum(state.mu, least_damping(state.mu.dtype))
        factors = linear.factor(model.prepared, factored * model.squares)
        solved = linear.solve_lighter(model.prepared, factors, -model.lin.residual, state.mu * model.squares)
        step = accelerated(
            solved.x, model.squares, model.curvature, lambda v: linear.solve(model.prepared, factors, v).x
        )
        count = jnp.asarray(linear.num_factorizations)
        return Proposal(step, solved.x, solved.good, 1 + state.mu, count, solved.iterations), state

    def update(self, state: Damping, verdict: Verdict) -> Damping:
        mu, nu = state
        faint = mu < self.start
        least = jnp.where(mu <= least_damping(mu.dtype), _FADING, 1 / 3)
        relaxed = mu * jnp.maximum(least, 1 - (2 * verdict.ratio - 1) ** 3)
        raised = jnp.where(faint, self.start, mu * nu)
        new = jnp.where(verdict.accepted, relaxed, raised)
        new = jnp.clip(new, faintest_damping(mu.dtype), _MOST)
        growth = jnp.where(verdict.accepted | faint, 2.0, jnp.minimum(2 * nu, _MOST))
        return Damping(new.astype(mu.dtype), growth.astype(nu.dtype))
