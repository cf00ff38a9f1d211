"""`RadauIIA5`: the three-stage Radau IIA method of order 5, for tight tolerances and differential-algebraic equations.

Stiffly accurate and L-stable; the stages are solved by one real and one complex sparse factorization
(`_radau_stages.py`), the error is estimated by Hairer's embedded formula, filtered by the real one. Cost of a step:
three right-hand sides, a real and a complex solve for every Newton iteration.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
import numpy as np
import optimistix as optx
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, PyTree

from sparsesolve.ode.newton._kept import Kept, keep
from sparsesolve.ode.runge_kutta._radau_stages import (
    COLLOCATION,
    ERROR,
    NODES,
    Stages,
    StageWork,
    attach_stage_derivative,
    factorized,
    new_stage_work,
    solve_stages,
)
from sparsesolve.ode.stepping._controller import ERROR_ORDER, SAFETY, encode_factor
from sparsesolve.ode.stepping._start import rough_slope
from sparsesolve.ode.system._stats import Counts, add_counts, new_counts
from sparsesolve.ode.system._system import StiffSystem, prepare_system
from sparsesolve.ode.system._weights import scaled_norm, tolerance_weights

MAX_ITERATIONS = 8
_SAME_STEP = 0.02  # change of the step size that old factors bear
_KEEP_STEP = 1.2  # growth that is not worth new factors
_FEW_ITERATIONS = 4  # with which a Jacobian serves another step
_ITERATION_ERROR = 0.02  # what Newton's method may leave, in units of the local error tolerance


class RadauState(eqx.Module):
    """State of `RadauIIA5` between steps.

    Attributes:
        polynomial: coefficients of theta, theta^2, theta^3 of the last step, shape `(3, n)`.
        step: its size; NaN before the first step and after a jump.
        error: its error norm.
        kept: Jacobian, factors and statistics, kept through rejected steps.
    """

    polynomial: Float[Array, "3 n"]
    step: Float[Array, ""]
    error: Float[Array, ""]
    kept: Kept

    @property
    def counts(self) -> Counts:
        """Statistics of the work done, that of rejected steps included."""
        return self.kept.value.counts


class CollocationInterpolation(dfx.AbstractLocalInterpolation):
    """The collocation polynomial of a step.

    Attributes:
        t0: start of the step.
        t1: end of the step.
        y0: solution at `t0`.
        polynomial: coefficients of theta, theta^2, theta^3, stacked in front.
    """

    t0: Any
    t1: Any
    y0: PyTree[Array]
    polynomial: PyTree[Array]

    def evaluate(self, t0: Any, t1: Any | None = None, left: bool = True) -> PyTree[Array]:
        """The solution at `t0`, or its increment from `t0` to `t1`."""
        del left
        if t1 is not None:
            return jtu.tree_map(jnp.subtract, self.evaluate(t1), self.evaluate(t0))
        theta = (t0 - self.t0) / (self.t1 - self.t0)
        powers = jnp.stack([theta, theta**2, theta**3])
        return jtu.tree_map(lambda y, q: y + jnp.tensordot(powers.astype(q.dtype), q, 1), self.y0, self.polynomial)


class RadauIIA5(dfx.AbstractImplicitSolver, dfx.AbstractAdaptiveSolver):
    """Radau IIA of order 5: L-stable, for tight tolerances and for DAEs of index 1, 2 and 3.

    Works in `diffrax.diffeqsolve` with any adaptive step size controller, from which it takes its tolerances.

    Attributes:
        linear_solver: any lineax solver that takes complex matrices; `None` means `AutoSparse()`.
        mass: the matrix of `M y' = f`: constant (`SparseMatrix`, SciPy or dense) or `mass(t, y, args)`; may be
            singular. `None` means the identity.
        sparsity: pattern of df/dy; detected when `None`.
        index: for DAEs of index 2 and 3, a pytree like the state (or an array that broadcasts against each leaf) that
            tells the index of every component, 1, 2 or 3; errors of components of index i are weighed by h^(i-1).
        root_finder: only its `rtol`, `atol` and `norm` are used; by default those of the step size controller.

    References:
        E. Hairer, G. Wanner, Solving Ordinary Differential Equations II (1996), section IV.8 (method), VII.7 (index).

    Example:
        >>> import diffrax as dfx, jax.numpy as jnp
        >>> from sparsesolve.ode import RadauIIA5
        >>> sol = dfx.diffeqsolve(
        ...     dfx.ODETerm(lambda t, y, args: -1000.0 * (y - jnp.cos(t))), RadauIIA5(), 0.0, 3.0, None,
        ...     jnp.array([0.0, 1.0]), stepsize_controller=dfx.PIDController(rtol=1e-8, atol=1e-10),
        ... )
        >>> bool(jnp.all(jnp.abs(sol.ys[0] - jnp.cos(3.0) - jnp.sin(3.0) / 1000) < 2e-6))
        True
    """

    linear_solver: lx.AbstractLinearSolver | None = None
    mass: Any = None
    sparsity: Any = None
    index: Any = None
    root_finder: optx.AbstractRootFinder = dfx.with_stepsize_controller_tols(dfx.VeryChord)()
    root_find_max_steps: int = eqx.field(static=True, default=MAX_ITERATIONS)

    term_structure: ClassVar = dfx.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., CollocationInterpolation]] = CollocationInterpolation

    def __check_init__(self) -> None:
        for leaf in jtu.tree_leaves(self.index):
            if not isinstance(leaf, Tracer) and not np.isin(np.asarray(leaf), (1, 2, 3)).all():
                raise ValueError(
                    f"RadauIIA5 got index={np.asarray(leaf).tolist()}; it solves equations of index 1, 2 and 3. "
                    "Differentiate constraints of a higher index until they are of index 3 or less."
                )

    def order(self, terms: PyTree[dfx.AbstractTerm]) -> int:
        """5."""
        del terms
        return 5

    def error_order(self, terms: PyTree[dfx.AbstractTerm]) -> int:
        """That by which step size factors are told to a controller, see `encode_factor`."""
        del terms
        return ERROR_ORDER

    def func(self, terms: dfx.AbstractTerm, t0: Any, y0: PyTree[Array], args: Any) -> PyTree[Array]:
        """The vector field; with a mass matrix, an estimate of the size of `y'` for the choice of a first step."""
        field = terms.vf(t0, y0, args)
        if self.mass is None:
            return field
        system = self._system(terms, t0, y0, args)
        return system.structure.unravel(rough_slope(system, t0, y0, field))

    def init(self, terms: dfx.AbstractTerm, t0: Any, t1: Any, y0: PyTree[Array], args: Any) -> RadauState:
        """No history yet."""
        system = self._system(terms, t0, y0, args)
        x = system.structure.ravel(y0)
        return RadauState(
            jnp.zeros((3, system.size), system.dtype),
            jnp.full_like(t1 - t0, jnp.nan),
            jnp.ones((), system.dtype),
            Kept(lax.stop_gradient(new_stage_work(system, t0, x, new_counts()))),
        )

    def step(
        self,
        terms: dfx.AbstractTerm,
        t0: Any,
        t1: Any,
        y0: PyTree[Array],
        args: Any,
        solver_state: RadauState,
        made_jump: Any,
    ) -> tuple[PyTree[Array], PyTree[Array], dict[str, Any], RadauState, dfx.RESULTS]:
        """One step; a step whose iteration fails returns `y0` and an infinite error."""
        system = self._system(terms, t0, y0, args)
        structure, dtype = system.structure, system.dtype
        x0 = structure.ravel(y0)
        stages = Stages(t0, t1 - t0, x0)
        rtol, atol = self.root_finder.rtol, self.root_finder.atol
        fixed_system, fixed, last = lax.stop_gradient((system, stages, solver_state))
        plain = tolerance_weights(structure, rtol, atol, fixed.x0)
        weights = plain / self._index_factors(structure, fixed.step)

        def size(v: Array) -> Array:
            return scaled_norm(self.root_finder.norm, structure, v, weights)

        history = ~jnp.asarray(made_jump) & jnp.isfinite(last.step)
        guess = _extrapolated(last, fixed.step, history)
        leniency = _leniency(lax.stop_gradient(rtol), dtype)
        kappa = jnp.minimum(_ITERATION_ERROR / leniency, 0.1)
        z, converged, iterations, work = _solved(fixed_system, last.kept.value, fixed, guess, size, kappa)
        error = leniency * _error_norm(fixed_system, work, fixed, z, size)
        work = eqx.tree_at(lambda w: w.counts, work, add_counts(work.counts, num_residuals=2, num_solves=2))

        safety = SAFETY * (2 * MAX_ITERATIONS + 1) / (2 * MAX_ITERATIONS + iterations)
        accepted = converged & (error < 1)
        factor = _step_factor(error, last, fixed.step, safety, history, accepted)
        work = dataclasses.replace(work, current=converged & (iterations <= _FEW_ITERATIONS))

        z = attach_stage_derivative(system, work, stages, jnp.where(converged, z, 0.0))
        x1 = x0 + z[2]
        norm = encode_factor(accepted, factor)
        ending = tolerance_weights(structure, rtol, atol, *lax.stop_gradient((x0, x1)))
        unit = scaled_norm(self.root_finder.norm, structure, ending, ending)
        y_error = structure.unravel(jnp.where(converged, norm / unit, jnp.inf) * ending)
        polynomial = jnp.asarray(COLLOCATION, dtype) @ z
        state = RadauState(
            lax.stop_gradient(polynomial), fixed.step, jnp.maximum(error, 1e-2), keep(solver_state.kept, work)
        )
        failed = dfx.RESULTS.promote(optx.RESULTS.nonlinear_divergence)
        result = dfx.RESULTS.where(converged, dfx.RESULTS.successful, failed)
        dense = {"y0": y0, "polynomial": jax.vmap(structure.unravel)(polynomial)}
        return structure.unravel(x1), y_error, dense, state, result

    def _index_factors(self, structure: Any, step: Array) -> Array:
        if self.index is None:
            return jnp.ones((structure.size,), structure.dtype)
        template = structure.unravel(jnp.zeros((structure.size,), structure.dtype))
        index = self.index
        if jtu.tree_structure(index) != jtu.tree_structure(template):
            index = jtu.tree_map(lambda leaf: self.index, template)
        whole = jtu.tree_map(
            lambda i, leaf: jnp.broadcast_to(jnp.asarray(i), leaf.shape).astype(leaf.dtype), index, template
        )
        return step.astype(structure.dtype) ** (structure.ravel(whole) - 1)

    def _system(self, terms: Any, t: Any, y: PyTree[Array], args: Any) -> StiffSystem:
        return prepare_system(
            terms, t, y, args, sparsity=self.sparsity, mass=self.mass, linear_solver=self.linear_solver
        )


def _extrapolated(last: RadauState, step: Array, history: Bool[Array, ""]) -> Float[Array, "3 n"]:
    """The last step's polynomial at the stages of this one, relative to its end."""
    q = last.polynomial
    ratio = jnp.where(history, step / last.step, 0.0).astype(q.dtype)
    theta = 1 + jnp.asarray(NODES, q.dtype) * ratio
    powers = jnp.stack([theta, theta**2, theta**3], axis=1) - 1
    return jnp.where(history, powers @ q, 0.0)


