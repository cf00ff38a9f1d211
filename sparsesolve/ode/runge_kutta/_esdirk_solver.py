"""`AbstractEsdirk`: ESDIRK methods as diffrax solvers; a method is a table."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import equinox.internal as eqxi
import jax.numpy as jnp
import jax.tree_util as jtu
from jax import lax
from jaxtyping import Array, Float, PyTree

from sparsesolve.ode.newton._kept import Kept, keep
from sparsesolve.ode.newton._newton import Work, forget_jacobian, new_work
from sparsesolve.ode.newton._stage_newton import StageNewton
from sparsesolve.ode.runge_kutta._esdirk import Settings, Slopes, esdirk_step
from sparsesolve.ode.runge_kutta._tableau import EsdirkTableau
from sparsesolve.ode.stepping._after_jump import after_jump
from sparsesolve.ode.stepping._interpolation import PolynomialInterpolation
from sparsesolve.ode.stepping._start import exact_start_slope, rough_slope
from sparsesolve.ode.system._rhs import right_hand_side
from sparsesolve.ode.system._stats import Counts, add_counts
from sparsesolve.ode.system._system import StiffSystem, prepare_system


class EsdirkState(eqx.Module):
    """Solver state.

    Attributes:
        slope: y' at the end of the last step.
        fresh: whether `slope` is still to be computed.
        kept: `Work`, which rejected steps do not undo.
    """

    slope: Float[Array, " n"]
    fresh: Any
    kept: Kept

    @property
    def work(self) -> Work:
        """Jacobian, factors and statistics."""
        return self.kept.value

    @property
    def counts(self) -> Counts:
        """Statistics, see `_stats.py`."""
        return self.work.counts


class AbstractEsdirk(dfx.AbstractImplicitSolver, dfx.AbstractAdaptiveSolver):
    """Base of the ESDIRK methods.

    Attributes:
        root_finder: tolerances of the stages (those of the step-size controller by default) and linear solver.
        root_find_max_steps: most Newton updates of a stage.
        sparsity: pattern of the Jacobian between components of the state; `None` to detect it.
        mass: the matrix of `M y' = f`: constant (`SparseMatrix`, SciPy or dense) or `mass(t, y, args)`; may be
            singular (index 1). `None` means the identity.
    """

    root_finder: eqx.AbstractVar[StageNewton]
    root_find_max_steps: eqx.AbstractVar[int]
    sparsity: eqx.AbstractVar[Any]
    mass: eqx.AbstractVar[Any]
    tableau: eqx.AbstractClassVar[EsdirkTableau]
    term_structure: ClassVar = dfx.AbstractTerm
    interpolation_cls: ClassVar = PolynomialInterpolation

    def order(self, terms: Any) -> int:
        """Order of the method."""
        del terms
        return self.tableau.order

    def error_order(self, terms: Any) -> int:
        """Power of the step size in the error estimate."""
        del terms
        return self.tableau.error_order or self.tableau.order

    def func(self, terms: Any, t0: Any, y0: PyTree, args: Any) -> PyTree:
        """The vector field; with a mass matrix, an estimate of the size of `y'` for the choice of a first step."""
        if self.mass is None:
            return terms.vf(t0, y0, args)
        system = self._system(terms, t0, y0, args)
        return system.structure.unravel(rough_slope(system, t0, y0, terms.vf(t0, y0, args)))

    def init(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: Any) -> EsdirkState:
        """Prepares plans; computes nothing but the constant parts of the Jacobian."""
        del t1
        system = self._system(terms, t0, y0, args)
        x = system.structure.ravel(y0)
        t = jnp.asarray(t0)
        return EsdirkState(jnp.zeros_like(x), jnp.asarray(True), Kept(lax.stop_gradient(new_work(system, t, x))))

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: Any, solver_state: EsdirkState, made_jump: Any
    ) -> tuple[PyTree, PyTree, dict[str, PyTree], EsdirkState, dfx.RESULTS]:
        """One step."""
        return self.stepped(terms, t0, t1, y0, args, solver_state, made_jump)[0]

    def stepped(
        self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: Any, solver_state: EsdirkState, made_jump: Any
    ) -> tuple[tuple[PyTree, PyTree, dict[str, PyTree], EsdirkState, dfx.RESULTS], Array]:
        """One step, and the slopes of its stages: implicit ones and, where equations are split, explicit ones."""
        system = self._system(terms, t0, y0, args)
        structure = system.structure
        x, h = after_jump(system, t0, structure.ravel(y0), made_jump), t1 - t0
        work = forget_jacobian(solver_state.work, made_jump)
        renew = jnp.asarray(True) if system.explicit is not None else solver_state.fresh | made_jump
        slopes, error, ok, work = self.trial(system, work, x, t0, h, solver_state.slope, renew)
        end = jnp.where(ok, self.end(x, slopes), x)
        new_state = EsdirkState(
            slopes.implicit[-1] / h.astype(x.dtype), jnp.asarray(False), keep(solver_state.kept, work)
        )
        error = structure.unravel(jnp.where(ok, error, jnp.inf))
        failed: Any = dfx.RESULTS.nonlinear_divergence
        result = dfx.RESULTS.where(ok, dfx.RESULTS.successful, failed)
        made = structure.unravel(end), error, self._dense(structure, structure.unravel(x), x, slopes), new_state, result
        return made, slopes.all

    def trial(
        self, system: StiffSystem, work: Work, x: Array, t0: Array, h: Array, slope: Array, renew: Array
    ) -> tuple[Slopes, Array, Array, Work]:
        """Slopes, error, whether the stages converged, and the work done, from the slope at the start or (`renew`)
        without one."""
        slope = lax.cond(
            eqxi.unvmap_any(renew),
            lambda: jnp.where(renew, exact_start_slope(system, t0, x, h), slope),
            lambda: slope,
        )
        work = eqx.tree_at(lambda w: w.counts, work, add_counts(work.counts, num_residuals=renew))
        finder = self.root_finder
        settings = Settings(finder.rtol, finder.atol, finder.norm, finder.kappa, self.root_find_max_steps)
        return esdirk_step(self.tableau, system, settings, work, x, t0, h, slope)

    def splits(self, terms: Any) -> bool:
        """Whether the first of these terms is treated explicitly."""
        return self.tableau.explicit is not None and isinstance(terms, dfx.MultiTerm)

    def _system(self, terms: Any, t: Any, y: PyTree, args: Any) -> StiffSystem:
        explicit = None
        finder = self.root_finder
        if self.splits(terms):
            if self.mass is not None:
                raise ValueError(
                    "KenCarp47 got a mass matrix and a split right-hand side, but its explicit part would need the "
                    "inverse of the mass matrix; give the sum of both parts as one dfx.ODETerm."
                )
            if len(terms.terms) != 2:
                raise ValueError(
                    f"KenCarp47 got a MultiTerm of {len(terms.terms)} terms, but it splits a right-hand side in two; "
                    "write dfx.MultiTerm(explicit, implicit), and sums inside of them."
                )
            first, terms = terms.terms
            explicit = right_hand_side(first, t, y, args)
        system = prepare_system(
            terms, t, y, args, sparsity=self.sparsity, mass=self.mass, linear_solver=finder.linear_solver
        )
        return dataclasses.replace(system, explicit=explicit)

    def end(self, x: Array, slopes: Slopes) -> Array:
        """The state after a step."""
        if slopes.explicit is None:
            return slopes.last
        return x + jnp.asarray(self.tableau.b, x.dtype) @ (slopes.implicit + slopes.explicit)

    def _dense(self, structure: Any, y0: PyTree, x: Array, slopes: Slopes) -> dict[str, PyTree]:
        total = slopes.implicit if slopes.explicit is None else slopes.implicit + slopes.explicit
        powers = jnp.asarray(self.tableau.dense.T, x.dtype) @ total
        leaves = [structure.unravel(row) for row in powers]
        return {"y0": y0, "coefficients": jtu.tree_map(lambda *rows: jnp.stack(rows), *leaves)}
