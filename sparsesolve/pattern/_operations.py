"""Operations on dependence: what moving, uniting and multiplying arrays does to their index maps.

`move` and `take` rearrange, `union` is a sum of arrays, `concatenate` and `overlay` put arrays next to or over each
other, `apply` is the boolean product with a sparse matrix behind reductions and linear maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import scipy.sparse

from sparsesolve.pattern._dependence import (
    CSR,
    MAX_PRODUCT,
    MAX_SPREAD,
    Dependence,
    Dependences,
    Term,
    boolean_csr,
    from_table,
    selection,
    shared_row,
    simplify,
    sorted_rows,
)


def move(
    dependence: Dependence | None, rearrange: Callable[[np.ndarray], np.ndarray], shape: Sequence[int] | None = None
) -> Dependence | None:
    """Moves elements: `rearrange` acts on each map as the operation acts on the array (may also insert -1)."""
    if dependence is None:
        return None
    terms = [term.moved(rearrange(term.map)) for term in dependence.terms]
    shape = terms[0].map.shape if shape is None else tuple(shape)
    return simplify(shape, terms, dependence.num_columns, dependence.irredundant)


def take(dependence: Dependence | None, positions: np.ndarray) -> Dependence | None:
    """Element `e` of the result is element `positions[e]` (raveled) of the operand, or nothing where -1."""
    if dependence is None:
        return None
    outside = positions < 0
    missing = bool(outside.any())

    def pick(array: np.ndarray) -> np.ndarray:
        picked = array.reshape(-1)[positions]
        return np.where(outside, np.int32(-1), picked) if missing else picked

    if dependence.size == 0:
        return None
    return move(dependence, pick, positions.shape)


def mask(dependence: Dependence | None, keep: np.ndarray) -> Dependence | None:
    """Drops the dependence of the elements where `keep` is false."""
    return move(dependence, lambda array: np.where(keep, array, np.int32(-1)))


def union(dependences: Iterable[Dependence | None], shape: Sequence[int]) -> Dependence | None:
    """Each element depends on what any operand's element depends on; operands broadcast to `shape`."""
    shape = tuple(shape)
    present = [d for d in dependences if d is not None]
    if not present:
        return None
    if len(present) == 1 and present[0].shape == shape:
        return present[0]
    terms = [
        term if term.map.shape == shape else term.moved(np.broadcast_to(term.map, shape))
        for d in present
        for term in d.terms
    ]
    return simplify(shape, terms, present[0].num_columns, max(d.irredundant for d in present))


def _aligned(dependences: Dependences) -> list[tuple[CSR, list[np.ndarray | None]]]:
    """The k-th terms of several arrays side by side as `(table, a map or None per array)`; tables are stacked."""
    tables: dict[int, tuple[CSR, int]] = {}
    rows = 0
    for d in dependences:
        for term in () if d is None else d.terms:
            if term.table is not None and id(term.table) not in tables:
                tables[id(term.table)] = (term.table, rows)
                rows += term.table.shape[0]
    stacked = [table for table, _ in tables.values()]
    table = stacked[0] if len(stacked) == 1 else scipy.sparse.vstack(stacked, "csr") if stacked else None
    identity: list[list[np.ndarray]] = []
    others: list[list[np.ndarray]] = []
    for d in dependences:
        terms = () if d is None else d.terms
        identity.append([term.map for term in terms if term.table is None])
        others.append([_shifted(term.map, tables[id(term.table)][1]) for term in terms if term.table is not None])
    out = []
    for lists, source in ((identity, None), (others, table)):
        for rank in range(max(map(len, lists), default=0)):
            out.append((source, [maps[rank] if rank < len(maps) else None for maps in lists]))
    return out


def _shifted(positions: np.ndarray, offset: int) -> np.ndarray:
    return positions if offset == 0 else np.where(positions >= 0, positions + np.int32(offset), np.int32(-1))


def concatenate(dependences: Dependences, shapes: Sequence[tuple[int, ...]], axis: int) -> Dependence | None:
    """Joins arrays along an axis; the k-th terms of the operands form the k-th term of the result."""
    present = [d for d in dependences if d is not None]
    if not present:
        return None
    terms = []
    for table, maps in _aligned(dependences):
        parts = [_or_nothing(a, shape) for a, shape in zip(maps, shapes, strict=True)]
        terms.append(Term(np.concatenate(parts, axis), table))
    shape = terms[0].map.shape
    return simplify(shape, terms, present[0].num_columns, max(d.irredundant for d in present))