def _solved(
    system: StiffSystem, work: StageWork, stages: Stages, guess: Array, size: Callable[[Array], Array], kappa: Array
) -> tuple[Array, Array, Array, StageWork]:
    """`(z, converged, iterations, work)`: with the factors there are, else with new ones, else a new Jacobian."""

    def stage_size(z: Array) -> Array:
        sizes = jax.vmap(size)(z)
        return jnp.sqrt(jnp.mean(sizes**2))

    def attempt(work: StageWork, most: Any) -> Any:
        done, work = solve_stages(system, work, stages, guess, stage_size, kappa, most)
        return done.x, done.converged, done.num_iterations, work

    usable = work.current & (jnp.abs(stages.step.astype(system.dtype) / work.step - 1) <= _SAME_STEP)
    first = attempt(work, jnp.where(usable, MAX_ITERATIONS, 0))
    renew = usable | ~work.current

    def proceed(state: Any) -> Array:
        (_, converged, _, _), _, final = state
        return ~converged & ~final

    def again(state: Any) -> Any:
        (_, _, _, work), renew, _ = state
        work = factorized(system, work, stages.t0, stages.x0, stages.step, renew)
        return attempt(work, MAX_ITERATIONS), jnp.asarray(True), renew

    (z, converged, iterations, work), _, _ = lax.while_loop(proceed, again, (first, renew, jnp.asarray(False)))
    counts = add_counts(work.counts, num_newton_failures=~converged)
    return z, converged, iterations, dataclasses.replace(work, counts=counts)


