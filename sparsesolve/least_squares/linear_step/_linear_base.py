"""What the damped linear least-squares problem of a step asks of a method:  min |J x - v|^2 + |S x|^2,  S diagonal.

A method's object is host-side, static and hashable by identity; what it computes are arrays. `prepare` does what
depends on `J` alone, `factor` what depends on the damping, `solve` takes any number of right-hand sides `v`.
"""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Inexact, Int


class Solved(NamedTuple):
    """A solution and how it was found.

    Attributes:
        x: shape `(n,)`.
        good: whether it can be trusted as a direction of descent.
        iterations: refinements, or steps of an iteration.
    """

    x: Inexact[Array, " n"]
    good: Bool[Array, ""]
    iterations: Int[Array, ""]


class AbstractDampedSolver(abc.ABC):
    """How damped linear least-squares problems with one pattern are solved."""

    name: str
    nnz_factor: int  # stored entries of the factors, 0 where nothing is factorized
    num_factorizations: int  # by one call of `factor`
    direct: bool = True  # solutions are exact up to rounding errors

    @abc.abstractmethod
    def prepare(self, data: Inexact[Array, " nnz"]) -> Any:
        """What depends on `J` alone, from its CSR values."""

    def prepare_operator(self, jacobian: Any) -> Any:
        """The same from `J` as it multiplies; what a state keeps."""
        return self.prepare(jacobian.data)

    def bound(self, prepared: Any, jacobian: Any) -> Any:
        """What was kept, together with `J` where products with it are needed: what all other methods get."""
        del jacobian
        return prepared

    @abc.abstractmethod
    def diagonal(self, prepared: Any) -> Float[Array, " n"]:
        """The diagonal of `J^T J`: squared norms of the columns."""

    @abc.abstractmethod
    def factor(self, prepared: Any, shift: Float[Array, " n"]) -> Any:
        """What depends on `J` and on the squares `shift` of the damping, which are positive."""

    @abc.abstractmethod
    def solve(self, prepared: Any, factors: Any, v: Inexact[Array, " m"]) -> Solved:
        """Minimises `|J x - v|^2 + sum shift x^2`."""

    def solve_lighter(self, prepared: Any, factors: Any, v: Inexact[Array, " m"], shift: Float[Array, " n"]) -> Solved:
        """The same with a smaller damping than the factors have, as far as the method can take theirs back."""
        del shift
        return self.solve(prepared, factors, v)

    @abc.abstractmethod
    def solve_normal(self, prepared: Any, factors: Any, g: Inexact[Array, " n"]) -> Solved:
        """Solves `(J^T J + diag(shift)) x = g`."""

    def precondition(self, prepared: Any, factors: Any, g: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        """An approximate solution of `(J^T J + diag(shift)) x = g`, symmetric and positive definite in `g`."""
        return self.solve_normal(prepared, factors, g).x
