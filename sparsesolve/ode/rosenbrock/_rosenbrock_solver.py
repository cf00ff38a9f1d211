"""`AbstractRosenbrock`: Rosenbrock methods as diffrax solvers; a method is a table."""

from __future__ import annotations

from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import equinox.internal as eqxi
import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
import optimistix as optx
from jax import lax
from jaxtyping import Array, Float, PyTree

from sparsesolve.ode.newton._kept import Kept, keep
from sparsesolve.ode.rosenbrock._rosenbrock import RosenbrockStep, exact_solver, rosenbrock_step, solves_well
from sparsesolve.ode.rosenbrock._rosenbrock_tableau import RosenbrockTableau
from sparsesolve.ode.stepping._after_jump import after_jump
from sparsesolve.ode.stepping._interpolation import PolynomialInterpolation
from sparsesolve.ode.system._mass import as_matrix
from sparsesolve.ode.system._stats import Counts, add_counts, new_counts
from sparsesolve.ode.system._system import StiffSystem, prepare_system


class Linearization(eqx.Module):
    """What survives a rejected step.

    Attributes:
        jacobian: values of df/dy.
        time: where it was evaluated; NaN: nowhere yet.
        factors: of `M - shift J` for a method that may keep it, otherwise `None`.
        shift: `gamma h` of the factors; NaN: none yet.
        age: accepted steps since the Jacobian was evaluated.
        invariants: constant parts of the Jacobian.
        counts: see `_stats.py`.
    """

    jacobian: Float[Array, " nnz"]
    time: Array
    factors: Any
    shift: Float[Array, ""]
    age: Array
    invariants: list[Array]
    counts: Counts


class RosenbrockState(eqx.Module):
    """Solver state.

    Attributes:
        slope: f at the end of the last step, for methods whose last stage evaluates it there.
        fresh: whether `slope` is still to be computed.
        kept: `Linearization`.
    """

    slope: Float[Array, " n"]
    fresh: Array
    kept: Kept

    @property
    def counts(self) -> Counts:
        """Statistics of the work done, that of rejected steps included."""
        return self.kept.value.counts