def _leniency(rtol: Any, dtype: Any) -> Float[Array, ""]:
    """The estimate is of order 3 and the method of order 5: errors may be larger than the tolerance by rtol^(-1/3) / 15
    (Hairer's codes: / 10), and the global error still follows the tolerance."""
    least = jnp.min(jnp.stack([jnp.min(jnp.asarray(leaf, dtype)) for leaf in jtu.tree_leaves(rtol)]))
    return jnp.minimum(15.0 * jnp.maximum(least, jnp.finfo(dtype).eps) ** (1.0 / 3.0), 1.0)


def _error_norm(system: StiffSystem, work: StageWork, stages: Stages, z: Array, size: Callable) -> Array:
    """Hairer's estimate, filtered once more where it is large: stiff components are overestimated there."""
    dtype = system.dtype
    combined = jnp.asarray(ERROR, dtype) @ z / stages.step.astype(dtype)
    embedded = system.multiply_mass(combined, stages.t0, stages.x0)
    error, _ = system.solve(work.real_factors, system.rhs(stages.t0, stages.x0) + embedded)
    again, _ = system.solve(work.real_factors, system.rhs(stages.t0, stages.x0 + error) + embedded)
    norm = size(error)
    filtered = size(again)
    return jnp.where((norm >= 1) & jnp.isfinite(filtered), filtered, norm)


def _step_factor(error: Array, last: RadauState, step: Array, safety: Array, history: Array, accepted: Array) -> Array:
    """Gustafsson's predictive controller; growth that would not pay for new factors is left out."""
    error = jnp.maximum(error, 1e-10)
    plain = error**-0.25
    ratio = jnp.where(history, step / last.step, 1.0).astype(error.dtype)
    predictive = jnp.where(history, plain * ratio * (last.error / error) ** 0.25, plain)
    factor = safety * jnp.where(accepted, jnp.minimum(plain, predictive), plain)
    factor = jnp.clip(factor, 0.1, 8.0)
    return jnp.where(accepted & (factor >= 1) & (factor < _KEEP_STEP), 1.0, factor)
