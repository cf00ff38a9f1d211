"""The stages of a Radau IIA method: their simplified Newton iteration by (s + 1) / 2 factorizations of size n.

With Z_i = Y_i - y_0 and `Lambda = T^-1 A^-1 T` of one real eigenvalue and complex pairs, the Newton system of size s n
falls into one real system of size n and a complex one for each pair:

    R = f(t_0 + c h, y_0 + Z) - (A^-1 (x) M) Z / h,      W = T^-1 Z,
    (mu / h M - J) dW_1 = (T^-1 R)_1,      (nu / h M - J) (dW_2 + i dW_3) = (T^-1 R)_2 + i (T^-1 R)_3, ...

Reference: E. Hairer, G. Wanner, Solving Ordinary Differential Equations II (1996), sections IV.5 and IV.8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from sparsesolve.matrix import SparseMatrix
from sparsesolve.ode.newton._corrected import corrected, solve_with
from sparsesolve.ode.newton._newton import Iterated, iterate
from sparsesolve.ode.runge_kutta._radau_table import RadauTable
from sparsesolve.ode.system._stats import Counts, add_counts
from sparsesolve.ode.system._system import StiffSystem

_MOST_NOISE = 0.3  # update, in units of the tolerance, that may pass for rounding


class StageWork(eqx.Module):
    """What is kept from step to step, accepted or not.

    Attributes:
        invariants: constant parts of the Jacobian.
        jacobian: its values.
        current: whether it may serve another step.
        refused: whether the last step was rejected.
        real_factors: of `mu / step M - J`.
        complex_factors: of `nu / step M - J`, for each pair.
        step: with which they were made; NaN before.
        rounding: what rounding errors of the right-hand side make of a solution, eps (mu / step M - J)^-1 |J| |x|.
        counts: statistics.
    """

    invariants: list[Array]
    jacobian: Float[Array, " nnz"]
    current: Bool[Array, ""]
    refused: Bool[Array, ""]
    real_factors: PyTree[Array]
    complex_factors: tuple[PyTree[Array], ...]
    step: Float[Array, ""]
    rounding: Float[Array, " n"]
    counts: Counts


class Stages(eqx.Module):
    """The equations of a step.

    Attributes:
        table: the method.
        t0: start of the step.
        step: its size.
        x0: the state there.
    """

    table: RadauTable = eqx.field(static=True)
    t0: Array
    step: Array
    x0: Float[Array, " n"]

    def residual(self, system: StiffSystem, z: Float[Array, "s n"]) -> Float[Array, "s n"]:
        """`R` at `z`."""
        times = self.t0 + jnp.asarray(self.table.nodes, self.t0.dtype) * self.step
        slopes = jax.vmap(system.rhs)(times, self.x0[None] + z)
        mixed = jnp.asarray(self.table.inverse, z.dtype) @ z / self.step.astype(z.dtype)
        if system.mass is None:
            return slopes - mixed
        return slopes - jax.vmap(system.multiply_mass)(mixed, times, self.x0[None] + z)


def new_stage_work(table: RadauTable, system: StiffSystem, t: Array, x: Array, counts: Counts) -> StageWork:
    """Nothing known yet."""
    empty = jnp.zeros((system.plan.pattern.nnz,), system.dtype)
    complex_dtype = jnp.result_type(system.dtype, jnp.complex64)
    return StageWork(
        system.invariants(t, x),
        empty,
        jnp.asarray(False),
        jnp.asarray(False),
        system.no_factors(),
        tuple(system.no_factors(complex_dtype) for _ in table.pairs),
        jnp.asarray(jnp.nan, system.dtype),
        jnp.zeros_like(x),
        counts,
    )


def factorized(system: StiffSystem, work: StageWork, stages: Stages, renew: Array) -> StageWork:
    """`work` for these stages, with a Jacobian at their start where `renew`."""
    t, x, table = stages.t0, stages.x0, stages.table
    jacobian = lax.cond(renew, lambda: system.jacobian(t, x, work.invariants), lambda: work.jacobian)
    step = stages.step.astype(system.dtype)
    real_factors = system.factor(system.matrix(jacobian, table.real / step, -1.0, t, x))
    summed = SparseMatrix(jnp.abs(jacobian), system.plan.pattern) @ jnp.abs(x)
    rounding, _ = system.solve(real_factors, jnp.finfo(system.dtype).eps * summed)
    return StageWork(
        work.invariants,
        jacobian,
        work.current | renew,
        work.refused,
        real_factors,
        tuple(system.factor(system.matrix(jacobian, nu / step, -1.0, t, x)) for nu in table.pairs),
        step,
        rounding,
        add_counts(work.counts, num_jacobians=renew, num_factorizations=1 + len(table.pairs), num_solves=1),
    )


def solve_transformed(
    table: RadauTable, system: StiffSystem, work: StageWork, r: Float[Array, "s n"], transpose: bool = False
) -> Float[Array, "s n"]:
    """`((A^-1 (x) M) / h - I (x) J)^-1 r` by the factorizations of the step."""
    ahead, back = table.transform_inverse, table.transform
    if transpose:
        ahead, back = back.T, ahead.T
    r = jnp.asarray(ahead, r.dtype) @ r
    parts = [solve_with(system, work.real_factors, r[0], transpose)]
    sign = -1 if transpose else 1  # the transposed 2 x 2 block is that of the conjugate number
    for factors, first, second in zip(work.complex_factors, r[1::2], r[2::2], strict=True):
        pair = solve_with(system, factors, lax.complex(first, sign * second), transpose)
        parts += [pair.real, sign * pair.imag]
    return jnp.asarray(back, r.dtype) @ jnp.stack(parts)


def solve_stages(
    system: StiffSystem,
    work: StageWork,
    stages: Stages,
    guess: Float[Array, "s n"],
    size: Callable[[Array], Array],
    kappa: Any,
    max_steps: Any,
) -> tuple[Iterated, StageWork]:
    """Simplified Newton on `z`; `size` is a norm of an array of shape `(s, n)`."""

    def update(z: Array) -> tuple[Array, int]:
        return solve_transformed(stages.table, system, work, stages.residual(system, z)), 0

    floor = 10 * jnp.finfo(guess.dtype).eps * size(guess + stages.x0[None])
    noise = jnp.minimum(size(jnp.broadcast_to(work.rounding, guess.shape)), _MOST_NOISE)
    floor = jnp.maximum(floor, jnp.where(jnp.isfinite(noise), noise, 0.0))
    one = jnp.ones((), guess.dtype)
    done = iterate(update, guess, size, one, kappa=kappa, floor=floor, max_steps=max_steps)
    n, rows, solves = done.num_iterations, stages.table.stages, 1 + len(stages.table.pairs)
    counts = add_counts(work.counts, num_residuals=rows * n, num_solves=solves * n, num_newton_iterations=n)
    return done, eqx.tree_at(lambda w: w.counts, work, counts)


def attach_stage_derivative(system: StiffSystem, work: StageWork, stages: Stages, z: Float[Array, "s n"]) -> Array:
    """`z`, differentiable in the arrays of `system` and `stages` by the implicit function theorem.

    The Jacobians of the stages differ, so the tangent system of size s n does not fall apart; the factors of the
    step precondition a few corrections, which converge as Newton's method did.
    """

    @eqx.filter_custom_jvp
    def solution(root: Array, system: StiffSystem, stages: Stages, work: StageWork) -> Array:
        del system, stages, work
        return root

    @solution.def_jvp
    def rule(primals: Any, tangents: Any) -> tuple[Array, Array]:
        root, system, stages, work = primals
        _, change = eqx.filter_jvp(lambda s, e: e.residual(s, root), (system, stages), tangents[1:3])
        fixed = lax.stop_gradient((system, work))

        def multiply(v: Array) -> Array:
            return -jax.jvp(lambda z: stages.residual(system, z), (root,), (v,))[1]

        def solver(transpose: bool) -> Callable[[Any, Array], Array]:
            def precondition(r: Array) -> Array:
                return solve_transformed(stages.table, *fixed, r, transpose)

            return lambda product, b: corrected(precondition, product, b)

        return root, lax.custom_linear_solve(multiply, change, solver(False), solver(True))

    return solution(lax.stop_gradient(z), system, stages, lax.stop_gradient(work))
