"""`Plan`: everything one evaluation of a sparse Jacobian needs, for one program. Static plan, traced evaluation.

A plan is either plain (colour the whole Jacobian: head and tail are identities) or peeled (J = C + B J_core A). Both
have the same four steps: invariants (boundary parameters, C and weights), inputs of the core, compressed passes,
decompression.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import eval_jaxpr

from sparsesolve.coloring import Coloring
from sparsesolve.jacobian._compress import Passes, entry_addresses
from sparsesolve.jacobian._contributions import Contributions
from sparsesolve.jacobian._decompress import Layout, decompress, plan_layout, source_tables, take, weight_tables
from sparsesolve.jacobian._linear_map import LinearMap
from sparsesolve.jacobian._program import Piece, Program, abstract, size
from sparsesolve.pattern import SparsityPattern


class Invariants(NamedTuple):
    """What an evaluation needs that does not depend on the unknowns. A pytree of arrays.

    Attributes:
        boundary: values of the parameters that the function reads.
        constant: entries that are independent of the unknowns, `(nnz,)`; `None` when the plan knows them.
        weights: weights of the contributions, by level; `None` when the plan knows them.
    """

    boundary: list[Any]
    constant: Any | None
    weights: list[Any] | None


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """One way to evaluate the Jacobian of `program` on `pattern`.

    Attributes:
        core: what is differentiated; `None` when the function is linear.
        head: from the unknowns to the inputs of the core; `None` for the identity.
        passes: compressed derivatives of the core.
        contributions: which compressed values make up which entry, sorted by slot.
        layout: the order in which they are gathered.
        tail: matrix of `[B | C]`; `None` for the identity and zero.
        head_map: matrix of A; `None` when its entries are ones.
    """

    program: Program
    pattern: SparsityPattern
    dtype: np.dtype
    core: Piece | None
    head: Piece | None
    passes: Passes
    contributions: Contributions
    layout: Layout
    tail: LinearMap | None = None
    head_map: LinearMap | None = None

    @property
    def coloring(self) -> Coloring:
        return self.passes.coloring

    @property
    def has_static_invariants(self) -> bool:
        """Whether constant entries and weights are known while planning."""
        return self._has_static_tail and self._has_static_weights

    def tables(self) -> dict[str, Any]:
        """The plan's arrays that the traced program reads, NumPy; pass them (or device copies) to the methods below."""
        length = self.passes.length
        return {
            "colors": self.passes.tables(),
            "sources": source_tables(self.layout, self.contributions.source, length),
            "slots": self.layout.slots,
            "order": self.layout.order,
            "constant": self._static_constant(),
            "weights": self._static_weights(),
            "constant_at": None if self._has_static_tail else self._constant_positions().astype(np.int32),
            "weights_at": None if self._has_static_weights else self._weight_positions(),
        }

    def environment(self, invariants: Invariants, consts: Sequence[Any]) -> list[Any]:
        return [*invariants.boundary, *consts]

    def invariants(self, parameters: Sequence[Any], consts: Sequence[Any], tables: dict[str, Any]) -> Invariants:
        """Evaluates parameters, run-time constants and weights."""
        piece = self.program.parameter_piece()
        boundary = eval_jaxpr(piece, [], *parameters, *consts)
        environment = [*boundary, *consts]
        constant = weights = None
        tail = None if self.tail is None or self._has_static_tail else self.tail.values(environment)
        if tail is not None:
            constant = take(jnp.append(tail, 0), tables["constant_at"])
        if not self._has_static_weights:
            weights = self._run_time_weights(tail, environment, tables["weights_at"])
        return Invariants(boundary, constant, weights)

    def data(self, unknowns: Sequence[Any], invariants: Invariants, consts: Sequence[Any], tables: Any) -> jax.Array:
        """The CSR data of the Jacobian at the unknowns."""
        constant = tables["constant"] if invariants.constant is None else invariants.constant
        if self.core is None or not self.contributions.slot.size:
            return jnp.zeros(self.pattern.nnz, self.dtype) if constant is None else jnp.asarray(constant, self.dtype)
        core, environment = self.core, self.environment(invariants, consts)
        inputs = list(unknowns) if self.head is None else self.head(unknowns, environment)
        parts = self.passes(lambda *xs: core(xs, environment), inputs, tables["colors"])
        weights = tables["weights"] if invariants.weights is None else invariants.weights
        if constant is None and self.layout.slots is not None:
            constant = jnp.zeros(self.pattern.nnz, self.dtype)
        return decompress(self.layout, parts, self.dtype, tables, weights, constant)

    @property
    def _has_static_tail(self) -> bool:
        return self.tail is None or self.tail.is_static

    @property
    def _has_static_weights(self) -> bool:
        return self._has_static_tail and (self.head_map is None or self.head_map.is_static)

    def _constant_positions(self) -> np.ndarray:
        """For each entry of J, the entry of `[B | C]` that is its constant part (out of range: none)."""
        assert self.tail is not None
        pattern, cut = self.tail.pattern, self.tail.pattern.shape[1] - self.pattern.shape[1]
        entries = np.flatnonzero(pattern.indices >= cut)
        slots = self.pattern.positions(pattern.rows[entries], pattern.indices[entries] - cut)
        positions = np.full(self.pattern.nnz, pattern.nnz, np.int64)
        positions[slots[slots >= 0]] = entries[slots >= 0]
        return positions

    def _static_constant(self) -> np.ndarray | None:
        if self.tail is None or self.tail.static is None:
            return None
        values = np.append(self.tail.static, 0)[self._constant_positions()]
        return values.astype(self.dtype) if np.any(values != 0) else None

    def _static_weights(self) -> list[np.ndarray | None] | None:
        if not self._has_static_weights:
            return None
        weights = np.ones(self.contributions.slot.size, self.dtype)
        for matrix, entries in ((self.tail, self.contributions.tail), (self.head_map, self.contributions.head)):
            if matrix is not None and matrix.static is not None:
                weights = weights * matrix.static[entries]
        return weight_tables(self.layout, weights.astype(self.dtype))

    def _weight_positions(self) -> dict[str, list[np.ndarray | None] | None]:
        """Where the weights of each level are in the data of the tail and of the head."""
        maps = {"tail": (self.tail, self.contributions.tail), "head": (self.head_map, self.contributions.head)}
        return {
            name: None if matrix is None or entries is None else source_tables(self.layout, entries, matrix.pattern.nnz)
            for name, (matrix, entries) in maps.items()
        }

    def _run_time_weights(self, tail: Any | None, environment: Sequence[Any], positions: Any) -> list[Any]:
        factors = []
        for matrix, values, at in (
            (self.tail, tail, positions["tail"]),
            (self.head_map, None, positions["head"]),
        ):
            if matrix is None:
                continue
            if values is None:
                values = matrix.static if matrix.static is not None else matrix.values(environment)
            factors.append([take(jnp.append(values, 0), index) for index in at])
        if len(factors) == 1:
            return factors[0]
        return [first * second for first, second in zip(*factors, strict=True)]