class AbstractRosenbrock(dfx.AbstractAdaptiveSolver):
    """Base of the Rosenbrock methods.

    Attributes:
        linear_solver: any lineax solver; `None` means `AutoSparse()`.
        mass: constant matrix of `M y' = f` (`SparseMatrix`, SciPy or dense), possibly singular (index 1); `None` means
            the identity.
        sparsity: pattern of df/dy; detected when `None`.
        max_jacobian_age: steps for which a Jacobian, and its factors while the step size changes little, may be kept.
    """

    linear_solver: eqx.AbstractVar[lx.AbstractLinearSolver | None]
    mass: eqx.AbstractVar[Any]
    sparsity: eqx.AbstractVar[Any]
    max_jacobian_age: eqx.AbstractVar[int]
    tableau: eqx.AbstractClassVar[RosenbrockTableau]
    term_structure: ClassVar = dfx.AbstractTerm
    interpolation_cls: ClassVar = PolynomialInterpolation

    def order(self, terms: Any) -> int:
        """Order of the method."""
        del terms
        return self.tableau.order

    def error_order(self, terms: Any) -> int:
        """Exponent of the step size in the error estimate."""
        del terms
        return self.tableau.error_order

    def func(self, terms: Any, t0: Any, y0: PyTree, args: Any) -> PyTree:
        """The vector field (with a mass matrix, `M y'`)."""
        return terms.vf(t0, y0, args)

    def init(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: Any) -> RosenbrockState:
        """Prepares plans; computes nothing but the constant parts of the Jacobian."""
        del t1
        system = self._system(terms, t0, y0, args)
        x = lax.stop_gradient(system.structure.ravel(y0))
        t = jnp.asarray(t0)
        nan = jnp.asarray(jnp.nan, system.dtype)
        start = Linearization(
            jacobian=jnp.zeros((system.plan.pattern.nnz,), system.dtype),
            time=jnp.full_like(t, jnp.nan),
            factors=system.no_factors() if self.max_jacobian_age else None,
            shift=nan,
            age=jnp.asarray(0, jnp.int32),
            invariants=system.invariants(t, x),
            counts=new_counts(),
        )
        return RosenbrockState(jnp.zeros_like(x), jnp.asarray(True), Kept(lax.stop_gradient(start)))

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: Any, solver_state: RosenbrockState, made_jump: Any
    ) -> tuple[PyTree, PyTree, dict[str, PyTree], RosenbrockState, dfx.RESULTS]:
        """One step; a step whose linear systems cannot be solved returns `y0` and an infinite error."""
        return self.stepped(terms, t0, t1, y0, args, solver_state, made_jump)[0]

    def stepped(
        self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: Any, solver_state: RosenbrockState, made_jump: Any
    ) -> tuple[tuple[PyTree, PyTree, dict[str, PyTree], RosenbrockState, dfx.RESULTS], Array]:
        """One step, and the increments of its stages, shape `(s, n)`."""
        system = self._system(terms, t0, y0, args)
        structure, tableau = system.structure, self.tableau
        t, h = jnp.asarray(t0), jnp.asarray(t1 - t0)
        x = after_jump(system, t, structure.ravel(y0), made_jump)
        gh = tableau.gamma * h.astype(x.dtype)
        slope, slope_rate, evaluated = self._slopes(system, t, x, solver_state, made_jump)
        old: Linearization = lax.stop_gradient(solver_state.kept.value)
        fixed, t_fixed, x_fixed, gh_fixed = lax.stop_gradient((system, t, x, gh))
        work, factors, data = self._linearized(fixed, old, t_fixed, x_fixed, gh_fixed, made_jump)
        kept = data if self.max_jacobian_age else None
        solve = exact_solver(system, factors, t, x, gh, kept)
        done = rosenbrock_step(tableau, system, solve, t, x, h, slope, slope_rate)
        right = gh * (slope + tableau.g[0] * h.astype(x.dtype) * slope_rate)
        ok = done.ok & solves_well(fixed, data, done.increments[0], right)
        counts = add_counts(
            work.counts,
            num_residuals=tableau.num_stages - 1 + evaluated.astype(jnp.int32),
            num_solves=tableau.num_stages,
        )
        work = eqx.tree_at(lambda w: (w.counts, w.age), work, (counts, work.age + 1))
        state = RosenbrockState(
            done.slope,
            jnp.asarray(not tableau.ends_with_slope),
            keep(solver_state.kept, lax.stop_gradient(work)),
        )
        end = structure.unravel(jnp.where(ok, done.end, x))
        error = structure.unravel(jnp.where(ok, done.error, jnp.inf))
        failed = dfx.RESULTS.promote(optx.RESULTS.nonlinear_divergence)
        result = dfx.RESULTS.where(ok, dfx.RESULTS.successful, failed)
        return (end, error, self._dense(structure, structure.unravel(x), done), state, result), done.increments

    def _system(self, terms: Any, t: Any, y: PyTree, args: Any) -> StiffSystem:
        return prepare_system(
            terms, t, y, args, sparsity=self.sparsity, mass=self.mass, linear_solver=self.linear_solver
        )

    def _slopes(
        self, system: StiffSystem, t: Array, x: Array, state: RosenbrockState, made_jump: Any
    ) -> tuple[Array, Array, Array]:
        """f and f_t at the start, and whether f had to be evaluated."""
        slope, slope_rate = system.rhs.with_time_derivative(t, x)
        if not self.tableau.ends_with_slope:
            return slope, slope_rate, jnp.asarray(True)
        # The time derivative evaluates f anyway where it depends on time; where it does not, that is dead code.
        fresh = state.fresh | made_jump
        renewed = lax.cond(eqxi.unvmap_any(fresh), lambda: jnp.where(fresh, slope, state.slope), lambda: state.slope)
        return renewed, slope_rate, fresh

    def _linearized(
        self, system: StiffSystem, old: Linearization, t: Array, x: Array, gh: Array, made_jump: Any
    ) -> tuple[Linearization, Any, Array]:
        """J and the factors of M - gh J, as little of it computed anew as the method allows; and that matrix."""
        # A rejected step is tried again from where its Jacobian was taken.
        same = (old.time == t) | ((old.age < self.max_jacobian_age) & ~jnp.isnan(old.time))
        need = ~same | made_jump
        jacobian = lax.cond(
            eqxi.unvmap_any(need),
            lambda: jnp.where(need, system.jacobian(t, x, old.invariants), old.jacobian),
            lambda: old.jacobian,
        )
        work = eqx.tree_at(
            lambda w: (w.jacobian, w.time, w.age),
            old,
            (jacobian, jnp.where(need, t, old.time), jnp.where(need, 0, old.age)),
        )
        if not self.max_jacobian_age:
            data = system.matrix(jacobian, 1.0, -gh)
            counts = add_counts(work.counts, num_jacobians=need, num_factorizations=True)
            return eqx.tree_at(lambda w: w.counts, work, counts), system.factor(data), data
        again = need | ~(jnp.abs(gh / old.shift - 1) <= 0.2)
        shift = jnp.where(again, gh, old.shift)
        data = system.matrix(jacobian, 1.0, -shift)
        factors = lax.cond(
            eqxi.unvmap_any(again),
            lambda: jtu.tree_map(lambda a, b: jnp.where(again, a, b), system.factor(data), old.factors),
            lambda: old.factors,
        )
        counts = add_counts(work.counts, num_jacobians=need, num_factorizations=again)
        return eqx.tree_at(lambda w: (w.counts, w.factors, w.shift), work, (counts, factors, shift)), factors, data

    def _dense(self, structure: Any, y0: PyTree, done: RosenbrockStep) -> dict[str, PyTree]:
        powers = jnp.asarray(self.tableau.dense, done.increments.dtype) @ done.increments
        leaves = [structure.unravel(row) for row in powers]
        return {"y0": y0, "coefficients": jtu.tree_map(lambda *rows: jnp.stack(rows), *leaves)}


def constant_mass(mass: Any) -> Any:
    """A constant mass matrix as a `SparseMatrix`, on the host.

    Raises:
        TypeError: for a function.
    """
    if mass is None:
        return None
    if callable(mass):
        raise TypeError(
            "Rosenbrock methods got a mass matrix that is a function, but they hold for constant matrices; use BDF() "
            "or RadauIIA5(), or write M(t, y) y' = f as y' = z, 0 = M(t, y) z - f with a constant matrix."
        )
    return as_matrix(mass)
