"""What all Krylov solvers share: products with the operator, a preconditioner in the state, checked solves.

`init` linearises the operator. Where the preconditioner needs entries they are read (`_entries.py`), and all products
go through the layout of the pattern, arranged once; otherwise nothing but `operator.mv` is used. The preconditioner is
part of the state: transposed and conjugated solves, those of gradients among them, use it transposed and conjugated.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Bool, Inexact, PyTree

from sparsesolve._tree import Structure
from sparsesolve.krylov import BREAKDOWN, CONVERGED, MAX_STEPS, STAGNATION, KrylovInfo
from sparsesolve.linear._entries import probe, sparse_entries
from sparsesolve.matrix import SparseLinearOperator
from sparsesolve.pattern import SparsityPattern
from sparsesolve.precond import AbstractPreconditioner

FlatMap = Callable[[Inexact[Array, " n"]], Inexact[Array, " n"]]
KrylovMethod = Callable[..., tuple[Inexact[Array, " n"], KrylovInfo]]


class KrylovState(eqx.Module):
    """State of a Krylov solver.

    Attributes:
        operator: linearised, ready for many products; on the solver's pytrees or on flat vectors.
        preconditioner: `M^-1` as a lineax operator, or `None`.
        agrees: whether the declared pattern held all entries.
        source: structure of the unknowns.
        target: structure of the right-hand sides.
        negated: whether `operator` is minus the operator that was given.
    """

    operator: lx.AbstractLinearOperator
    preconditioner: lx.AbstractLinearOperator | None
    agrees: Bool[Array, ""]
    source: Structure = eqx.field(static=True)
    target: Structure = eqx.field(static=True)
    negated: bool = eqx.field(static=True, default=False)


class AbstractKrylovSolver(lx.AbstractLinearSolver[Any]):
    """Base of `GMRES`, `BiCGStab`, `IDR` and `CG`: they differ in the iteration only."""

    rtol: eqx.AbstractVar[Any]
    atol: eqx.AbstractVar[Any]
    max_steps: eqx.AbstractVar[int]
    preconditioner: eqx.AbstractVar[Any]
    pattern: eqx.AbstractVar[SparsityPattern | None]
    definite: eqx.AbstractClassVar[bool]  # solves definite matrices only: a negative one is negated first

    @property
    @abc.abstractmethod
    def method(self) -> KrylovMethod:
        """The method on flat vectors, with the options that are its own."""

    def prepare(self, pattern: SparsityPattern, sample: Inexact[Array, " nnz"] | None = None) -> Any:
        """The same solver with its preconditioner planned for one pattern.

        Operators are then read on this pattern and nothing is detected; an operator with an entry outside it is
        refused by the result of the solve.

        Args:
            pattern: square; `detect_sparsity(fn, y, args)` gives one.
            sample: concrete values in CSR order, where the preconditioner's plan depends on values.
        """
        given = self.preconditioner
        prepared = given.prepare(pattern, sample) if isinstance(given, AbstractPreconditioner) else given
        return dataclasses.replace(self, preconditioner=prepared, pattern=pattern)

    def init(self, operator: lx.AbstractLinearOperator, options: dict[str, Any]) -> KrylovState:
        """Linearises the operator and computes the preconditioner, unless `options` bring one."""
        name = type(self).__name__
        if operator.in_size() != operator.out_size():
            raise ValueError(
                f"{name} got an operator of shape {operator.out_size()} x {operator.in_size()}, but it solves as many "
                "equations as there are unknowns. For a least-squares solution write "
                "lx.linear_solve(operator, vector, lx.AutoLinearSolver(well_posed=False))."
            )
        source, target = Structure.of(operator.in_structure()), Structure.of(operator.out_structure())
        negated = self.definite and lx.is_negative_semidefinite(operator)
        operator = -operator if negated else operator
        given = None if "preconditioner" in options else self.preconditioner
        agrees = jnp.asarray(True)
        if isinstance(given, AbstractPreconditioner):
            matrix: Any = None
            if given.needs_matrix:
                matrix = sparse_entries(operator, self.pattern)
                if self.pattern is not None and not isinstance(operator, SparseLinearOperator):
                    agrees = probe(matrix, operator)
                operator = SparseLinearOperator(matrix)
            preconditioner = given(matrix)
        else:
            preconditioner = _as_operator(given, target, name)
        return KrylovState(lx.linearise(operator), preconditioner, agrees, source, target, negated)

    def compute(
        self, state: KrylovState, vector: PyTree[Array], options: dict[str, Any]
    ) -> tuple[PyTree[Array], lx.RESULTS, dict[str, Any]]:
        """Solves; the result says whether the true residual met the tolerance, and if not, why."""
        b = state.target.ravel(vector)
        preconditioner = state.preconditioner
        if "preconditioner" in options:
            preconditioner = _as_operator(options["preconditioner"], state.target, type(self).__name__)
        precondition = None if preconditioner is None else _flat(lx.linearise(preconditioner), b.shape[0])
        guess = options.get("y0")
        x0 = None if guess is None else state.source.ravel(guess)
        rtol: Any = float(jnp.finfo(b.dtype).eps) ** (2 / 3) if self.rtol is None else self.rtol
        matvec = _flat(state.operator, b.shape[0])
        x, info = self.method(
            matvec,
            -b if state.negated else b,
            x0,
            precondition=precondition,
            rtol=rtol,
            atol=self.atol,
            max_steps=self.max_steps,
        )
        stats = {
            "num_steps": info.num_steps,
            "residual_norm": info.residual_norm,
            "relative_residual": info.relative_residual,
            "max_steps": self.max_steps,
        }
        return state.source.unravel(x), _result(info, state.agrees), stats

    def transpose(self, state: KrylovState, options: dict[str, Any]) -> tuple[KrylovState, dict[str, Any]]:
        """The state of the transposed operator, with the preconditioner transposed."""
        preconditioner = None if state.preconditioner is None else state.preconditioner.transpose()
        transposed = dataclasses.replace(
            state,
            operator=lx.linearise(state.operator.transpose()),
            preconditioner=preconditioner,
            source=state.target,
            target=state.source,
        )
        if "preconditioner" not in options:
            return transposed, {}
        given = _as_operator(options["preconditioner"], state.target, type(self).__name__)
        return transposed, {} if given is None else {"preconditioner": given.transpose()}

    def conj(self, state: KrylovState, options: dict[str, Any]) -> tuple[KrylovState, dict[str, Any]]:
        """The state of the conjugated operator, with the preconditioner conjugated."""
        preconditioner = None if state.preconditioner is None else lx.conj(state.preconditioner)
        conjugated = dataclasses.replace(
            state, operator=lx.linearise(lx.conj(state.operator)), preconditioner=preconditioner
        )
        if "preconditioner" not in options:
            return conjugated, {}
        given = _as_operator(options["preconditioner"], state.target, type(self).__name__)
        return conjugated, {} if given is None else {"preconditioner": lx.conj(given)}

    def assume_full_rank(self) -> bool:
        """Square and nonsingular, or the result says otherwise."""
        return True


def _as_operator(given: Any, target: Structure, name: str) -> lx.AbstractLinearOperator | None:
    """A user's preconditioner as an operator from right-hand sides to unknowns."""
    if given is None or isinstance(given, lx.AbstractLinearOperator):
        operator = given
    elif callable(given) and not isinstance(given, AbstractPreconditioner):
        structs = [jax.ShapeDtypeStruct(s, d) for s, d in zip(target.shapes, target.dtypes, strict=True)]
        operator = lx.FunctionLinearOperator(given, target.treedef.unflatten(structs))
    else:
        raise TypeError(
            f"{name} got a preconditioner of type {type(given).__name__}; give one of this package's preconditioners "
            f"(to the solver: {name}(preconditioner=Jacobi())), a lineax operator that applies M^-1, or a function "
            "v -> M^-1 v."
        )
    if operator is not None and not operator.in_size() == operator.out_size() == target.size:
        raise ValueError(
            f"{name} got a preconditioner of shape {operator.out_size()} x {operator.in_size()} for a system of "
            f"{target.size} unknowns; it must map a residual to a correction of the same size."
        )
    return operator


def _flat(operator: lx.AbstractLinearOperator, size: int) -> FlatMap:
    """`operator.mv` on flat vectors of `size` numbers."""
    source, target = Structure.of(operator.in_structure()), Structure.of(operator.out_structure())
    return lambda v: target.ravel(operator.mv(source.unravel(v)))


def _result(info: KrylovInfo, agrees: Bool[Array, ""]) -> lx.RESULTS:
    result = lx.RESULTS.where(info.status == CONVERGED, lx.RESULTS.successful, lx.RESULTS.singular)
    result = lx.RESULTS.where(info.status == MAX_STEPS, lx.RESULTS.max_steps_reached, result)
    result = lx.RESULTS.where(info.status == STAGNATION, lx.RESULTS.stagnation, result)
    result = lx.RESULTS.where(info.status == BREAKDOWN, lx.RESULTS.breakdown, result)
    return lx.RESULTS.where(agrees, result, lx.RESULTS.singular)
