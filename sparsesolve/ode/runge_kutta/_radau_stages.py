"""The stages of the three-stage Radau IIA method: tables, and their simplified Newton iteration by two factorizations.

With Z_i = Y_i - y_0 and `Lambda = T^-1 A^-1 T` of one real and one complex pair of eigenvalues, the Newton system of
size 3 n falls into one real and one complex system of size n:

    R = f(t_0 + c h, y_0 + Z) - (A^-1 (x) M) Z / h,      W = T^-1 Z,
    (mu / h M - J) dW_1 = (T^-1 R)_1,      (nu / h M - J) (dW_2 + i dW_3) = (T^-1 R)_2 + i (T^-1 R)_3.

Reference: E. Hairer, G. Wanner, Solving Ordinary Differential Equations II (1996), sections IV.5 and IV.8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from sparsesolve.ode.newton._corrected import corrected, solve_with
from sparsesolve.ode.newton._newton import Iterated, iterate
from sparsesolve.ode.system._stats import Counts, add_counts
from sparsesolve.ode.system._system import StiffSystem

_S6 = 6.0**0.5
NODES = np.array([(4 - _S6) / 10, (4 + _S6) / 10, 1.0])
_A = np.array(
    [
        [(88 - 7 * _S6) / 360, (296 - 169 * _S6) / 1800, (-2 + 3 * _S6) / 225],
        [(296 + 169 * _S6) / 1800, (88 + 7 * _S6) / 360, (-2 - 3 * _S6) / 225],
        [(16 - _S6) / 36, (16 + _S6) / 36, 1 / 9],
    ]
)
INVERSE = np.linalg.inv(_A)
REAL = float(3 + 3 ** (2 / 3) - 3 ** (1 / 3))  # mu
# The embedded error estimate, formula (8.19) of the reference: weights of Z.
ERROR = np.array([-13 - 7 * _S6, -13 + 7 * _S6, -1.0]) / 3
# Z at the nodes to coefficients of theta, theta^2, theta^3.
COLLOCATION = np.linalg.inv(NODES[:, None] ** np.arange(1, 4))


def _decomposition() -> tuple[np.ndarray, np.ndarray, complex]:
    """`T`, `T^-1` and nu."""
    values, vectors = np.linalg.eig(INVERSE)
    real = int(np.argmin(np.abs(np.imag(values))))
    pair = int(np.argmax(np.imag(values)))
    columns = np.real(vectors[:, real]), np.real(vectors[:, pair]), np.imag(vectors[:, pair])
    transform = np.stack(columns, axis=1)
    return transform, np.linalg.inv(transform), complex(np.conj(values[pair]))


TRANSFORM, TRANSFORM_INVERSE, COMPLEX = _decomposition()


class StageWork(eqx.Module):
    """What is kept from step to step, accepted or not.

    Attributes:
        invariants: constant parts of the Jacobian.
        jacobian: its values.
        current: whether it may serve another step.
        real_factors: of `mu / step M - J`.
        complex_factors: of `nu / step M - J`.
        step: with which they were made; NaN before.
        counts: statistics.
    """

    invariants: list[Array]
    jacobian: Float[Array, " nnz"]
    current: Bool[Array, ""]
    real_factors: PyTree[Array]
    complex_factors: PyTree[Array]
    step: Float[Array, ""]
    counts: Counts


class Stages(NamedTuple):
    """The equations of a step."""

    t0: Array
    step: Array
    x0: Float[Array, " n"]

    def residual(self, system: StiffSystem, z: Float[Array, "3 n"]) -> Float[Array, "3 n"]:
        """`R` at `z`."""
        times = self.t0 + jnp.asarray(NODES, self.t0.dtype) * self.step
        slopes = jax.vmap(system.rhs)(times, self.x0[None] + z)
        mixed = jnp.asarray(INVERSE, z.dtype) @ z / self.step.astype(z.dtype)
        if system.mass is None:
            return slopes - mixed
        return slopes - jax.vmap(system.multiply_mass)(mixed, times, self.x0[None] + z)


def new_stage_work(system: StiffSystem, t: Array, x: Array, counts: Counts) -> StageWork:
    """Nothing known yet."""
    empty = jnp.zeros((system.plan.pattern.nnz,), system.dtype)
    complex_dtype = jnp.result_type(system.dtype, jnp.complex64)
    return StageWork(
        system.invariants(t, x),
        empty,
        jnp.asarray(False),
        system.no_factors(),
        system.no_factors(complex_dtype),
        jnp.asarray(jnp.nan, system.dtype),
        counts,
    )


def factorized(system: StiffSystem, work: StageWork, t: Array, x: Array, step: Array, renew: Array) -> StageWork:
    """`work` for this step size, with a Jacobian at `t`, `x` where `renew`."""
    jacobian = lax.cond(renew, lambda: system.jacobian(t, x, work.invariants), lambda: work.jacobian)
    step = step.astype(system.dtype)
    return StageWork(
        work.invariants,
        jacobian,
        work.current | renew,
        system.factor(system.matrix(jacobian, REAL / step, -1.0, t, x)),
        system.factor(system.matrix(jacobian, COMPLEX / step, -1.0, t, x)),
        step,
        add_counts(work.counts, num_jacobians=renew, num_factorizations=2),
    )


def solve_transformed(system: StiffSystem, work: StageWork, r: Float[Array, "3 n"], transpose: bool = False) -> Array:
    """`((A^-1 (x) M) / h - I (x) J)^-1 r` by the two factorizations."""
    ahead, back = (TRANSFORM_INVERSE, TRANSFORM) if not transpose else (TRANSFORM.T, TRANSFORM_INVERSE.T)
    r = jnp.asarray(ahead, r.dtype) @ r
    first = solve_with(system, work.real_factors, r[0], transpose)
    # The transposed 2 x 2 block is that of the conjugate number.
    pair = solve_with(system, work.complex_factors, lax.complex(r[1], -r[2] if transpose else r[2]), transpose)
    imaginary = -pair.imag if transpose else pair.imag
    return jnp.asarray(back, r.dtype) @ jnp.stack([first, pair.real, imaginary])


def solve_stages(
    system: StiffSystem,
    work: StageWork,
    stages: Stages,
    guess: Float[Array, "3 n"],
    size: Callable[[Array], Array],
    kappa: Any,
    max_steps: Any,
) -> tuple[Iterated, StageWork]:
    """Simplified Newton on `z`; `size` is a norm of an array of shape `(3, n)`."""

    def update(z: Array) -> tuple[Array, int]:
        return solve_transformed(system, work, stages.residual(system, z)), 0

    floor = 10 * jnp.finfo(guess.dtype).eps * size(guess + stages.x0[None])
    one = jnp.ones((), guess.dtype)
    done = iterate(update, guess, size, one, kappa=kappa, floor=floor, max_steps=max_steps)
    n = done.num_iterations
    counts = add_counts(work.counts, num_residuals=3 * n, num_solves=2 * n, num_newton_iterations=n)
    return done, eqx.tree_at(lambda w: w.counts, work, counts)


def attach_stage_derivative(system: StiffSystem, work: StageWork, stages: Stages, z: Float[Array, "3 n"]) -> Array:
    """`z`, differentiable in the arrays of `system` and `stages` by the implicit function theorem.

    The Jacobians of the three stages differ, so the tangent system of size 3 n does not fall apart; the factors of the
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
            return lambda product, b: corrected(lambda r: solve_transformed(*fixed, r, transpose), product, b)

        return root, lax.custom_linear_solve(multiply, change, solver(False), solver(True))

    return solution(lax.stop_gradient(z), system, stages, lax.stop_gradient(work))
