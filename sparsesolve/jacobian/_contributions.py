"""Which products B_ik (J_core)_kl A_lj make up each entry of J = C + B J_core A. Plan side.

One *contribution* is one triple (entry of B, entry of the core's Jacobian, entry of A). The lists are expanded with
NumPy in time and memory proportional to the number of contributions.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from sparsesolve.pattern import SparsityPattern


@dataclasses.dataclass(frozen=True, eq=False)
class Contributions:
    """Contributions by position in the data of J; all arrays have shape `(count,)`.

    Attributes:
        slot: position in the CSR data of J.
        source: position in the compressed values of the core.
        tail: position in the data of the tail's matrix, `None` where there is no tail (B = I).
        head: position in the data of the head's matrix.
    """

    slot: np.ndarray
    source: np.ndarray
    tail: np.ndarray | None = None
    head: np.ndarray | None = None

    def select(self, keep: np.ndarray) -> Contributions:
        """Those flagged in `keep`."""
        tail, head = (None if a is None else a[keep] for a in (self.tail, self.head))
        return Contributions(self.slot[keep], self.source[keep], tail, head)


def count_contributions(core: SparsityPattern, tail: SparsityPattern, head: SparsityPattern) -> int:
    """How many contributions `expand` would list."""
    per_row = np.bincount(tail.indices, minlength=tail.shape[1])[core.rows]
    return int(np.sum(per_row.astype(np.int64) * np.diff(head.indptr)[core.indices]))


def expand(
    pattern: SparsityPattern,
    core: SparsityPattern,
    addresses: np.ndarray,
    tail: SparsityPattern,
    head: SparsityPattern,
) -> Contributions:
    """All contributions that fall on the pattern.

    Args:
        pattern: of J, `(m, n)`.
        core: of the core's Jacobian, `(num_cut_outputs, num_cut_inputs)`.
        addresses: where in the compressed values each entry of `core` is.
        tail: of `[B | C]`; its first `num_cut_outputs` columns are B.
        head: of A, `(num_cut_inputs, n)`.

    Returns:
        Contributions in the order of their slots. Products outside the pattern are zero and left out.
    """
    by_column, order = tail.T, tail.transpose_order
    num_tail = np.diff(by_column.indptr).astype(np.int64)[core.rows]
    num_head = np.diff(head.indptr).astype(np.int64)[core.indices]
    count = num_tail * num_head
    entry = np.repeat(np.arange(core.nnz), count)
    within = np.arange(entry.size) - np.repeat(np.cumsum(count) - count, count)
    at_tail = by_column.indptr[core.rows[entry]] + within // num_head[entry]
    at_head = head.indptr[core.indices[entry]] + within % num_head[entry]
    slot = pattern.positions(by_column.indices[at_tail], head.indices[at_head])
    found = Contributions(slot, addresses[entry], order[at_tail].astype(np.int64), at_head)
    found = found.select(np.argsort(slot, kind="stable"))
    return found.select(found.slot >= 0)
