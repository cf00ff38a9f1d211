"""`StiffSystem`: M y' = f(t, y) prepared for implicit methods: sparse J = df/dy, W = a M + b J, its factors and solves.

The plan (host-side, found again by content in later traces): the pattern of J united with that of M and the diagonal,
the colouring, the symbolic factorization, and which constant parts of J depend on time. The values (traced): J in CSR
order on that pattern, the factors of W as a pytree of arrays fit for a loop carry. One evaluation of J costs a few
JVPs; what it does not owe to y or t is computed once per solve (`invariants`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.extend.core as jex
import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
from jaxtyping import Array, Float, Inexact, PyTree

from sparsesolve._cache import BoundedCache
from sparsesolve.direct._guarded import GuardedPlan
from sparsesolve.jacobian import SparseJacobian
from sparsesolve.linear import AbstractDirectSolver, AutoSparse
from sparsesolve.linear._krylov_base import AbstractKrylovSolver
from sparsesolve.linear._prepared import prepared_jacobian
from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
from sparsesolve.ode.system._mass import Mass, prepare_mass
from sparsesolve.ode.system._real import RealStructure
from sparsesolve.ode.system._rhs import RightHandSide, right_hand_side
from sparsesolve.pattern import SparsityPattern

_INEXACT = 1e-3  # of Krylov solves inside Newton's method: its contraction rate is no better for less

_LARGE = 200_000  # factor entries from which half the memory traffic of a solve is worth a trial a factorization

system_cache = BoundedCache("stiff systems", maxsize=64)


@dataclasses.dataclass(frozen=True, eq=False)
class SystemPlan:
    """The static part of a `StiffSystem`; found again by content, so it compares by identity of its Jacobian.

    Attributes:
        jacobian: prepared Jacobian of the right-hand side with respect to the real leaves of the state.
        pattern: square; holds the Jacobian, the mass matrix and the diagonal.
        varying: which leaves of the Jacobian's invariants depend on time.
    """

    jacobian: SparseJacobian
    pattern: SparsityPattern
    varying: tuple[bool, ...]


class StiffSystem(eqx.Module):
    """M(t, y) y' = f(t, y) with everything that an implicit step needs. Made anew in every trace by `prepare_system`.

    All methods speak of real vectors `x` of `size` components (see `RealStructure`), and of matrices as values on
    `plan.pattern`.

    Attributes:
        rhs: `rhs(t, x)`.
        mass: the mass matrix; `None` for the identity.
        linear_solver: with its plan pinned to the pattern.
        plan: the static part.
        explicit: the other part of the slope, where methods for split equations treat one explicitly.
    """

    rhs: RightHandSide
    mass: Mass | None
    linear_solver: Any
    plan: SystemPlan = eqx.field(static=True)
    explicit: RightHandSide | None = None

    @property
    def structure(self) -> RealStructure:
        """Of the state."""
        return self.rhs.structure

    @property
    def size(self) -> int:
        """Number of real unknowns."""
        return self.structure.size

    @property
    def dtype(self) -> Any:
        """Of the real vector."""
        return self.structure.dtype

    def invariants(self, t: Array, x: Float[Array, " n"]) -> list[Array]:
        """Constant parts of the Jacobian, for `jacobian`; they hold for every `t` and `x` of one solve."""
        leaves = jtu.tree_leaves(self._invariants(t, x))
        return [leaf for leaf, varies in zip(leaves, self.plan.varying, strict=True) if not varies]

    def jacobian(self, t: Array, x: Float[Array, " n"], invariants: list[Array] | None = None) -> Float[Array, " nnz"]:
        """Values of df/dy on `plan.pattern`."""
        parts, data = self.structure.split(x), (t, *self.rhs.data)
        prepared = self.plan.jacobian
        if invariants is None:
            matrix = prepared(parts, data, self.rhs.captured)
        else:
            leaves, treedef = jtu.tree_flatten(self._invariants(t, x))
            constant = iter(invariants)
            leaves = [leaf if v else next(constant) for leaf, v in zip(leaves, self.plan.varying, strict=True)]
            whole = jtu.tree_unflatten(treedef, leaves)
            _, matrix = prepared.evaluate(parts, data, self.rhs.captured, invariants=whole)
        if matrix.pattern != self.plan.pattern:
            matrix = matrix.on_pattern(self.plan.pattern)
        return matrix.data.astype(self.dtype)

    def matrix(
        self,
        jacobian: Inexact[Array, " nnz"],
        mass_factor: Any,
        jacobian_factor: Any,
        t: Array | None = None,
        x: Float[Array, " n"] | None = None,
    ) -> Inexact[Array, " nnz"]:
        """Values of `mass_factor M + jacobian_factor J`; the factors may be complex.

        A mass matrix that depends on time or state is taken at `t`, `x`.
        """
        data = jacobian_factor * jacobian
        if self.mass is not None:
            return data + mass_factor * self.mass.on_pattern(t, x, self.plan.pattern)
        diagonal = self.plan.pattern.diagonal_positions
        shift = jnp.asarray(mass_factor).astype(jnp.result_type(data, mass_factor))
        return data.astype(shift.dtype).at[diagonal].add(shift, unique_indices=True, indices_are_sorted=True)

    def multiply_mass(
        self, v: Inexact[Array, " n"], t: Array | None = None, x: Float[Array, " n"] | None = None
    ) -> Inexact[Array, " n"]:
        """`M v`."""
        return v if self.mass is None else self.mass.multiply(v, t, x)

    def factor(self, data: Inexact[Array, " nnz"]) -> PyTree[Array]:
        """Factors of the matrix with these values (or what the linear solver keeps of it): arrays only."""
        state = self.linear_solver.init(SparseLinearOperator(SparseMatrix(data, self.plan.pattern)), {})
        return eqx.filter(state, eqx.is_array)

    def refactor(
        self, data: Inexact[Array, " nnz"], old: PyTree[Array], weights: Float[Array, " n"], force: Any
    ) -> PyTree[Array]:
        """As `factor`, in the place of older factors. Where the plan may lower the precision, `weights` are the units
        in which its trial is judged, and `force` keeps it from doing so."""
        plan = getattr(self.linear_solver, "plan", None)
        if not isinstance(plan, GuardedPlan):
            return self.factor(data)
        factors = plan.refactor(data, old.factors.full, weights, force)
        return dataclasses.replace(old, factors=factors, data=data)

    def no_factors(self, dtype: Any = None) -> PyTree[Array]:
        """Zeros in the place of factors, for the start of a loop."""
        struct = jax.ShapeDtypeStruct((self.plan.pattern.nnz,), self.dtype if dtype is None else dtype)
        return jtu.tree_map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(self.factor, struct))

    def solve(self, factors: PyTree[Array], b: Inexact[Array, " n"]) -> tuple[Inexact[Array, " n"], Any]:
        """`x` and the number of linear iterations.

        Newton's method is its own refinement, so the factors alone will do, except with a mass matrix: where it is
        singular, W is nearly so for small steps, and what perturbed pivots lose there no iteration would notice.
        """
        state = self.state_of(factors, b.dtype)
        if isinstance(self.linear_solver, AbstractDirectSolver) and self.mass is None:
            b = b.astype(jnp.result_type(b, state.data))
            return state.plan.solve(state.factors, b), 0
        solver = self.linear_solver
        if isinstance(solver, AbstractKrylovSolver) and solver.rtol is None:
            solver = dataclasses.replace(solver, rtol=_INEXACT)
        x, _, stats = solver.compute(state, b, {})
        return x, stats.get("num_steps", stats.get("num_linear_iterations", 0))

    def state_of(self, factors: PyTree[Array], dtype: Any) -> Any:
        """The linear solver's state of `factors`, for `compute`: with the parts that are not arrays."""
        floating = [leaf.dtype for leaf in jtu.tree_leaves(factors) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        data = jax.ShapeDtypeStruct((self.plan.pattern.nnz,), jnp.result_type(dtype, *floating))
        operator = lambda values: SparseLinearOperator(SparseMatrix(values, self.plan.pattern))  # noqa: E731
        struct = eqx.filter_eval_shape(lambda values: self.linear_solver.init(operator(values), {}), data)
        return eqx.combine(factors, eqx.filter(struct, lambda leaf: not isinstance(leaf, jax.ShapeDtypeStruct)))

    def _invariants(self, t: Array, x: Float[Array, " n"]) -> Any:
        return self.plan.jacobian.invariants(self.structure.split(x), (t, *self.rhs.data), self.rhs.captured)


def prepare_system(
    terms: dfx.AbstractTerm,
    t: Any,
    y: PyTree[Array],
    args: Any,
    *,
    sparsity: Any = None,
    mass: Any = None,
    linear_solver: lx.AbstractLinearSolver | None = None,
    guarded: bool = False,
) -> StiffSystem:
    """The system of one solve, while tracing `init` or `step` of a diffrax solver (or outside any trace).

    Args:
        terms: diffrax terms with one scalar control, time.
        t: any time.
        y: the state, a pytree; only shapes and dtypes matter.
        args: the third argument of the vector field.
        sparsity: pattern of df/dy between components of `y`; `None` to detect it.
        mass: `None`, a constant matrix (`SparseMatrix`, SciPy, dense), or `mass(t, y, args)` that returns one.
        linear_solver: any lineax solver; `AutoSparse()` if `None`.
        guarded: whether that may keep large factors in single precision, where a trial at every factorization finds
            them good enough (`GuardedPlan`): for callers whose iteration measures its own contraction.

    Raises:
        TypeError: for terms that are not ordinary differential equations.
        ValueError: if the mass matrix or the pattern has the wrong shape.
    """
    rhs = right_hand_side(terms, t, y, args)
    structure = rhs.structure
    if callable(mass):
        mass = _in_wrapped_time(mass, terms, t)
    prepared_mass = None if mass is None else prepare_mass(mass, t, y, args, structure)
    given = None if sparsity is None else structure.expand(as_pattern(sparsity))
    mass_pattern = None if prepared_mass is None else prepared_mass.pattern
    key = (rhs.pure, given, mass_pattern, jnp.result_type(float))
    plan = system_cache.get(key, lambda: _make_plan(rhs, t, y, given, mass_pattern))
    solver = _pinned(AutoSparse() if linear_solver is None else linear_solver, plan.pattern)
    if guarded and linear_solver is None and mass is None and structure.dtype == jnp.float64:
        solver = _guarded(solver)
    return StiffSystem(rhs, prepared_mass, solver, plan)


def _in_wrapped_time(mass: Callable, terms: dfx.AbstractTerm, t: Any) -> Callable:
    """The mass matrix as a function of diffrax's time, which runs forwards: `-t` where the user's runs backwards."""
    time = jnp.asarray(t, jnp.result_type(t, float))
    direction = terms.contr(jnp.zeros_like(time), jnp.ones_like(time))
    return lambda s, y, args: mass(s * direction, y, args)


def _make_plan(
    rhs: RightHandSide, t: Any, y: PyTree[Array], given: SparsityPattern | None, mass: SparsityPattern | None
) -> SystemPlan:
    structure = rhs.structure
    time = jnp.asarray(t, jnp.result_type(float)) if not jnp.issubdtype(jnp.result_type(t), jnp.inexact) else t
    values = (structure.parts(y), (jnp.asarray(time), *rhs.data), rhs.captured)
    prepared = prepared_jacobian(rhs.pure, *values, given, square=True)
    pattern = prepared.pattern if mass is None else prepared.pattern.union(mass)
    return SystemPlan(prepared, pattern, _varying(prepared, *values))


def _varying(prepared: SparseJacobian, parts: Any, data: Any, captured: Any) -> tuple[bool, ...]:
    """Which leaves of the invariants depend on `data[0]`, the time."""
    structs = jtu.tree_map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), (parts, captured))

    def leaves(t: Array, rest: Any, unknowns: Any, outer: Any) -> list[Array]:
        return jtu.tree_leaves(prepared.invariants(unknowns, (t, *rest), outer))

    closed = jax.make_jaxpr(leaves)(data[0], tuple(data[1:]), *structs)
    first = [k == 0 for k in range(len(closed.jaxpr.invars))]
    return tuple(_reached(closed.jaxpr, first))


