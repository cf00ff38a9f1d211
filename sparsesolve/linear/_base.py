"""What all direct lineax solvers share: entries of the operator, a plan, numeric factors in the state, checked solves.

`init` turns the operator into values on a pattern and factorizes them; the factors are arrays, so the state can be
a loop carry, be batched by `vmap`, or be kept over many solves. `compute` solves with iterative refinement and
checks the true residual; transposed and conjugated solves use the same factors:

    A^T x = b        from the factors of A,
    conj(A) x = b    as  conj(A^-1 conj(b)).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, DTypeLike, Inexact, PyTree

from sparsesolve._tree import Structure
from sparsesolve.direct import AbstractDirectPlan, SolveStatus, plan_direct, solve_refined
from sparsesolve.direct._plan import Method, plan_of_first_values
from sparsesolve.direct._symmetric import Symmetry
from sparsesolve.linear._entries import probe, sparse_entries
from sparsesolve.linear._symmetry import Use, usable_symmetry
from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
from sparsesolve.pattern import SparsityPattern


class DirectState(eqx.Module):
    """State of a direct solver: arrays that may be traced, and the static plan that says what they are.

    Attributes:
        factors: numeric factors, a pytree of arrays.
        data: CSR values that were factorized, for the residual check.
        agrees: whether the declared pattern held all entries (always true for a detected one).
        plan: symbolic factorization.
        source: structure of the unknowns of the untransposed operator.
        target: structure of its right-hand sides.
        transposed: solve with the transpose.
        conjugated: solve with the complex conjugate.
    """

    factors: PyTree[Array]
    data: Inexact[Array, " nnz"]
    agrees: Bool[Array, ""]
    plan: AbstractDirectPlan = eqx.field(static=True)
    source: Structure = eqx.field(static=True)
    target: Structure = eqx.field(static=True)
    transposed: bool = eqx.field(static=True, default=False)
    conjugated: bool = eqx.field(static=True, default=False)


class AbstractDirectSolver(lx.AbstractLinearSolver[Any]):
    """Base of `AutoSparse`, `SparseLU`, `SparseCholesky` and `Banded`: they differ in which plan they ask for."""

    plan: eqx.AbstractVar[AbstractDirectPlan | None]
    max_refinements: eqx.AbstractVar[int]
    max_linear_iterations: eqx.AbstractVar[int]
    factor_dtype: eqx.AbstractVar[DTypeLike | None]
    method: eqx.AbstractClassVar[Method]
    use_symmetry: eqx.AbstractClassVar[Use]

    def prepare(
        self,
        pattern: SparsityPattern,
        sample: Inexact[Array, " nnz"] | None = None,
        *,
        symmetry: Symmetry | None = None,
    ) -> Any:
        """The same solver with the plan for one pattern pinned.

        Operators are then read on this pattern and nothing is detected; an operator with an entry outside it is
        refused by the result of the solve.

        Args:
            pattern: square; `detect_sparsity(fn, y, args)` gives one.
            sample: concrete values in CSR order, by which pivots are matched and the plan is chosen.
            symmetry: `"positive"` or `"negative"` (definite and Hermitian), `"symmetric"` (`A = A^T`) or `"hermitian"`,
                for `AutoSparse` and `SparseCholesky`. `None`: not known, and positive for `SparseCholesky`.

        Raises:
            ValueError: if the pattern is not square, no choice of values makes it nonsingular, or it does not have the
                symmetry.
        """
        name = type(self).__name__
        _require_square(name, pattern.shape)
        if symmetry is not None and self.use_symmetry == "never":
            raise ValueError(
                f"{name} makes no use of symmetry={symmetry!r}; write AutoSparse() or SparseCholesky() instead."
            )
        if symmetry is None and self.use_symmetry == "always":
            symmetry = "positive"
        values = None if sample is None else np.asarray(sample)
        plan = plan_direct(
            pattern, method=self.method, sample=values, symmetry=symmetry, factor_dtype=self.factor_dtype
        )
        return dataclasses.replace(self, plan=plan)

    def explain(
        self,
        pattern: SparsityPattern,
        sample: Inexact[Array, " nnz"] | None = None,
        *,
        symmetry: Symmetry | None = None,
    ) -> None:
        """Prints what would be done with matrices of this pattern: kind, fill, flops, memory, and why: every method
        that was considered with its estimated time, or what it lacks."""
        print(self.prepare(pattern, sample, symmetry=symmetry).plan.explain())

    def init(self, operator: lx.AbstractLinearOperator, options: dict[str, Any]) -> DirectState:
        """Reads the entries of the operator and factorizes them.

        Without a prepared plan, concrete values are their own sample (the first ones seen on a pattern); traced ones
        cannot be looked at, so inside `jit` only `prepare` with a sample chooses pivots by value.
        """
        del options
        _require_square(type(self).__name__, (operator.out_size(), operator.in_size()))
        pinned = None if self.plan is None else self.plan.pattern
        matrix = sparse_entries(operator, pinned)
        plan = self.plan
        if plan is None:
            plan = self._plan_of(matrix, usable_symmetry(operator, matrix.pattern, self.use_symmetry))
        if plan.pattern != matrix.pattern:
            matrix = matrix.on_pattern(plan.pattern)
        declared = pinned is not None and not isinstance(operator, SparseLinearOperator)
        agrees = probe(matrix, operator) if declared else jnp.asarray(True)
        return DirectState(
            plan.factor(matrix.data),
            matrix.data,
            agrees,
            plan,
            Structure.of(operator.in_structure()),
            Structure.of(operator.out_structure()),
        )

    def _plan_of(self, matrix: SparseMatrix, symmetry: Symmetry | None) -> AbstractDirectPlan:
        values = None if isinstance(matrix.data, Tracer) else np.asarray(matrix.data)
        options = {"method": self.method, "symmetry": symmetry, "factor_dtype": self.factor_dtype}
        return plan_of_first_values(matrix.pattern, values, **options)

    def compute(
        self, state: DirectState, vector: PyTree[Array], options: dict[str, Any]
    ) -> tuple[PyTree[Array], lx.RESULTS, dict[str, Any]]:
        """Solves with refinement, GMRES where that fails, and a check of the true residual.

        `stats["status"]` is a `SolveStatus`; lineax's `result` is its nearest member: `stagnation` for `inaccurate`,
        `nonfinite_input` for `nonfinite`, `singular` for `singular` and `pattern_mismatch`.
        """
        del options
        source, target = (state.target, state.source) if state.transposed else (state.source, state.target)
        b = target.ravel(vector)
        b = b.astype(jnp.result_type(b, state.data))
        x, info = solve_refined(
            state.plan,
            state.factors,
            state.data,
            jnp.conj(b) if state.conjugated else b,
            transpose=state.transposed,
            max_refinements=self.max_refinements,
            max_linear_iterations=self.max_linear_iterations,
        )
        solution = source.unravel(jnp.conj(x) if state.conjugated else x)
        status = info.status
        if self.use_symmetry == "always":  # who asks for definiteness is told; otherwise the residual decides
            unsound = (status != SolveStatus.nonfinite) & ~state.plan.sound(state.factors)
            status = SolveStatus.where(unsound, SolveStatus.not_definite, status)
        status = SolveStatus.where(state.agrees, status, SolveStatus.pattern_mismatch)
        stats = {
            "status": status,
            "backward_error": info.backward_error,
            "num_refinements": info.num_refinements,
            "num_linear_iterations": info.num_linear_iterations,
            "nnz": state.plan.pattern.nnz,
            "nnz_factor": state.plan.nnz_factor,
            "factor_bytes": sum(leaf.size * leaf.dtype.itemsize for leaf in jtu.tree_leaves(state.factors)),
        } | state.plan.statistics(state.factors)
        return solution, _result(status), stats

    def transpose(self, state: DirectState, options: dict[str, Any]) -> tuple[DirectState, dict[str, Any]]:
        """The state of the transposed operator: the same factors."""
        return dataclasses.replace(state, transposed=not state.transposed), options

    def conj(self, state: DirectState, options: dict[str, Any]) -> tuple[DirectState, dict[str, Any]]:
        """The state of the conjugated operator: the same factors."""
        is_complex = jnp.issubdtype(state.data.dtype, jnp.complexfloating)
        return (dataclasses.replace(state, conjugated=not state.conjugated) if is_complex else state), options

    def assume_full_rank(self) -> bool:
        """Square and nonsingular, or the result says otherwise."""
        return True


def _result(status: SolveStatus) -> lx.RESULTS:
    """lineax's nearest word for a status."""
    result = lx.RESULTS.where(status == SolveStatus.successful, lx.RESULTS.successful, lx.RESULTS.singular)
    result = lx.RESULTS.where(status == SolveStatus.inaccurate, lx.RESULTS.stagnation, result)
    return lx.RESULTS.where(status == SolveStatus.nonfinite, lx.RESULTS.nonfinite_input, result)


def _require_square(name: str, shape: tuple[int, int]) -> None:
    if shape[0] != shape[1]:
        raise ValueError(
            f"{name} got an operator of shape {shape[0]} x {shape[1]}, but a factorization solves as many equations "
            "as there are unknowns; for a least-squares or minimum-norm solution write "
            "lx.linear_solve(operator, vector, lx.AutoLinearSolver(well_posed=False))."
        )
