"""Which input columns each element of an array depends on: a union of index maps.

`Dependence` holds, for an array of some shape, a short list of terms. A term is an int32 map of the array's own
shape into rows of a table of column sets; -1 means no entry. Most terms have the identity table, then the map
is the column number itself: `u[1:] - u[:-1]` is two such maps. Movement of data (slice, roll, gather, pad) acts
on the maps alone, a sum of arrays concatenates their terms, and a reduction either spreads the members of each
group over more terms (short groups) or builds a table by one boolean CSR product (long groups).
Tables keep dense dependence small: in `u - mean(u)` every element points to one shared row of n columns.

Cost: O(terms x elements) for everything but long reductions. Host-side; NumPy and SciPy only.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import scipy.sparse

# More identity terms than this are made irredundant row by row; more than MAX_TERMS become a table.
COMPACT_TERMS = 16
MAX_TERMS = 64
# A reduction whose groups times terms stay below this spreads over terms instead of building a table.
MAX_SPREAD = 256
# Boolean products beyond this many operations are replaced by one shared dense row (a superset).
MAX_PRODUCT = 2**28
_CHUNK = 2**18

CSR = Any  # a boolean scipy.sparse.csr_matrix (SciPy has no type information)


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Term:
    """`map[e]` is the row of `table` whose columns element `e` depends on; the identity table is `None`."""

    map: np.ndarray
    table: CSR = None

    def moved(self, positions: np.ndarray) -> Term:
        return Term(positions, self.table)


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Dependence:
    """A union of terms over one array. No dependence at all is `None`, never an empty `Dependence`."""

    shape: tuple[int, ...]
    terms: tuple[Term, ...]
    num_columns: int
    irredundant: int = 0  # number of identity terms known to be all needed by some element

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def identity_terms(self) -> list[Term]:
        return [term for term in self.terms if term.table is None]

    @property
    def table_terms(self) -> list[Term]:
        return [term for term in self.terms if term.table is not None]


Dependences = Sequence[Dependence | None]


def columns(shape: tuple[int, ...], offset: int, num_columns: int) -> Dependence:
    """Element `e` of the array is column `offset + e` itself."""
    numbers = np.arange(offset, offset + math.prod(shape), dtype=np.int32).reshape(shape)
    return Dependence(tuple(shape), (Term(numbers),), num_columns, 1)


def from_table(table: CSR, positions: np.ndarray) -> Dependence | None:
    """Element `e` depends on the columns in row `positions[e]` of a boolean CSR matrix."""
    return simplify(positions.shape, [Term(positions.astype(np.int32, copy=False), table)], table.shape[1])


def simplify(shape: Sequence[int], terms: Iterable[Term], num_columns: int, irredundant: int = 0) -> Dependence | None:
    """A `Dependence` without empty or repeated terms, made irredundant when the list has grown long."""
    shape = tuple(shape)
    kept = _distinct(terms)
    if not kept:
        return None
    identity = [term for term in kept if term.table is None]
    tables = [term for term in kept if term.table is not None]
    if len(identity) > max(COMPACT_TERMS, 2 * irredundant):
        identity = _irredundant(shape, identity, num_columns)
        irredundant = len(identity)
        tables += [term for term in identity if term.table is not None]
        identity = [term for term in identity if term.table is None]
    if len(tables) > 4:
        merged = _rows_of(Dependence(shape, tuple(tables), num_columns))
        tables = [Term(np.arange(math.prod(shape), dtype=np.int32).reshape(shape), merged)]
    return Dependence(shape, (*identity, *tables), num_columns, min(irredundant, len(identity)))


def _distinct(terms: Iterable[Term]) -> list[Term]:
    """Drops empty and repeated terms; a sample of each map decides which pairs to compare in full."""
    seen: dict[tuple[int, bytes], list[Term]] = {}
    out = []
    for term in terms:
        size = term.map.size
        if size == 0:
            continue
        sample = term.map.flat[_sample(size)]
        if sample.max() < 0 and term.map.max() < 0:
            continue
        alike = seen.setdefault((id(term.table), sample.tobytes()), [])
        if any(term.map is other.map or np.array_equal(term.map, other.map) for other in alike):
            continue
        alike.append(term)
        out.append(term)
    return out


@functools.lru_cache(maxsize=1024)
def _sample(size: int) -> np.ndarray:
    return np.linspace(0, size - 1, min(size, 64)).astype(np.intp)


def sorted_rows(terms: Sequence[Term], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of columns of each element and the columns themselves, increasing, without duplicates."""
    flats = [term.map.reshape(-1) for term in terms]
    counts, values = [], []
    for start in range(0, max(size, 1), _CHUNK):
        block = np.stack([flat[start : start + _CHUNK] for flat in flats], axis=1)
        block.sort(axis=1)
        keep = block >= 0
        keep[:, 1:] &= block[:, 1:] != block[:, :-1]
        counts.append(keep.sum(axis=1, dtype=np.int32))
        values.append(block[keep])
    return np.concatenate(counts), np.concatenate(values)