def _or_nothing(positions: np.ndarray | None, shape: Sequence[int]) -> np.ndarray:
    return np.broadcast_to(np.int32(-1), tuple(shape)) if positions is None else positions


def overlay(base: Dependence | None, top: Dependence | None, covered: np.ndarray) -> Dependence | None:
    """`top` where `covered`, `base` elsewhere. The k-th terms of both share a term, so overwriting adds none."""
    present = [d for d in (base, top) if d is not None]
    if not present:
        return None
    terms = [
        Term(np.where(covered, _or_nothing(upper, covered.shape), _or_nothing(lower, covered.shape)), table)
        for table, (lower, upper) in _aligned([base, top])
    ]
    return simplify(covered.shape, terms, present[0].num_columns, max(d.irredundant for d in present))


def stack(dependences: Dependences, shape: tuple[int, ...], axis: int) -> Dependence | None:
    """Joins arrays of one shape along a new axis."""
    raised = [move(d, lambda array: np.expand_dims(array, axis)) for d in dependences]
    wide = (*shape[:axis], 1, *shape[axis:])
    return concatenate(raised, [wide] * len(raised), axis)


def apply(dependence: Dependence | None, matrix: CSR, shape: Sequence[int]) -> Dependence | None:
    """Output element `i` unites the operand's elements in row `i` of a boolean CSR matrix: the product `P D`."""
    if dependence is None or matrix.nnz == 0:
        return None
    shape = tuple(shape)
    lengths = np.diff(matrix.indptr)
    width = int(lengths.max(initial=0))
    balanced = width * matrix.shape[0] <= 8 * matrix.nnz + 2**16
    if balanced and width * len(dependence.terms) <= (8 if dependence.table_terms else MAX_SPREAD):
        return _spread(dependence, matrix, lengths, width, shape)
    total = None
    for part in _as_tables(dependence):
        flat = part.map.reshape(-1)[matrix.indices]
        valid = flat >= 0
        rows = np.repeat(np.arange(matrix.shape[0]), lengths)[valid]
        left = selection(rows, flat[valid], (matrix.shape[0], part.table.shape[0]))
        if int(np.diff(part.table.indptr)[left.indices].sum()) > MAX_PRODUCT:
            return shared_row([dependence], shape)
        product = left @ part.table
        total = product if total is None else total + product
    if total is None:
        return None
    return from_table(scipy.sparse.csr_matrix(total), np.arange(matrix.shape[0], dtype=np.int32).reshape(shape))


def _spread(
    dependence: Dependence, matrix: CSR, lengths: np.ndarray, width: int, shape: tuple[int, ...]
) -> Dependence | None:
    """The product by rank within the row: member r of every group makes one term."""
    flats = [(term, term.map.reshape(-1)) for term in dependence.terms]
    last = max(matrix.nnz - 1, 0)
    terms = []
    for rank in range(width):
        member = matrix.indices[np.minimum(matrix.indptr[:-1] + rank, last)]
        present = lengths > rank
        whole = bool(present.all())
        for term, flat in flats:
            picked = flat[member]
            terms.append(term.moved((picked if whole else np.where(present, picked, np.int32(-1))).reshape(shape)))
    return simplify(shape, terms, dependence.num_columns, dependence.irredundant)


def _as_tables(dependence: Dependence) -> list[Term]:
    """The terms with explicit tables only; the identity terms become one table with a row an element."""
    out = dependence.table_terms
    if identity := dependence.identity_terms:
        size, n = dependence.size, dependence.num_columns
        counts, values = sorted_rows(identity, size)
        table = boolean_csr(values, np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]), (size, n))
        out.append(Term(np.arange(size, dtype=np.int32), table))
    return out


def group_union(dependence: Dependence | None, groups: np.ndarray, shape: Sequence[int]) -> Dependence | None:
    """Output element `g` unites the operand's elements with `groups == g`; those with -1 are dropped."""
    if dependence is None:
        return None
    count = math.prod(shape)
    groups = groups.reshape(-1)
    members = np.flatnonzero(groups >= 0)
    single = np.full(count, -1)
    single[groups[members]] = members
    if np.array_equal(single[groups[members]], members):  # no group has two members
        return take(dependence, single.reshape(shape))
    order = np.argsort(groups, kind="stable")
    order = order[np.searchsorted(groups[order], 0) :]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(groups[order], minlength=count))])
    return apply(dependence, boolean_csr(order, indptr, (count, dependence.size)), shape)
