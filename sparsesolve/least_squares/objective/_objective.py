"""What is minimised: half the sum of squared, weighted, robustified residuals, in the unknowns' tangent space.

Without a retraction the unknowns `y` are a flat vector and a step adds to it. With one, `y` lives on a manifold, a step
is a tangent vector `d` of its own structure, `retract(y, d)` the new point, and derivatives are those at `d = 0`.
Bounds belong to the former kind: an unknown at a bound that the gradient presses against is fixed for a step, its
column of `J` and its gradient are zero, and steps are cut off at the box.

Reference: C. Kanzow, N. Yamashita, M. Fukushima, Levenberg-Marquardt methods with strong local convergence properties
for solving nonlinear equations with convex constraints, J. Comput. Appl. Math. 172 (2004) 375-397,
doi:10.1016/j.cam.2004.02.013.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, PyTree

from sparsesolve._tree import Structure
from sparsesolve.least_squares.objective._linear_constraints import LinearConstraints, Polytope
from sparsesolve.least_squares.objective._robust import BlockLosses
from sparsesolve.linear._pure import PureFunction
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern


class Operands(NamedTuple):
    """Everything traced besides the unknowns.

    Attributes:
        data: array leaves of the arguments.
        captured: values of outer transformations that the residual closes over.
        losses: traced parameters of the losses.
        bounds: lower and upper bounds as flat vectors, `None` without.
        equality: right-hand side of the constraints that are kept beside bounds, `None` without.
    """

    data: tuple[Any, ...]
    captured: tuple[Any, ...]
    losses: tuple[Any, ...]
    bounds: tuple[Float[Array, " n"], Float[Array, " n"]] | None
    equality: Float[Array, " p"] | None = None


class Linearisation(NamedTuple):
    """Residual and Jacobian at an iterate, corrected for losses, columns of fixed unknowns zero.

    Attributes:
        cost: half the sum of squares, or of losses.
        residual: shape `(m,)`.
        data: CSR values on the objective's pattern; none where the Jacobian is not stored.
        gradient: `J^T r`, shape `(n,)`.
        free: which unknowns may move.
    """

    cost: Float[Array, ""]
    residual: Inexact[Array, " m"]
    data: Inexact[Array, " nnz"]
    gradient: Inexact[Array, " n"]
    free: Bool[Array, " n"]


@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
    """The static part. Hashable by identity.

    Attributes:
        pure: `pure(y, data, captured)`; with a retraction `pure(d, (leaves of y, *data), captured)`.
        jacobian: of `pure` with respect to its first argument.
        unknowns: structure of `y`.
        tangents: structure of a step.
        losses: of the residual's leaves, or `None`.
        retract: `retract(y, d)`, or `None`.
        declared: the pattern was given and not detected.
        constraints: linear equality constraints that are kept beside bounds. Steps know of both: no unknown is fixed.
    """

    pure: PureFunction
    jacobian: Any  # a SparseJacobian
    unknowns: Structure
    tangents: Structure
    losses: BlockLosses | None
    retract: Any
    declared: bool
    constraints: LinearConstraints | None = None

    @property
    def residuals(self) -> Structure:
        """Structure of the residual."""
        return Structure.of(self.pure.out)

    @property
    def dtype(self) -> np.dtype:
        """Of all flat vectors."""
        return np.dtype(jnp.result_type(self.tangents.dtype, self.residuals.dtype))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of residuals and of coordinates of a step."""
        return self.residuals.size, self.tangents.size

    @property
    def num_colors(self) -> int:
        """Products that an evaluation of the Jacobian takes; 0 where it is not evaluated."""
        return self.jacobian.num_colors

    @property
    def nnz(self) -> int:
        """Entries of the Jacobian; 0 where none are stored."""
        return self.jacobian.pattern.nnz

    @property
    def pattern(self) -> SparsityPattern:
        """Of the corrected Jacobian."""
        return self.jacobian.pattern if self.losses is None else self.losses.pattern(self.jacobian.pattern)

    def residual(self, y: PyTree[Array], operands: Operands) -> Inexact[Array, " m"]:
        """The flat residual, without losses."""
        return self._flat(self.pure(*self._arguments(y, operands)))

    def displaced(self, y: PyTree[Array], d: Inexact[Array, " n"], operands: Operands) -> Inexact[Array, " m"]:
        """The flat residual a tangent vector away from `y`, differentiable in `d`."""
        if self.retract is None:
            moved = self.unknowns.unravel(self.unknowns.ravel(y) + d.astype(self.unknowns.dtype))
            return self._flat(self.pure(moved, operands.data, operands.captured))
        _, data, captured = self._arguments(y, operands)
        return self._flat(self.pure(self.tangents.unravel(d), data, captured))

    def cost(self, residual: Inexact[Array, " m"], operands: Operands) -> Float[Array, ""]:
        """Half the sum of squares, or of losses."""
        if self.losses is None:
            return 0.5 * jnp.sum(residual**2)
        return self.losses.cost(residual, operands.losses)

    def invariants(self, y: PyTree[Array], operands: Operands) -> Any:
        """Parts of the Jacobian that are the same at all iterates; `None` where there are none."""
        return self.jacobian.invariants(*self._arguments(y, operands)) if self.retract is None else None

    @property
    def bends(self) -> bool:
        """Whether it matters to `linearise` that a solution is near."""
        return self.losses is not None

    def linearise(
        self, y: PyTree[Array], operands: Operands, invariants: Any, stiffness: Float[Array, ""] | float = 1.0
    ) -> Linearisation:
        """Residual, Jacobian and gradient at `y`; `near` a solution with the curvature of outliers' losses."""
        residual, matrix = self.jacobian.evaluate(*self._arguments(y, operands), invariants=invariants)
        r, data = self._flat(residual), matrix.data.astype(self.dtype)
        cost = self.cost(r, operands)
        if self.losses is not None:
            wide = SparseMatrix(data, matrix.pattern).on_pattern(self.pattern)
            r, data = self.losses.correct(r, wide, operands.losses, stiffness)
        pattern = self.pattern
        gradient = r @ SparseMatrix(data, pattern)
        free = self._free(y, gradient, operands)
        if operands.bounds is not None and self.constraints is None:
            data = self._kept(data, free)
            gradient = jnp.where(free, gradient, 0.0)
        return Linearisation(cost, r, data, gradient, free)

    def operator(self, lin: Linearisation, y: PyTree[Array], operands: Operands) -> Any:
        """The corrected Jacobian at `y`, which multiplies vectors from the left and from the right."""
        del y, operands
        return SparseMatrix(lin.data, self.pattern)

    def magnitudes(self, jacobian: Any, scale: Float[Array, " n"]) -> Float[Array, " m"]:
        """`|J| scale`."""
        return SparseMatrix(jnp.abs(jacobian.data), self.pattern) @ scale

    def holding(
        self, lin: Linearisation, jacobian: Any, held: Bool[Array, " n"], hold: Inexact[Array, " n"]
    ) -> Linearisation:
        """The linear problem that is left when some unknowns move by `hold`, which is zero for all others."""
        residual, free = lin.residual + jacobian @ hold, lin.free & ~held
        gradient = jnp.where(free, residual @ jacobian, 0.0)
        return Linearisation(lin.cost, residual, self._kept(lin.data, free), gradient, free)

    def stored(self, y: PyTree[Array], operands: Operands) -> Objective:
        """The same with a Jacobian that has entries, for what cannot do without."""
        del y, operands
        return self

    def move(self, y: PyTree[Array], d: Inexact[Array, " n"], operands: Operands) -> tuple[PyTree[Array], Array]:
        """The point a step away, within bounds, and the step that was really taken."""
        if self.retract is not None:
            moved = self.retract(y, self.tangents.unravel(d))
            return jtu.tree_map(lambda a, b: jnp.asarray(b, a.dtype), y, moved), d
        start = self.unknowns.ravel(y)
        end = start + d.astype(start.dtype)
        if operands.bounds is None:
            return self.unknowns.unravel(end), d
        end = jnp.clip(end, *operands.bounds)
        return self.unknowns.unravel(end), (end - start).astype(d.dtype)

    def region(self, y: PyTree[Array], operands: Operands) -> Polytope | None:
        """What a step may be, where linear equality constraints are kept beside bounds."""
        if self.constraints is None:
            return None
        assert operands.bounds is not None and operands.equality is not None
        return self.constraints.around(self.unknowns.ravel(y), operands.equality, *operands.bounds)

    def scale_of(self, y: PyTree[Array]) -> Float[Array, " n"]:
        """Magnitudes that steps are compared with: of the unknowns; on a manifold of the largest one, at least 1."""
        if self.retract is None:
            return jnp.abs(self.unknowns.ravel(y)).astype(self.dtype)
        largest = jnp.max(jnp.abs(self.unknowns.ravel(y)), initial=1.0)
        return jnp.full((self.tangents.size,), largest, self.dtype)

    def _kept(self, data: Array, free: Array) -> Array:
        return jnp.where(free[self.pattern.indices], data, 0.0)

    def _free(self, y: PyTree[Array], gradient: Array, operands: Operands) -> Bool[Array, " n"]:
        if operands.bounds is None or self.constraints is not None:
            return jnp.ones(gradient.shape, bool)
        at, (lower, upper) = self.unknowns.ravel(y), operands.bounds
        return ~(((at <= lower) & (gradient > 0)) | ((at >= upper) & (gradient < 0)) | (lower >= upper))

    def _arguments(self, y: PyTree[Array], operands: Operands) -> tuple[Any, Any, Any]:
        if self.retract is None:
            return y, operands.data, operands.captured
        zero = self.tangents.unravel(jnp.zeros((self.tangents.size,), self.tangents.dtype))
        return zero, (*jtu.tree_leaves(y), *operands.data), operands.captured

    def _flat(self, residual: PyTree[Array]) -> Inexact[Array, " m"]:
        return self.residuals.ravel(residual).astype(self.dtype)


def gradient_at(objective: Objective, y: PyTree[Array], operands: Operands) -> Inexact[Array, " n"]:
    """The gradient of the cost with respect to a displacement from `y`, differentiable in everything."""

    def cost(d: Array) -> Array:
        return objective.cost(objective.displaced(y, d, operands), operands)

    return jax.grad(cost)(jnp.zeros((objective.tangents.size,), objective.dtype))
