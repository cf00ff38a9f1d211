"""A least-squares problem ready to be solved many times: plan and compiled iteration, found again by content.

As for nonlinear equations there are two tables. The first goes by the user's function objects and what they refer to
and answers without tracing; the second by the traced computation itself.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, PyTree

from sparsesolve._cache import BoundedCache
from sparsesolve._tree import Structure, fix_indices, partition
from sparsesolve.least_squares.descent._polytope import nearest_inside
from sparsesolve.least_squares.iteration._checks import check_residual
from sparsesolve.least_squares.iteration._driver import iterate
from sparsesolve.least_squares.iteration._engine import AbstractLeastSquaresSolver, tangent_structure
from sparsesolve.least_squares.iteration._formation import Form, formed
from sparsesolve.least_squares.iteration._implicit import implicit_minimiser
from sparsesolve.least_squares.iteration._results import RESULTS
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver
from sparsesolve.least_squares.objective._linear_constraints import LinearConstraints
from sparsesolve.least_squares.objective._objective import Objective, Operands
from sparsesolve.least_squares.objective._robust import make_losses
from sparsesolve.least_squares.objective._whiten import make_weights, whiten
from sparsesolve.linear._call_key import call_key, forget_with
from sparsesolve.linear._pure import purify
from sparsesolve.pattern import SparsityPattern, as_pattern

problem_cache = BoundedCache("least-squares problems", maxsize=32)
call_cache = BoundedCache("least_squares calls", maxsize=64)


@dataclasses.dataclass(frozen=True)
class Request:
    """The arguments of a call that make up the problem."""

    fn: Callable[[Any, Any], Any]
    solver: AbstractLeastSquaresSolver
    args: Any
    sigma: Any
    loss: Any
    retract: Any
    constraints: LinearConstraints | None
    sparsity: Any
    options: dict[str, Any]


class LeastSquaresProblem:
    """One residual at one set of shapes, with one solver. Host-side, hashable by identity.

    Attributes:
        objective: what is minimised.
        linear: how steps are solved for.
        solver: the recipe.
        solve: compiled `solve(y0, operands) -> (minimiser, info)`, differentiable.
    """

    def __init__(self, objective: Objective, linear: AbstractDampedSolver, request: Request):
        self.objective, self.linear, self.solver = objective, linear, request.solver
        options = dict(request.options)
        hessian = options.pop("hessian")
        find = _finder(objective, linear, request.solver, options)
        self.solve = jax.jit(implicit_minimiser(find, objective, linear, hessian))


def _finder(
    objective: Objective, linear: AbstractDampedSolver, solver: AbstractLeastSquaresSolver, options: dict[str, Any]
) -> Callable[[Any, Operands], tuple[Any, dict[str, Any]]]:
    def find(y0: Any, operands: Operands) -> tuple[Any, dict[str, Any]]:
        parts = {"objective": objective, "linear": linear}
        feasible = None
        if objective.constraints is not None:
            y0, feasible = _inside(objective, linear, y0, operands)
        y, state, result, history = iterate(solver, y0, operands, parts, **options, feasible=feasible)
        info = {
            "result": result,
            "good": result == RESULTS.successful,
            "counts": state.statistics,
            "cost": state.cost,
            "first_bad": state.first_bad,
            "history": history,
        }
        return y, info

    return find


def _inside(objective: Objective, linear: Any, y0: Any, operands: Operands) -> tuple[Any, Any]:
    """The point nearest to `y0` that fulfils all constraints, and whether there is one."""
    region = objective.region(y0, operands)
    assert region is not None
    step, feasible = nearest_inside(linear, region)
    return objective.move(y0, step, operands)[0], feasible


def find_problem(
    request: Request, y0: PyTree[Array], bounds: Any, equality: Any = None
) -> tuple[LeastSquaresProblem, Operands]:
    """The prepared problem of a call, made or remembered, and the operands to call it with."""
    args = fix_indices(request.args)
    parts = (args, request.sigma, request.loss)
    data, static = partition(parts)
    shapes = tuple((jnp.shape(leaf), jnp.result_type(leaf), bool(leaf.weak_type)) for leaf in data)
    wishes = (request.solver, bounds is None, tuple(sorted(request.options.items())), jnp.result_type(float))
    setting = (Structure.of(y0), static, shapes, wishes)
    key = _fast_key(request, setting)
    known = None if key is None else call_cache.lookup(key)
    if known is not None:
        problem, sort = known
        return problem, sort(parts, bounds)._replace(equality=equality)
    problem, operands, sort = _prepare(request, args, y0, bounds, setting)
    if key is not None and not operands.captured and not any(loss[1] for loss in operands.losses):
        call_cache.store(key, (problem, sort))
        forget_with(request.fn, call_cache.discard, key)
    return problem, operands._replace(equality=equality)


def _fast_key(request: Request, setting: Hashable) -> Hashable | None:
    """The key of a call, with every function in it recognised; `None` where that is not safe."""
    others = [leaf for leaf in jtu.tree_leaves((request.loss, request.retract)) if callable(leaf)]
    keys = []
    for other in others:
        part = call_key(other, ()) if isinstance(other, types.FunctionType | types.MethodType) else _hashed(other)
        if part is None:
            return None
        keys.append(part)
    special = request.sigma is not None and not isinstance(request.sigma, jax.Array)
    return None if special else call_key(request.fn, (setting, request.sparsity, request.constraints, tuple(keys)))


def _hashed(value: Any) -> Hashable | None:
    try:
        hash(value)
    except TypeError:
        return None
    return value


def _prepare(request: Request, args: Any, y0: PyTree[Array], bounds: Any, setting: Hashable) -> Any:
    """Traces the function and its losses; the problem, its operands, and how to sort those of later calls."""
    retract, tangent = request.retract, None
    if retract is not None:
        tangent = retract.tangent(y0) if hasattr(retract, "tangent") else y0
        tangent = jtu.tree_map(lambda leaf: jnp.zeros(jnp.shape(leaf), jnp.result_type(leaf, float)), tangent)
    weights = None
    if request.sigma is not None:
        shapes = jax.eval_shape(lambda y: request.fn(y, static_args(args)), y0)
        weights = make_weights(request.sigma, shapes)

    def weighted(y: Any, both: Any) -> Any:
        args_, weights_ = both
        residual = jtu.tree_map(jnp.asarray, request.fn(y, args_))
        return residual if weights_ is None else whiten(residual, weights_)

    def displaced(d: Any, both: Any) -> Any:
        start, rest = both
        return weighted(request.retract(start, d), rest)

    if retract is None:
        pure, data, captured = purify(weighted, y0, (args, weights))
        rest = data
    else:
        pure, data, captured = purify(displaced, tangent, (y0, (args, weights)))
        rest = data[len(jtu.tree_leaves(y0)) :]
    unknowns = Structure.of(y0)
    tangents = tangent_structure(unknowns, tangent)
    losses, loss_operands = make_losses(request.loss, pure.out)
    sparsity = request.sparsity
    if sparsity is not None:
        sparsity = as_pattern(sparsity, (Structure.of(pure.out).size, tangents.size))
    key = (pure, None if losses is None else losses.key, retract, request.constraints, sparsity, setting)

    def build() -> LeastSquaresProblem:
        check_residual(Structure.of(pure.out), tangents.size)
        start = y0 if retract is None else tangent
        form = Form(pure, unknowns, tangents, losses, retract, request.constraints)
        objective, linear = formed(form, (start, data, captured), sparsity, request.solver.linear_solver)
        return LeastSquaresProblem(objective, linear, request)

    problem = problem_cache.get(key, build)

    def sort(parts: Any, bounds_: Any) -> Operands:
        args_, sigma_, loss_ = parts
        shaped = None if sigma_ is None else make_weights(sigma_, pure.out)
        values, _ = partition((args_, shaped))
        return Operands(tuple(values), (), make_losses_data(loss_, loss_operands), bounds_)

    return problem, Operands(tuple(rest), captured, loss_operands, bounds), sort


def static_args(args: Any) -> Any:
    """Arguments with fixed index arrays as arrays again."""
    data, static = partition(args)
    return static.combine(data)


def make_losses_data(loss: Any, before: tuple[Any, ...]) -> tuple[Any, ...]:
    """The traced parameters of a loss that was traced before with the same structure."""
    if loss is None:
        return ()
    if callable(loss):
        data = tuple(partition(loss)[0])
        return tuple((data, ()) for _ in before)
    leaves = jtu.tree_leaves(loss, is_leaf=lambda x: x is None or callable(x))
    if len(leaves) != len(before):
        return before
    return tuple((tuple(partition(one)[0]) if one is not None else (), ()) for one in leaves)


__all__ = ["LeastSquaresProblem", "Request", "SparsityPattern", "find_problem"]