def _reached(jaxpr: Any, inputs: list[bool]) -> list[bool]:
    """Which outputs of a jaxpr depend on the marked inputs."""
    marked = {v for v, mark in zip(jaxpr.invars, inputs, strict=True) if mark}

    def mark_of(v: Any) -> bool:
        return not isinstance(v, jex.Literal) and v in marked

    for eqn in jaxpr.eqns:
        marks = [mark_of(v) for v in eqn.invars]
        inner = eqn.params.get("jaxpr")
        if isinstance(inner, jex.ClosedJaxpr) and len(inner.jaxpr.invars) == len(marks) and eqn.primitive.name == "jit":
            out = _reached(inner.jaxpr, marks)
        else:
            out = [any(marks)] * len(eqn.outvars)
        marked.update(v for v, mark in zip(eqn.outvars, out, strict=True) if mark)
    return [mark_of(v) for v in jaxpr.outvars]


def _pinned(solver: Any, pattern: SparsityPattern) -> Any:
    """The linear solver with its plan made now, on the host, unless the user's own plan fits."""
    if isinstance(solver, AbstractDirectSolver):
        fits = solver.plan is not None and solver.plan.pattern == pattern
        return solver if fits else solver.prepare(pattern)
    if isinstance(solver, AbstractKrylovSolver) and solver.pattern != pattern:
        return solver.prepare(pattern)
    return solver


def _guarded(solver: AutoSparse) -> AutoSparse:
    plan = solver.plan
    assert plan is not None
    return solver if plan.nnz_factor < _LARGE else dataclasses.replace(solver, plan=GuardedPlan(plan))


def as_pattern(sparsity: Any) -> SparsityPattern:
    """A pattern from a matrix of any kind."""
    if isinstance(sparsity, SparsityPattern):
        return sparsity
    if isinstance(sparsity, SparseJacobian | SparseMatrix):
        return sparsity.pattern
    convert: Callable[[Any], SparsityPattern] = SparsityPattern.from_scipy
    if not hasattr(sparsity, "tocsr"):
        convert = SparsityPattern.from_dense
    return convert(sparsity)
