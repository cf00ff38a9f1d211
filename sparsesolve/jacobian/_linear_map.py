"""The matrix of a linear piece: the tail's B and C, and a weighted head's A.

The pattern comes from the jaxpr of the piece's JVP, the values from compressed passes, as for any Jacobian; but they do
not depend on the point. If no parameter enters them they are computed while planning and become NumPy arrays, else
`values` computes them from the parameters, inside the trace and differentiably, once per solve.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Literal

from sparsesolve.jacobian._compress import Passes, entry_addresses, quick_coloring
from sparsesolve.jacobian._decompress import join
from sparsesolve.jacobian._program import Piece, abstract, shape
from sparsesolve.pattern import SparsityPattern, TooManyEntriesError, jaxpr_sparsity


class PiecesTooDense(TooManyEntriesError):  # noqa: N818
    """A piece couples so much with so much that its matrix cannot be indexed."""


class LinearMap:
    """The matrix of a linear `piece`, rows and columns in the order of its raveled outputs and inputs.

    Attributes:
        piece: the equations.
        pattern: of the matrix.
        is_static: whether its values are independent of parameters and tracers.
    """

    def __init__(self, piece: Piece, consts: Sequence[Any], dtype: np.dtype):
        self.piece = piece
        self._dtype = dtype
        closed = tangent_jaxpr(piece)
        self._known = known_values(piece, consts)
        self.pattern = piece_pattern(closed, piece, self._known)
        self.is_static = self._reads_known_values_only(closed)

    @functools.cached_property
    def static(self) -> np.ndarray | None:
        """The values in CSR order if they are static, else `None`."""
        return self._evaluate_now() if self.is_static else None

    @functools.cached_property
    def _passes(self) -> Passes:
        piece = self.piece
        inputs, outputs = abstract(piece.inputs), abstract(piece.jaxpr.outvars)
        return Passes(quick_coloring(self.pattern, inputs, outputs), inputs, outputs, self._dtype)

    @functools.cached_property
    def _addresses(self) -> np.ndarray:
        return entry_addresses(self.pattern, self._passes.coloring).astype(np.int32)

    def values(self, environment: Sequence[Any]) -> Any:
        """The entries in CSR order, traced; `environment` as for `Piece`."""
        zeros = [jnp.zeros(leaf.shape, leaf.dtype) for leaf in self._passes.inputs]
        compressed = self._passes(lambda *ts: self.piece(ts, environment), zeros, self._passes.tables())
        return join(compressed, self._dtype)[self._addresses]

    def _reads_known_values_only(self, closed: ClosedJaxpr) -> bool:
        count = self.piece.num_inputs
        used, known = _used(closed)[count:], self._known[count:]
        return not any(flag and value is None for flag, value in zip(used, known, strict=True))

    def _evaluate_now(self) -> np.ndarray:
        """The entries, computed while planning; what does not enter them is replaced by zeros."""
        count = self.piece.num_inputs
        variables = self.piece.jaxpr.invars[count:]
        filled = [
            np.zeros(leaf.shape, leaf.dtype) if value is None else value
            for leaf, value in zip(abstract(variables), self._known[count:], strict=True)
        ]
        if self.pattern.nnz == 0:
            return np.zeros(0, self._dtype)
        # Compiled ahead of time, so that it runs now even while an outer function is being traced.
        return np.asarray(jax.jit(self.values).lower(filled).compile()(filled))


def tangent_jaxpr(piece: Piece, *, at_zero: bool = True) -> ClosedJaxpr:
    """The jaxpr of a piece's JVP: (tangents, environment) -> tangents, or (tangents, primals, environment) -> tangents.

    A linear piece needs no point, so `at_zero` leaves the primals out.
    """
    count = piece.num_inputs
    inputs, environment = abstract(piece.jaxpr.invars[:count]), abstract(piece.jaxpr.invars[count:])

    def push(tangents: Sequence[Any], primals: Sequence[Any], environment: Sequence[Any]) -> list[Any]:
        return jax.jvp(lambda *xs: piece(xs, environment), tuple(primals), tuple(tangents))[1]

    if not at_zero:
        return jax.make_jaxpr(push)(inputs, inputs, environment)

    def push_at_zero(tangents: Sequence[Any], environment: Sequence[Any]) -> list[Any]:
        return push(tangents, [jnp.zeros(leaf.shape, leaf.dtype) for leaf in inputs], environment)

    return jax.make_jaxpr(push_at_zero)(inputs, environment)


def piece_pattern(closed: ClosedJaxpr, piece: Piece, known: Sequence[np.ndarray | None]) -> SparsityPattern:
    """The pattern of a piece's Jacobian, from the jaxpr that `tangent_jaxpr` made."""
    count = piece.num_inputs
    primals = [None] * (len(closed.jaxpr.invars) - len(piece.jaxpr.invars))
    values = [*known[:count], *primals, *known[count:]]
    try:
        pattern = jaxpr_sparsity(closed, [i < count for i in range(len(values))], values)
    except ValueError as error:
        raise PiecesTooDense(str(error)) from error
    return SparsityPattern(
        pattern.indptr,
        pattern.indices,
        pattern.shape,
        column_shapes=tuple(map(shape, piece.inputs)),
        row_shapes=tuple(map(shape, piece.jaxpr.outvars)),
    )


def known_values(piece: Piece, consts: Sequence[Any]) -> list[np.ndarray | None]:
    """For each invar of a piece, its value if it is a concrete constant (constants come last)."""
    unknown = len(piece.jaxpr.invars) - len(consts)
    return [*([None] * unknown), *map(_concrete_value, consts)]


def _concrete_value(const: Any) -> np.ndarray | None:
    """A constant as NumPy array; tracers and types that NumPy lacks (random keys) have no value for the plan."""
    if isinstance(const, Tracer) or jnp.issubdtype(jnp.result_type(const), jax.dtypes.extended):
        return None
    return np.asarray(const)


def _used(closed: ClosedJaxpr) -> list[bool]:
    """Which invars the outputs of a jaxpr need (calls count as needing all they are given)."""
    needed = {v for v in closed.jaxpr.outvars if not isinstance(v, Literal)}
    for eqn in reversed(closed.jaxpr.eqns):
        if any(v in needed for v in eqn.outvars):
            needed.update(v for v in eqn.invars if not isinstance(v, Literal))
    return [v in needed for v in closed.jaxpr.invars]
