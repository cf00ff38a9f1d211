"""`AbstractRadau`: Radau IIA methods as diffrax solvers; a method is a table.

Stiffly accurate and L-stable; the stages are solved by one real and (s - 1) / 2 complex sparse factorizations
(`_radau_stages.py`), the error is estimated by Hairer's embedded formula, filtered by the real one. Cost of a step:
s right-hand sides and a solve with each of the factors for every Newton iteration.
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
from jaxtyping import Array, PyTree

from sparsesolve.ode.newton._kept import Kept, keep
from sparsesolve.ode.runge_kutta._radau_stages import Stages, StageWork, attach_stage_derivative, new_stage_work
from sparsesolve.ode.runge_kutta._radau_step import (
    RadauState,
    error_norm,
    extrapolated,
    leniency,
    solved,
    step_factor,
)
from sparsesolve.ode.runge_kutta._radau_table import RadauTable
from sparsesolve.ode.stepping._after_jump import after_jump
from sparsesolve.ode.stepping._controller import ERROR_ORDER, encode_factor
from sparsesolve.ode.stepping._interpolation import PolynomialInterpolation
from sparsesolve.ode.stepping._start import rough_slope
from sparsesolve.ode.system._stats import add_counts, new_counts
from sparsesolve.ode.system._system import StiffSystem, prepare_system
from sparsesolve.ode.system._weights import scaled_norm, tolerance_weights

_FEW_ITERATIONS = 4  # with which a Jacobian serves another step
_ITERATION_ERROR = 0.02  # what Newton's method may leave, in units of the local error tolerance


class AbstractRadau(dfx.AbstractImplicitSolver, dfx.AbstractAdaptiveSolver):
    """Base of the Radau IIA methods.

    Attributes:
        linear_solver: any lineax solver that takes complex matrices; `None` means `AutoSparse()`.
        mass: the matrix of `M y' = f`: constant (`SparseMatrix`, SciPy or dense) or `mass(t, y, args)`; may be
            singular. `None` means the identity.
        sparsity: pattern of df/dy; detected when `None`.
        index: for DAEs of index 2 and 3, the index of every component.
        root_finder: only its `rtol`, `atol` and `norm` are used; by default those of the step size controller.
        root_find_max_steps: diffrax's; the number of iterations is the table's.
    """

    linear_solver: eqx.AbstractVar[lx.AbstractLinearSolver | None]
    mass: eqx.AbstractVar[Any]
    sparsity: eqx.AbstractVar[Any]
    index: eqx.AbstractVar[Any]
    root_finder: eqx.AbstractVar[optx.AbstractRootFinder]
    root_find_max_steps: eqx.AbstractVar[int]
    table: eqx.AbstractClassVar[RadauTable]

    term_structure: ClassVar = dfx.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., PolynomialInterpolation]] = PolynomialInterpolation

    def __check_init__(self) -> None:
        for leaf in jtu.tree_leaves(self.index):
            if not isinstance(leaf, Tracer) and not np.isin(np.asarray(leaf), (1, 2, 3)).all():
                raise ValueError(
                    f"{type(self).__name__} got index={np.asarray(leaf).tolist()}; it solves equations of index "
                    "1, 2 and 3. Differentiate constraints of a higher index until they are of index 3 or less."
                )

    def order(self, terms: PyTree[dfx.AbstractTerm]) -> int:
        """Order of the method."""
        del terms
        return self.table.order

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
            jnp.zeros((self.table.stages, system.size), system.dtype),
            jnp.full_like(t1 - t0, jnp.nan),
            jnp.ones((), system.dtype),
            Kept(lax.stop_gradient(new_stage_work(self.table, system, t0, x, new_counts()))),
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
        return self.stepped(terms, t0, t1, y0, args, solver_state, made_jump)[0]

    def stepped(
        self,
        terms: dfx.AbstractTerm,
        t0: Any,
        t1: Any,
        y0: PyTree[Array],
        args: Any,
        solver_state: RadauState,
        made_jump: Any,
    ) -> tuple[tuple[PyTree[Array], PyTree[Array], dict[str, Any], RadauState, dfx.RESULTS], Array]:
        """One step, and its stages relative to its start, shape `(s, n)`."""
        system = self._system(terms, t0, y0, args)
        structure, dtype, table = system.structure, system.dtype, self.table
        x0 = structure.ravel(y0)
        if self.index is None:  # constraints of a higher index would move what has a derivative
            x0 = after_jump(system, t0, x0, made_jump)
        stages = Stages(table, t0, t1 - t0, x0)
        rtol, atol = self.root_finder.rtol, self.root_finder.atol
        fixed_system, fixed, last = lax.stop_gradient((system, stages, solver_state))
        size, strictness = self._measures(structure, fixed)
        history = ~jnp.asarray(made_jump) & jnp.isfinite(last.step)
        z, converged, iterations, work = self.trial(fixed_system, fixed, last, history)
        twice = ~history | work.refused
        error = strictness * error_norm(fixed_system, work, fixed, z, size, twice)
        work = eqx.tree_at(lambda w: w.counts, work, add_counts(work.counts, num_residuals=2, num_solves=2))

        accepted = converged & (error < 1)
        factor = step_factor(table, error, last, fixed.step, iterations, history, accepted)
        work = dataclasses.replace(work, current=converged & (iterations <= _FEW_ITERATIONS), refused=~accepted)

        z = attach_stage_derivative(system, work, stages, jnp.where(converged, z, 0.0))
        x1 = x0 + z[-1]
        norm = encode_factor(accepted, factor)
        ending = tolerance_weights(structure, rtol, atol, *lax.stop_gradient((x0, x1)))
        unit = scaled_norm(self.root_finder.norm, structure, ending, ending)
        y_error = structure.unravel(jnp.where(converged, norm / unit, jnp.inf) * ending)
        polynomial = jnp.asarray(table.collocation, dtype) @ z
        state = RadauState(
            lax.stop_gradient(polynomial), fixed.step, jnp.maximum(error, 1e-2), keep(solver_state.kept, work)
        )
        failed = dfx.RESULTS.promote(optx.RESULTS.nonlinear_divergence)
        result = dfx.RESULTS.where(converged, dfx.RESULTS.successful, failed)
        dense = {"y0": structure.unravel(x0), "coefficients": jax.vmap(structure.unravel)(polynomial)}
        return (structure.unravel(x1), y_error, dense, state, result), z

    def trial(
        self, system: StiffSystem, stages: Stages, last: RadauState, history: Array
    ) -> tuple[Array, Array, Array, StageWork]:
        """Stages, whether and after how many iterations they converged, and the work done; guessed from the polynomial
        of the step before where there is a history."""
        size, strictness = self._measures(system.structure, stages)
        guess = extrapolated(self.table, last, stages.step, history)
        kappa = jnp.minimum(_ITERATION_ERROR / strictness, self.table.iteration_error)
        return solved(system, last.kept.value, stages, guess, size, kappa)

    def _measures(self, structure: Any, stages: Stages) -> tuple[Callable[[Array], Array], Array]:
        """The norm by which errors are judged, and how strictly."""
        finder = self.root_finder
        plain = tolerance_weights(structure, finder.rtol, finder.atol, stages.x0)
        weights = plain / self._index_factors(structure, stages.step)
        strictness = leniency(self.table, lax.stop_gradient(finder.rtol), stages.x0.dtype)
        return (lambda v: scaled_norm(finder.norm, structure, v, weights)), strictness

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
