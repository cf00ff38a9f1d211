"""The seam between plan, numeric factorization and solve. Every direct back end is one subclass."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Inexact

from sparsesolve import _native
from sparsesolve.pattern import SparsityPattern


class Alternative(NamedTuple):
    """A method that was considered for a pattern: estimated nanoseconds (infinite where it cannot be used) and why."""

    kind: str
    time: float
    note: str


class AbstractDirectPlan(abc.ABC):
    """A symbolic factorization: everything about a pattern that does not depend on values.

    Host-side, immutable, hashed by content (two plans made from the same pattern with the same choices are
    equal), so a plan is a legal static field of a pytree. The numeric factors are a pytree of arrays.
    """

    pattern: SparsityPattern
    kind: str  # diagonal, tridiagonal, banded, dense, block diagonal, multifrontal, simplicial, cholesky or ldlt
    nnz_factor: int  # stored entries of all factors together
    flops: float  # multiply-adds of one factorization, times two
    workspace: float = 0.0  # entries that a factorization needs besides its factors
    time: float = 0.0  # estimated nanoseconds of a factorization with a solve, where it was asked for
    alternatives: tuple[Alternative, ...] = ()  # what the choice was made from, best first; empty for a named method
    choices: tuple[Any, ...]  # what, besides kind and pattern, tells two plans apart; hashable

    @abc.abstractmethod
    def factor(self, data: Inexact[Array, " nnz"]) -> Any:
        """Numeric factorization of the matrix with CSR values `data`. Pure JAX, traceable, no Python branching on
        values. Never raises and never hangs on a singular matrix: small pivots are perturbed."""

    @abc.abstractmethod
    def solve(self, factors: Any, rhs: Inexact[Array, " n"], *, transpose: bool = False) -> Inexact[Array, " n"]:
        """`A x = rhs`, or `A^T x = rhs`, from the factors of `factor`. Linear in `rhs`."""

    def solve_checked(
        self,
        factors: Any,
        data: Inexact[Array, " nnz"],
        rhs: Inexact[Array, " n"],
        *,
        transpose: bool,
        limits: _native.Limits,
    ) -> _native.CheckedSolution | None:
        """What `solve_refined` does, by compiled code; `None` where there is none for these operands. `factors` may be
        `None`: they are then made on the way and not kept."""
        del factors, data, rhs, transpose, limits
        return None

    def sound(self, factors: Any) -> Bool[Array, ""]:
        """Whether the matrix turned out to be what the plan was made for (positive definite, say)."""
        del factors
        return jnp.asarray(True)

    def statistics(self, factors: Any) -> dict[str, Array]:
        """What the numeric factorization learnt about the matrix."""
        del factors
        return {}

    factor_dtype: np.dtype | None = None  # type of the factors where it is not that of the values

    def describe(self) -> str:
        """One line for people: kind, size, fill, operations, memory."""
        n, nnz = self.pattern.shape[0], self.pattern.nnz
        fill = self.nnz_factor / max(1, nnz)
        dtype = np.dtype(self.factor_dtype or np.float64)
        text = (
            f"{self.kind}: n={n}, nnz={nnz}, {self.nnz_factor} factor entries ({fill:.1f} a matrix entry), "
            f"{self.flops / 1e6:.3g} Mflop a factorization, {dtype.itemsize * self.nnz_factor / 1e6:.3g} MB of factors "
            f"in {dtype.name}"
        )
        return text + (f", {dtype.itemsize * self.workspace / 1e6:.3g} MB of working space" if self.workspace else "")

    def explain(self) -> str:
        """`describe`, and a line for every method that was considered: its estimated time, its size, or why it cannot
        be used."""
        lines = [self.describe()]
        if not self.alternatives:
            lines.append("  the method was named, others were not considered")
        for kind, time, note in self.alternatives:
            estimate = f"{time / 1e3:12.4g} us" if np.isfinite(time) else "             --"
            lines.append(f"  {'->' if kind == self.kind else '  '} {kind:<15s}{estimate}  {note}")
        return "\n".join(lines)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, AbstractDirectPlan):
            return NotImplemented
        return type(self) is type(other) and self.choices == other.choices and self.pattern == other.pattern

    def __hash__(self) -> int:
        return hash((self.kind, self.pattern.digest, self.choices))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.describe()})"
