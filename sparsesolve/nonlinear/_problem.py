"""A nonlinear system ready to be solved many times: plan and compiled iteration, found again by content.

Two tables make a second call cheap. The first goes by the user's function object and what it refers to (see
`_call_key.py`) and answers without tracing. The second goes by the traced computation itself, so that a lambda
written anew in every call still finds its plan and its compiled code. Both are bounded (`sparsesolve._cache`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
from jaxtyping import Array, PyTree

from sparsesolve._cache import BoundedCache
from sparsesolve._tree import Structure, fix_indices, partition
from sparsesolve.direct import plan_direct
from sparsesolve.jacobian import SparseJacobian
from sparsesolve.linear import AbstractDirectSolver
from sparsesolve.linear._call_key import call_key, forget_with
from sparsesolve.linear._prepared import prepared_jacobian
from sparsesolve.linear._pure import PureFunction, purify
from sparsesolve.nonlinear._checks import check_residual
from sparsesolve.nonlinear._driver import iterate
from sparsesolve.nonlinear._implicit import implicit_root
from sparsesolve.pattern import SparsityPattern

problem_cache = BoundedCache("nonlinear problems", maxsize=32)
call_cache = BoundedCache("root_find calls", maxsize=64)


class NonlinearProblem:
    """One residual at one set of shapes, with one solver.

    Attributes:
        jacobian: the prepared Jacobian.
        solver: with the plan of its linear solver pinned.
        solve: compiled `solve(y0, operands) -> (root, info)`, differentiable.
    """

    jacobian: SparseJacobian
    solver: Any
    solve: Callable[[PyTree[Array], tuple[Any, ...]], tuple[PyTree[Array], dict[str, Any]]]

    def __init__(
        self, pure: PureFunction, jacobian: SparseJacobian, solver: Any, options: dict[str, Any], declared: bool
    ):
        self.jacobian = jacobian
        self.solver = solver
        self._parts = (pure, options, declared)
        find = _finder(pure, jacobian, solver, options)
        self.solve = jax.jit(implicit_root(find, pure, jacobian, solver.linear_solver, declared))

    def matched(self, y: PyTree[Array], operands: tuple[Any, ...]) -> NonlinearProblem | None:
        """The problem with pivots matched to the Jacobian's values at `y`; `None` when that changes nothing.

        A plan made from the pattern alone trusts the diagonal where it is stored. Where values vanish there, the
        linear solve fails its check, and this is the remedy.
        """
        linear = self.solver.linear_solver
        if not isinstance(linear, AbstractDirectSolver) or linear.plan is None:
            return None
        plan = plan_direct(linear.plan.pattern, method=linear.method, sample=np.asarray(self._values(y, operands)))
        if plan == linear.plan:
            return None
        pure, options, declared = self._parts
        solver = dataclasses.replace(self.solver, linear_solver=dataclasses.replace(linear, plan=plan))
        return NonlinearProblem(pure, self.jacobian, solver, options, declared)

    def _values(self, y: PyTree[Array], operands: tuple[Any, ...]) -> Array:
        matrix = self.jacobian(y, *operands)
        plan = self.solver.linear_solver.plan
        return (matrix if plan.pattern == matrix.pattern else matrix.on_pattern(plan.pattern)).data


def _finder(pure: PureFunction, jacobian: SparseJacobian, solver: Any, options: dict[str, Any]) -> Callable:
    def residual(y: Any, operands: Any) -> tuple[Any, None]:
        return pure(y, *operands), None

    def find(y0: Any, operands: Any) -> tuple[Any, dict[str, Any]]:
        y, state, result, history = iterate(solver, residual, y0, operands, {"jacobian": jacobian}, **options)
        info = {
            "result": result,
            "counts": state.counts,
            "residual_norm": state.residual_norm,
            "finite_leaves": state.finite_leaves,
            "history": history,
        }
        return y, info

    return find


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A prepared problem, the operands to call it with, and where it is remembered."""

    problem: NonlinearProblem
    operands: tuple[Any, ...]
    keys: tuple[tuple[BoundedCache, Hashable], ...]

    def improved(self, y: PyTree[Array]) -> Prepared | None:
        """With pivots matched to values at `y`, remembered for later calls; `None` when that changes nothing."""
        better = self.problem.matched(y, self.operands)
        if better is None:
            return None
        for cache, key in self.keys:
            cache.store(key, better)
        return dataclasses.replace(self, problem=better)


def find_problem(
    fn: Callable[[Any, Any], Any],
    solver: optx.AbstractRootFinder,
    y0: PyTree[Array],
    args: Any,
    sparsity: SparsityPattern | None,
    options: dict[str, Any],
) -> Prepared:
    """The prepared problem of a call, made or remembered."""
    args = fix_indices(args)
    data, static = partition(args)
    shapes = tuple((jnp.shape(leaf), jnp.result_type(leaf), bool(leaf.weak_type)) for leaf in data)
    wishes = (solver, sparsity, tuple(sorted(options.items())), jnp.result_type(float))
    setting = (Structure.of(y0), static, shapes, wishes)
    key = call_key(fn, setting)
    known = None if key is None else call_cache.lookup(key)
    if known is not None:
        return Prepared(known, (tuple(data), ()), ((call_cache, key),))
    pure, data, captured = purify(fn, y0, args)
    check_residual(Structure.of(y0), Structure.of(pure.out))

    def prepare() -> NonlinearProblem:
        jacobian = prepared_jacobian(pure, y0, data, captured, sparsity)
        return NonlinearProblem(pure, jacobian, pinned(solver, jacobian), options, sparsity is not None)

    keys = ((problem_cache, (pure, setting)),)
    problem = problem_cache.get(keys[0][1], prepare)
    if key is not None and not pure.has_captured:
        call_cache.store(key, problem)
        forget_with(fn, call_cache.discard, key)
        keys = (*keys, (call_cache, key))
    return Prepared(problem, (data, captured), keys)


def pinned(solver: Any, jacobian: SparseJacobian) -> Any:
    """The solver with the plan of its direct linear solver made now, on the host."""
    linear: lx.AbstractLinearSolver = solver.linear_solver
    if isinstance(linear, AbstractDirectSolver) and linear.plan is None:
        return dataclasses.replace(solver, linear_solver=linear.prepare(jacobian.pattern))
    return solver