def _irredundant(shape: tuple[int, ...], terms: Sequence[Term], num_columns: int) -> list[Term]:
    size = math.prod(shape)
    counts, values = sorted_rows(terms, size)
    starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    width = int(counts.max(initial=0))
    if width > MAX_TERMS:
        return [Term(np.arange(size, dtype=np.int32).reshape(shape), boolean_csr(values, starts, (size, num_columns)))]
    out = []
    for rank in range(width):
        row = np.full(size, -1, np.int32)
        here = np.flatnonzero(counts > rank)
        row[here] = values[starts[here] + rank]
        out.append(Term(row.reshape(shape)))
    return out


def boolean_csr(indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]) -> CSR:
    """A boolean CSR matrix with every stored entry true (boolean products are unions, they cannot overflow)."""
    return scipy.sparse.csr_matrix((np.ones(len(indices), np.bool_), indices, indptr), shape=shape)


def selection(rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]) -> CSR:
    """A boolean CSR matrix from coordinates; duplicates are merged."""
    matrix = scipy.sparse.csr_matrix((np.ones(len(rows), np.bool_), (rows, cols)), shape=shape)
    matrix.sum_duplicates()
    return matrix


def pick_rows(table: CSR, rows: np.ndarray) -> CSR:
    """Rows of a CSR matrix, an empty one where `rows` is -1."""
    valid = rows >= 0
    safe = np.where(valid, rows, 0)
    starts = table.indptr[safe].astype(np.int64)
    counts = np.where(valid, table.indptr[safe + 1] - starts, 0)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    source = np.repeat(starts - indptr[:-1], counts) + np.arange(indptr[-1])
    return boolean_csr(table.indices[source], indptr, (len(rows), table.shape[1]))


def _rows_of(dependence: Dependence) -> CSR:
    """The dependence as one boolean CSR matrix, a row an element."""
    size, n = dependence.size, dependence.num_columns
    if row_bound(dependence) > 8 * MAX_PRODUCT:
        dense = shared_row([dependence], (size,))
        assert dense is not None
        return pick_rows(dense.terms[0].table, np.zeros(size, np.int32))
    parts = []
    if identity := dependence.identity_terms:
        counts, values = sorted_rows(identity, size)
        parts.append(boolean_csr(values, np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]), (size, n)))
    parts += [pick_rows(term.table, term.map.reshape(-1)) for term in dependence.table_terms]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def row_bound(dependence: Dependence) -> int:
    """An upper bound of the number of entries: per element at most the sum over its terms, and at most n."""
    counts = np.zeros(dependence.size, np.int64)
    for term in dependence.terms:
        flat = term.map.reshape(-1)
        lengths = 1 if term.table is None else np.diff(term.table.indptr)[flat]
        counts += np.where(flat >= 0, lengths, 0)
    return int(np.minimum(counts, dependence.num_columns).sum())


def to_csr(dependence: Dependence | None, size: int, num_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """`(indptr, indices)` of the dependence, columns increasing within an element."""
    if dependence is None:
        return np.zeros(size + 1, np.int64), np.zeros(0, np.int32)
    if not dependence.table_terms:
        counts, values = sorted_rows(dependence.terms, size)
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]), values
    matrix = _rows_of(dependence)
    matrix.sum_duplicates()
    matrix.sort_indices()
    return matrix.indptr, matrix.indices


def shared_row(dependences: Iterable[Dependence | None], shape: Sequence[int]) -> Dependence | None:
    """Every element depends on every column that any of the operands depends on: one shared dense row."""
    present = [d for d in dependences if d is not None]
    if not present:
        return None
    n = present[0].num_columns
    used = np.zeros(n, np.bool_)
    for d in present:
        for term in d.terms:
            rows = np.unique(term.map[term.map >= 0])
            used[rows if term.table is None else pick_rows(term.table, rows).indices] = True
    cols = np.flatnonzero(used).astype(np.int32)
    table = boolean_csr(cols, np.array([0, cols.size]), (1, n))
    return from_table(table, np.broadcast_to(np.int32(0), tuple(shape)))
