"""One trial of a least-squares iteration: linearise where the iterate is new, propose a step, evaluate, judge.

A rejected trial changes the damping alone; the Jacobian and what was made of it are kept. What a step is comes from the
descent (`_descent.py`), whether it is taken from `_judgement.py`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import optimistix as optx
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from sparsesolve._tree import Structure
from sparsesolve.least_squares.descent._descent import AbstractDescent, Model, Proposal, Verdict, kept_off_zero
from sparsesolve.least_squares.descent._judgement import Judgement, Progress, Sizes, Tolerances, Trial, judge
from sparsesolve.least_squares.iteration._box import within_bounds
from sparsesolve.least_squares.iteration._formation import Form, formed
from sparsesolve.least_squares.iteration._results import RESULTS
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver
from sparsesolve.least_squares.objective._objective import Linearisation, Objective, Operands
from sparsesolve.least_squares.objective._robust import LEAST_STIFFNESS
from sparsesolve.linear._pure import purify_module
from sparsesolve.linear._resolution import resolved_rtol

_SHORT = 0.1  # relative length of a step near a solution
_SLOW = 0.1  # contraction from which on the curvature of losses is worth a trial
_FORGOTTEN = 0.5  # of what a failure taught, with each step
_TOO_STIFF, _TOO_SOFT = 1.25, 0.75  # ratios of decreases that tell so of a model
_COUNTS = ("num_steps", "num_residuals", "num_jacobians", "num_factorizations", "num_linear_iterations")


class Stiffness(NamedTuple):
    """Share of an outlier's weight that the linear model takes for curvature, and the least share to try.

    A share with which a step failed is tried again after a few successful ones.
    """

    share: Float[Array, ""]
    least: Float[Array, ""]


class Plan:
    """The static parts of a state: objective, linear solver, recipe of damping."""

    def __init__(self, objective: Objective, linear: AbstractDampedSolver, descent: AbstractDescent):
        self.objective, self.linear, self.descent = objective, linear, descent

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Plan):
            return False
        return self.objective.pure == other.objective.pure and self.descent == other.descent

    def __hash__(self) -> int:
        return hash((self.objective.pure, self.descent))


class State(eqx.Module):
    """What an iteration carries from trial to trial.

    Attributes:
        operands: everything traced besides the unknowns.
        invariants: constant parts of the Jacobian.
        lin: linearisation at the iterate, valid unless `stale`.
        prepared: what the linear solver made of it.
        damping: of the descent.
        stale: whether the iterate is new.
        cost: at the iterate.
        ratio: actual by predicted decrease of the last trial.
        step_size: `|D d| / |D y|` of the last trial.
        progress: of the last trial, where it tells how fast the iteration contracts.
        stiffness: how stiff the linear model takes outliers to be.
        first_bad: position of the first residual that is not finite at the start, -1 if all are.
        converged: whether a test held.
        result: `RESULTS.successful` until something fails.
        counts: statistics, one vector because each kernel that adds to a number takes its time to compile.
        plan: static parts.
    """

    operands: Operands
    invariants: PyTree[Array]
    lin: Linearisation
    prepared: PyTree[Array]
    damping: PyTree[Array]
    stale: Bool[Array, ""]
    cost: Float[Array, ""]
    ratio: Float[Array, ""]
    step_size: Float[Array, ""]
    progress: Progress
    stiffness: Stiffness
    first_bad: Int[Array, ""]
    converged: Bool[Array, ""]
    result: RESULTS
    counts: Int[Array, " counts"]
    plan: Plan = eqx.field(static=True)

    @property
    def num_steps(self) -> Int[Array, ""]:
        """Trials so far."""
        return self.counts[_COUNTS.index("num_steps")]

    @property
    def statistics(self) -> dict[str, Int[Array, ""]]:
        """The counts by their names."""
        return {name: self.counts[i] for i, name in enumerate(_COUNTS)}


class AbstractLeastSquaresSolver(optx.AbstractLeastSquaresSolver):
    """Base of the solvers: they differ in the descent they ask for."""

    rtol: eqx.AbstractVar[Any]
    atol: eqx.AbstractVar[Any]
    ftol: eqx.AbstractVar[Any]
    linear_solver: eqx.AbstractVar[str]
    norm: eqx.AbstractVar[Callable[[PyTree], Array]]

    @abc.abstractmethod
    def descent(self, objective: Objective, linear: AbstractDampedSolver) -> AbstractDescent:
        """The recipe of damping for a problem."""

    @abc.abstractmethod
    def uses_curvature(self, linear: AbstractDampedSolver) -> bool:
        """Whether steps get a geodesic acceleration."""

    def init(
        self,
        fn: Callable,
        y: PyTree[Array],
        args: Any,
        options: dict[str, Any],
        f_struct: PyTree[jax.ShapeDtypeStruct],
        aux_struct: PyTree[jax.ShapeDtypeStruct],
        tags: frozenset[object],
    ) -> State:
        """The state before the first trial; `options` may hand over a prepared `"objective"` and `"linear"` solver."""
        del f_struct, aux_struct, tags
        if "objective" in options:
            objective, linear = options["objective"], options["linear"]
        else:
            objective, linear, args = objective_of(fn, y, args, self.linear_solver)
        resolved_rtol(self.rtol, objective.tangents)
        plan = Plan(objective, linear, self.descent(objective, linear))
        invariants = objective.invariants(y, args)

        def empty() -> Any:
            lin = objective.linearise(y, args, invariants)
            return lin, linear.prepare_operator(objective.operator(lin, y, args))

        lin, prepared = jtu.tree_map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(empty))
        m, n = objective.shape
        real = objective.dtype
        infinite = jnp.asarray(jnp.inf, real)
        return State(
            operands=args,
            invariants=invariants,
            lin=lin,
            prepared=prepared,
            damping=plan.descent.init(m, n, real),
            stale=jnp.asarray(True),
            cost=infinite,
            ratio=jnp.asarray(0.0, real),
            step_size=infinite,
            progress=Progress(infinite, infinite),
            stiffness=Stiffness(jnp.asarray(1.0, real), jnp.asarray(LEAST_STIFFNESS, real)),
            first_bad=jnp.asarray(-1, jnp.int32),
            converged=jnp.asarray(False),
            result=RESULTS.successful,
            counts=jnp.zeros((len(_COUNTS),), jnp.int32),
            plan=plan,
        )

    def step(
        self,
        fn: Callable | None,
        y: PyTree[Array],
        args: Any,
        options: dict[str, Any],
        state: State,
        tags: frozenset[object],
    ) -> tuple[PyTree[Array], State, Any]:
        """One trial."""
        del options, tags
        plan, operands = state.plan, state.operands
        objective = plan.objective
        lin, kept = _linearised(y, state)
        jacobian = objective.operator(lin, y, operands)
        prepared = plan.linear.bound(kept, jacobian)
        squares = kept_off_zero(plan.linear.diagonal(prepared))
        bent = self.uses_curvature(plan.linear) and objective.losses is None  # losses bend residuals differently
        curvature = _curvature(objective, y, operands) if bent else None
        position = objective.unknowns.ravel(y).astype(lin.residual.dtype) if objective.retract is None else None
        model = Model(lin, jacobian, prepared, squares, state.stale, curvature, position, objective.region(y, operands))
        proposal, damping = plan.descent.propose(plan.linear, model, state.damping)
        proposal = within_bounds(objective, plan.linear, plan.descent, model, damping, proposal, y, operands)

        new_y, taken = objective.move(y, proposal.step, operands)
        residual = objective.residual(new_y, operands)
        tolerances = Tolerances(self.rtol, self.atol, self.ftol)
        trial = Trial(proposal, taken, residual)
        sizes = Sizes(objective.scale_of(y), squares)
        judged = judge(objective, tolerances, lin, jacobian, trial, sizes, operands, state.progress)
        stiffness, changed = _softened(objective, state, judged)
        verdict = Verdict(judged.ratio, judged.accepted, taken)
        new_state = State(
            operands=operands,
            invariants=state.invariants,
            lin=lin,
            prepared=kept,
            damping=plan.descent.update(damping, verdict),
            stale=judged.accepted | changed,
            cost=jnp.where(judged.accepted, objective.cost(residual, operands), lin.cost),
            ratio=judged.ratio,
            step_size=judged.size,
            progress=Progress(*(jnp.where(changed, jnp.inf, number) for number in judged.progress)),
            stiffness=stiffness,
            first_bad=jnp.where(state.num_steps == 0, _first_bad(lin.residual), state.first_bad),
            converged=judged.converged,
            result=_result(lin, judged, judged.accepted | judged.moved | ~proposal.good | changed),
            counts=_counted(state, proposal),
            plan=plan,
        )
        chosen = jtu.tree_map(lambda a, b: jnp.where(judged.accepted, a, b), new_y, y)
        return chosen, new_state, None if fn is None else fn(chosen, args)[1]

    def terminate(
        self,
        fn: Callable,
        y: PyTree[Array],
        args: Any,
        options: dict[str, Any],
        state: State,
        tags: frozenset[object],
    ) -> tuple[Bool[Array, ""], optx.RESULTS]:
        """Whether the last trial ended the iteration."""
        del fn, y, args, options, tags
        failed = state.result != RESULTS.successful
        return state.converged | failed, optx.RESULTS.where(
            failed, optx.RESULTS.nonlinear_divergence, optx.RESULTS.successful
        )

    def postprocess(
        self,
        fn: Callable,
        y: PyTree[Array],
        aux: Any,
        args: Any,
        options: dict[str, Any],
        state: State,
        tags: frozenset[object],
        result: optx.RESULTS,
    ) -> tuple[PyTree[Array], Any, dict[str, Any]]:
        """Adds the statistics."""
        del fn, args, options, tags, result
        return y, aux, state.statistics


def _linearised(y: PyTree[Array], state: State) -> tuple[Linearisation, Any]:
    plan = state.plan

    def fresh() -> Any:
        lin = plan.objective.linearise(y, state.operands, state.invariants, state.stiffness.share)
        return lin, plan.linear.prepare_operator(plan.objective.operator(lin, y, state.operands))

    return lax.cond(state.stale, fresh, lambda: (state.lin, state.prepared))


def _softened(objective: Objective, state: State, judged: Judgement) -> tuple[Stiffness, Array]:
    """How stiff the next model takes outliers to be, and whether the same point gets another model.

    Softer where an undamped short step decreased the cost more than foretold, stiffer where it decreased it less.
    """
    before, least = state.stiffness
    if not objective.bends:
        return state.stiffness, jnp.asarray(False)
    last, size = state.progress.size, judged.progress.size  # infinite where damped
    slow = jnp.isfinite(last) & (size <= _SHORT) & (size > _SLOW * last)
    softer = judged.accepted & slow & (judged.ratio > _TOO_STIFF)
    failed = ~judged.accepted & (before < 1)
    least = jnp.where(failed, 4 * before, jnp.where(judged.accepted, _FORGOTTEN * least, least))
    least = jnp.clip(least, LEAST_STIFFNESS, 1.0)
    stiffer = failed | (judged.ratio < _TOO_SOFT)
    now = jnp.where(softer, before / 10, jnp.where(stiffer, before * 10, before))
    now = jnp.clip(now, least, 1.0)
    return Stiffness(now, least), now != before


def _curvature(objective: Objective, y: PyTree[Array], operands: Operands) -> Callable[[Array], Array]:
    def along(v: Array) -> Array:
        def at(t: Array) -> Array:
            return objective.displaced(y, t * v, operands)

        zero, one = jnp.zeros((), v.dtype), jnp.ones((), v.dtype)
        return jax.jvp(lambda t: jax.jvp(at, (t,), (one,))[1], (zero,), (one,))[1]

    return along


def _first_bad(residual: Array) -> Int[Array, ""]:
    bad = ~jnp.isfinite(residual)
    first = jnp.argmax(bad)
    return jnp.where(bad[first], first, -1).astype(jnp.int32)


def _result(lin: Linearisation, judged: Judgement, alive: Array) -> RESULTS:
    result = RESULTS.where(alive | judged.converged, RESULTS.successful, RESULTS.stagnated)
    result = RESULTS.where(judged.finite, result, RESULTS.nonfinite_jacobian)
    return RESULTS.where(jnp.isfinite(lin.cost), result, RESULTS.nonfinite_start)


def _counted(state: State, proposal: Proposal) -> Array:
    first = state.num_steps == 0
    more = {
        "num_steps": 1,
        "num_residuals": jnp.where(first, 2, 1),
        "num_jacobians": state.stale,
        "num_factorizations": proposal.factorizations,
        "num_linear_iterations": proposal.iterations,
    }
    return state.counts + jnp.stack([jnp.asarray(more[name], jnp.int32) for name in _COUNTS])


def objective_of(
    fn: Callable, y: PyTree[Array], args: Any, method: str
) -> tuple[Objective, AbstractDampedSolver, Operands]:
    """What optimistix hands over, `fn(y, args) -> (residual, aux)`, as an objective with a solver for its steps."""
    # Equinox closures insist on the split of arguments they were converted with: arrays and the rest.
    pure, data, captured = purify_module(lambda y_, args_: fn(y_, args_)[0], args, y)
    structure = Structure.of(y)
    form = Form(pure, structure, structure, None, None)
    objective, linear = formed(form, (y, data, captured), None, method)
    return objective, linear, Operands(data, captured, (), None)


def tangent_structure(unknowns: Structure, tangent: Any) -> Structure:
    """The structure of steps: that of the unknowns, or of a tangent that a retraction names."""
    return unknowns if tangent is None else Structure.of(tangent)
