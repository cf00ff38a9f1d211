"""`BDF`: variable-order, variable-step numerical differentiation formulas on a sparse Jacobian, as a diffrax solver.

The NDF of orders 1 to 5 of Shampine and Reichelt in backward differences at quasi-constant step size:

    sum_{m=1..k} (1/m) nabla^m y_{n+1} - kappa_k gamma_k (y_{n+1} - y_p) = h M^-1 f(t_{n+1}, y_{n+1}).

One step is a prediction, a corrector iteration with kept factors (`_corrector.py`), an update of the differences
(`_differences.py`) and a choice of order and step size (`_order.py`). Cost: mostly one right-hand side and one
triangular solve; a factorization every ten steps or so, a Jacobian when the iteration stops converging.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
import optimistix as optx
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from sparsesolve.ode.multistep._corrector import Equation, attach_derivative, correct
from sparsesolve.ode.multistep._differences import ALPHA, ERROR_CONSTANT, MAX_ORDER, PREDICTION, ROWS, UPDATE, rescaling
from sparsesolve.ode.multistep._order import choose, failure_norm, strictness
from sparsesolve.ode.newton._kept import Kept, keep
from sparsesolve.ode.newton._newton import Work, new_work
from sparsesolve.ode.stepping._after_jump import after_jump
from sparsesolve.ode.stepping._controller import ERROR_ORDER
from sparsesolve.ode.stepping._start import PROBES, first_reach, rough_slope, start_slope
from sparsesolve.ode.system._stats import Counts, add_counts
from sparsesolve.ode.system._system import StiffSystem, prepare_system
from sparsesolve.ode.system._weights import scaled_norm, tolerance_weights

_ITERATION_ERROR = 0.03
_SAME_STEP = 1e-2  # relative change of the step size that is rounding of times


class BDFState(eqx.Module):
    """State of `BDF` between steps.

    Attributes:
        differences: backward differences at `step`, shape `(8, n)`; row 0 is the solution.
        step: the step size they belong to.
        order: of the next step; 0 before the first one.
        equal_steps: accepted steps at this order and step size.
        kept: Jacobian, factors and statistics, kept through rejected steps.
    """

    differences: Float[Array, "rows n"]
    step: Float[Array, ""]
    order: Int[Array, ""]
    equal_steps: Int[Array, ""]
    kept: Kept

    @property
    def counts(self) -> Counts:
        """Statistics of the work done, that of rejected steps included."""
        return self.kept.value.counts


class DifferenceInterpolation(dfx.AbstractLocalInterpolation):
    """The polynomial of a BDF step through its last values, in Newton's form with backward differences.

    Attributes:
        t0: start of the step.
        t1: end of the step.
        y1: solution at `t1`.
        differences: of orders 1 to 5 at `t1`, zero above the order of the step, stacked in front.
        step: step size.
    """

    t0: Any
    t1: Any
    y1: PyTree[Array]
    differences: PyTree[Array]
    step: Array

    def evaluate(self, t0: Any, t1: Any | None = None, left: bool = True) -> PyTree[Array]:
        """The solution at `t0`, or its increment from `t0` to `t1`."""
        del left
        if t1 is not None:
            return jtu.tree_map(jnp.subtract, self.evaluate(t1), self.evaluate(t0))
        x = (t0 - self.t1) / self.step
        basis = [x]
        for m in range(1, MAX_ORDER):
            basis.append(basis[-1] * (x + m) / (m + 1))
        powers = jnp.stack(basis)
        return jtu.tree_map(
            lambda y, d: y + jnp.tensordot(powers.astype(jnp.finfo(d.dtype).dtype).astype(d.dtype), d, 1),
            self.y1,
            self.differences,
        )


class BDF(dfx.AbstractImplicitSolver, dfx.AbstractAdaptiveSolver):
    """Backward differentiation of orders 1 to 5: the method for large stiff systems and index-1 DAEs.

    Works in `diffrax.diffeqsolve` with any adaptive step size controller, from which it takes its tolerances. With
    `diffrax.PIDController(rtol, atol)` and that controller's default coefficients, step sizes are those of the method
    of Shampine and Reichelt.

    Attributes:
        linear_solver: any lineax solver; `None` means `AutoSparse()`.
        mass: the matrix of `M y' = f`: constant (`SparseMatrix`, SciPy or dense) or `mass(t, y, args)`; may be
            singular (index 1). `None` means the identity.
        sparsity: pattern of df/dy; detected when `None`.
        min_order: least order, where it was reached.
        max_order: largest order, 1 to 5.
        root_finder: only its `rtol`, `atol` and `norm` are used; by default those of the step size controller. For
            constant steps write `root_finder=diffrax.VeryChord(rtol=1e-6, atol=1e-8, norm=optimistix.rms_norm)`.

    References:
        L. F. Shampine, M. W. Reichelt, "The MATLAB ODE suite", SIAM J. Sci. Comput. 18 (1997) 1,
        doi:10.1137/S1064827594276424.

    Example:
        >>> import diffrax as dfx, jax.numpy as jnp
        >>> from sparsesolve.ode import BDF
        >>> def stiff(t, y, args):
        ...     return -1000.0 * (y - jnp.cos(t))
        >>> sol = dfx.diffeqsolve(
        ...     dfx.ODETerm(stiff), BDF(), 0.0, 3.0, None, jnp.array([0.0, 1.0]),
        ...     stepsize_controller=dfx.PIDController(rtol=1e-6, atol=1e-8),
        ... )
        >>> bool(jnp.all(jnp.abs(sol.ys[0] - jnp.cos(3.0) - jnp.sin(3.0) / 1000) < 1e-5))
        True
    """

    linear_solver: lx.AbstractLinearSolver | None = None
    mass: Any = None
    sparsity: Any = None
    min_order: int = eqx.field(static=True, default=1)
    max_order: int = eqx.field(static=True, default=MAX_ORDER)
    root_finder: optx.AbstractRootFinder = dfx.with_stepsize_controller_tols(dfx.VeryChord)()
    root_find_max_steps: int = eqx.field(static=True, default=4)

    term_structure: ClassVar = dfx.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., DifferenceInterpolation]] = DifferenceInterpolation

    def __check_init__(self) -> None:
        if not 1 <= self.min_order <= self.max_order <= MAX_ORDER:
            raise ValueError(
                f"BDF got min_order={self.min_order} and max_order={self.max_order}; orders run from 1 to {MAX_ORDER}."
            )

    def order(self, terms: PyTree[dfx.AbstractTerm]) -> int:
        """The largest order."""
        del terms
        return self.max_order

    def error_order(self, terms: PyTree[dfx.AbstractTerm]) -> int:
        """That of a step of order 1; see `_order.py` for how other orders are told to a controller."""
        del terms
        return ERROR_ORDER

    def func(self, terms: dfx.AbstractTerm, t0: Any, y0: PyTree[Array], args: Any) -> PyTree[Array]:
        """The vector field; with a mass matrix, each component divided by the largest entry of its row of `M`, and
        zero where there is none: an estimate of `y'` for the choice of a first step."""
        field = terms.vf(t0, y0, args)
        if self.mass is None:
            return field
        system = self._system(terms, t0, y0, args)
        return system.structure.unravel(rough_slope(system, t0, y0, field))

    def init(self, terms: dfx.AbstractTerm, t0: Any, t1: Any, y0: PyTree[Array], args: Any) -> BDFState:
        """Room for the history; the first step fills it."""
        system = self._system(terms, t0, y0, args)
        x = system.structure.ravel(y0)
        zero = jnp.asarray(0, jnp.int32)
        return BDFState(
            jnp.zeros((ROWS, system.size), system.dtype),
            jnp.asarray(t1 - t0),
            zero,
            zero,
            Kept(lax.stop_gradient(new_work(system, t0, x))),
        )

    def step(
        self,
        terms: dfx.AbstractTerm,
        t0: Any,
        t1: Any,
        y0: PyTree[Array],
        args: Any,
        solver_state: BDFState,
        made_jump: Any,
    ) -> tuple[PyTree[Array], PyTree[Array], dict[str, Any], BDFState, dfx.RESULTS]:
        """One step; a step whose corrector fails returns `y0` and an infinite error."""
        system = self._system(terms, t0, y0, args)
        x0 = after_jump(system, t0, system.structure.ravel(y0), made_jump)
        plan, equation, x1, converged, work = self.trial(system, solver_state, t0, t1, x0, made_jump)
        x1 = jnp.where(converged, x1, lax.stop_gradient(x0))
        x1 = attach_derivative(system, equation, x1, work.factors)
        after = plan.differences(x1)
        strict, norm_at = self._strictness(system), self._norms(system)

        fixed0, fixed1, fixed = lax.stop_gradient((x0, x1, after))
        norm = norm_at(fixed0, fixed1)
        neighbours = plan.order + jnp.arange(3)
        norms = jnp.stack([norm(row) for row in fixed[neighbours]])
        limits = self.min_order, self.max_order
        choice = choose(plan.order, plan.equal_steps + 1, norms, strict, limits, plan.reach)
        weights = self._weights(system, fixed0, fixed1)
        unit = norm(weights)  # 1 for most norms
        error = jnp.where(converged, choice.error_norm, failure_norm(plan.reach)) / unit
        state = BDFState(
            after,
            t1 - t0,
            choice.order,
            jnp.where(choice.restart_count, 0, plan.equal_steps + 1),
            keep(solver_state.kept, work),
        )
        failed = dfx.RESULTS.promote(optx.RESULTS.nonlinear_divergence)
        result = dfx.RESULTS.where(converged, dfx.RESULTS.successful, failed)
        y1 = system.structure.unravel(x1)
        dense = _dense_info(system, y1, after, plan.order, t1 - t0)
        return y1, system.structure.unravel(error * weights), dense, state, result

    def trial(self, system: StiffSystem, state: BDFState, t0: Any, t1: Any, x0: Array, made_jump: Any) -> _Trial:
        """The equation of a step and its solution; not differentiable."""
        strict, norm_at = self._strictness(system), self._norms(system)
        plan = _plan_step(system, state, t0, t1 - t0, x0, made_jump, (norm_at(lax.stop_gradient(x0)), strict))
        equation = Equation(t1, plan.predicted - plan.psi, plan.predicted, plan.c)
        fixed_system, fixed_equation = lax.stop_gradient((system, equation))
        kappa = _ITERATION_ERROR / (strict * jnp.asarray(ERROR_CONSTANT, system.dtype)[plan.order])
        size = norm_at(fixed_equation.guess)
        units = self._weights(system, fixed_equation.guess)
        near = jnp.where(plan.first, lax.stop_gradient(x0), fixed_equation.guess)
        return _Trial(plan, equation, *correct(fixed_system, plan.work, fixed_equation, size, kappa, near, units))

    def _strictness(self, system: StiffSystem) -> Array:
        return strictness(lax.stop_gradient(self.root_finder.rtol), system.dtype, algebraic=system.mass is not None)

    def _weights(self, system: StiffSystem, *states: Array) -> Array:
        return tolerance_weights(system.structure, self.root_finder.rtol, self.root_finder.atol, *states)

    def _norms(self, system: StiffSystem) -> Callable[..., Callable[[Array], Array]]:
        def norm_at(*states: Array) -> Callable[[Array], Array]:
            weights = self._weights(system, *states)
            return lambda v: scaled_norm(self.root_finder.norm, system.structure, v, weights)

        return norm_at

    def _system(self, terms: Any, t: Any, y: PyTree[Array], args: Any) -> StiffSystem:
        return prepare_system(
            terms, t, y, args, sparsity=self.sparsity, mass=self.mass, linear_solver=self.linear_solver, guarded=True
        )


class _StepPlan(NamedTuple):
    """What a step starts from: `scaling @ history` are the differences at its step size; prediction, equation."""

    order: Int[Array, ""]
    equal_steps: Int[Array, ""]
    history: Float[Array, "rows n"]
    scaling: Float[Array, "rows rows"]
    predicted: Float[Array, " n"]
    psi: Float[Array, " n"]
    c: Float[Array, ""]
    work: Work
    first: Bool[Array, ""]  # made without a history
    reach: Float[Array, ""]  # of such a step: what its start promises, in units of it; otherwise infinite

    def differences(self, y: Float[Array, " n"]) -> Float[Array, "rows n"]:
        """After the step to `y`."""
        update = jnp.asarray(UPDATE, y.dtype)[self.order]
        d = y - self.predicted
        return (update[:, :ROWS] @ self.scaling) @ self.history + update[:, ROWS:] * d[None]


class _Trial(NamedTuple):
    """A step before it is judged."""

    plan: _StepPlan
    equation: Equation
    y: Float[Array, " n"]
    converged: Bool[Array, ""]
    work: Work


def _plan_step(
    system: StiffSystem, state: BDFState, t0: Array, step: Array, x0: Float[Array, " n"], made_jump: Any, trial: Any
) -> _StepPlan:
    dtype = system.dtype
    ratio = step / state.step
    start = (state.order == 0) | jnp.asarray(made_jump)

    def begin() -> tuple[Array, Array]:
        slope = start_slope(system, t0, x0, step)
        rows = jnp.zeros_like(state.differences).at[0].set(x0).at[1].set(step.astype(dtype) * slope)
        if system.mass is not None:
            return rows, far
        fixed = lax.stop_gradient((system, t0, x0, slope, step))
        return rows, first_reach(*fixed, *trial) / fixed[-1].astype(dtype)

    far = jnp.asarray(jnp.inf, dtype)
    history, reach = lax.cond(start, begin, lambda: (state.differences, far))
    order = jnp.where(start, 1, state.order)
    ratio = jnp.where(start, 1.0, ratio)
    scaling = rescaling(order, ratio.astype(dtype))
    predicted, psi = (jnp.asarray(PREDICTION, dtype)[order] @ scaling) @ history
    changed = start | (jnp.abs(ratio - 1) > _SAME_STEP)
    c = (step / jnp.asarray(ALPHA, step.dtype)[order]).astype(dtype)
    old = state.kept.value
    probes = 0 if system.mass is not None else PROBES
    work = dataclasses.replace(old, counts=add_counts(old.counts, num_residuals=start * (1 + probes)))
    return _StepPlan(
        order, jnp.where(changed, 0, state.equal_steps), history, scaling, predicted, psi, c, work, start, reach
    )


def _dense_info(system: StiffSystem, y1: Any, differences: Array, order: Array, step: Array) -> dict[str, Any]:
    rows = jnp.arange(1, MAX_ORDER + 1)
    used = jnp.where((rows <= order)[:, None], differences[1 : MAX_ORDER + 1], 0.0)
    return {"y1": y1, "differences": jax.vmap(system.structure.unravel)(used), "step": step}