def plain_plan(program: Program, pattern: SparsityPattern, coloring: Coloring, dtype: Any, chunk: int | None) -> Plan:
    """The plan that differentiates the whole function."""
    core = program.piece(program.unknowns, program.outputs)
    passes = make_passes(core, coloring, dtype, chunk)
    addresses = entry_addresses(pattern, coloring)
    contributions = Contributions(np.arange(pattern.nnz), addresses)
    layout = plan_layout(contributions.slot, pattern.nnz)
    return Plan(program, pattern, dtype, core, None, passes, contributions, layout)


def make_passes(core: Piece, coloring: Coloring, dtype: Any, chunk: int | None) -> Passes:
    """The passes over a piece."""
    return Passes(coloring, abstract(core.inputs), abstract(core.jaxpr.outvars), dtype, chunk)


def pass_work(core: Piece, coloring: Coloring) -> float:
    """Estimated nanoseconds of the passes on one CPU core.

    Fitted to measurements of stencils and finite elements at 1e5 unknowns: an equation of a JVP is fused with its
    neighbours and costs 0.4 ns an element, one of a VJP 1.5; compressed values are written at 1 ns an element.
    """
    outputs, inputs = (sum(size(v) for v in leaves) for leaves in (core.jaxpr.outvars, core.inputs))
    forward = coloring.num_column_colors * (0.4 * core.work + outputs)
    return forward + coloring.num_row_colors * (1.5 * core.work + inputs)


def gather_work(num_contributions: int, pattern: SparsityPattern) -> float:
    """Estimated nanoseconds of the decompression: a weighted contribution takes 3, an entry 1."""
    return 3.0 * num_contributions + pattern.nnz
