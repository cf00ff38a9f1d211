"""What a solution of `least_squares` remembers of its problem, for covariances and reports."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import numpy as np
import scipy.sparse
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from sparsesolve._tree import Structure
from sparsesolve.least_squares.iteration._problem import LeastSquaresProblem
from sparsesolve.least_squares.objective._equality import NullSpaceRetraction
from sparsesolve.least_squares.objective._objective import Linearisation, Objective, Operands
from sparsesolve.least_squares.statistics._reduced import Reduction
from sparsesolve.matrix import SparseMatrix


class Fit(eqx.Module):
    """The problem of a solution, `sol.state`.

    Attributes:
        value: the fitted parameters.
        operands: everything traced besides them.
        problem: static parts.
        reduction: basis of the steps that linear equality constraints leave, where they were kept beside bounds.
    """

    value: PyTree[Array]
    operands: Operands
    problem: LeastSquaresProblem = eqx.field(static=True)
    reduction: Reduction | None = eqx.field(default=None, static=True)

    @property
    def tangents(self) -> Structure:
        """Structure of a step: of the parameters, or of tangent vectors where there is a retraction."""
        return self.problem.objective.tangents

    @property
    def basis(self) -> scipy.sparse.csr_matrix | None:
        """`Z` of steps `Z u` that keep linear equality constraints."""
        if self.reduction is not None:
            return self.reduction.basis
        retract = self.problem.objective.retract
        return retract.basis if isinstance(retract, NullSpaceRetraction) else None

    @property
    def parameters(self) -> Structure:
        """Structure of what has a covariance: steps, or with equality constraints the parameters themselves."""
        return self.tangents if self.basis is None else self.problem.objective.unknowns

    @property
    def num_coordinates(self) -> int:
        """Number of parameters that can be chosen."""
        return self.tangents.size if self.reduction is None else self.reduction.basis.shape[1]

    @property
    def objective(self) -> Objective:
        """What was minimised, with a Jacobian that has entries even where steps did without."""
        return self.problem.objective.stored(self.value, self.operands)

    @property
    def num_residuals(self) -> int:
        """Length of the flat residual."""
        return self.problem.objective.residuals.size

    def residual(self) -> Float[Array, " m"]:
        """The flat residual at the solution, weighted, without loss."""
        return self.problem.objective.residual(self.value, self.operands)

    def linearise(self, hold_bounds: bool = False) -> Linearisation:
        """Cost, residual and Jacobian at the solution, corrected for losses; of all parameters, or of those that no
        bound holds."""
        operands = self.operands if hold_bounds else self.operands._replace(bounds=None)
        return self.objective.linearise(self.value, operands, None)

    def jacobian(self) -> SparseMatrix:
        """The Jacobian at the solution, corrected for losses."""
        return SparseMatrix(self.linearise().data, self.objective.pattern)

    def reduced(self, hold_bounds: bool = False) -> Fit:
        """The same in the coordinates that equality constraints leave, where these were kept beside bounds.

        Raises:
            TypeError: bounds are to be held, and it is not known at which of them parameters are.
        """
        constraints = self.problem.objective.constraints
        if constraints is None:
            return self
        held = np.zeros(self.tangents.size, bool)
        if hold_bounds:
            assert self.operands.bounds is not None
            at = self.tangents.ravel(self.value)
            if any(isinstance(x, Tracer) for x in (at, *self.operands.bounds)):
                raise TypeError(
                    "covariance got hold_bounds=True and traced parameters of a fit with equality constraints; which "
                    "of them are at bounds must be known. Return the solution from the jitted function first."
                )
            low, high = (np.asarray(side) for side in self.operands.bounds)
            held = (np.asarray(at) <= low) | (np.asarray(at) >= high)
        return dataclasses.replace(self, reduction=Reduction(constraints.matrix, held))

    def positions(self) -> PyTree[np.ndarray]:
        """Where each parameter is in flat vectors: integers in the structure of `parameters`."""
        structure = self.parameters
        parts = np.split(np.arange(structure.size), np.cumsum(structure.sizes)[:-1])
        leaves = [part.reshape(shape) for part, shape in zip(parts, structure.shapes, strict=True)]
        return structure.treedef.unflatten(leaves)


def fit_of(sol: Any, caller: str) -> Fit:
    """The `Fit` of a solution.

    Raises:
        TypeError: it is no solution of `least_squares`.
    """
    fit = getattr(sol, "state", None)
    if not isinstance(fit, Fit):
        raise TypeError(
            f"{caller} got {type(sol).__name__}, which does not remember a problem; give it the solution that "
            "least_squares returned."
        )
    return fit
