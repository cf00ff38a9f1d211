"""Which unknowns a Schur complement eliminates, found from the pattern of `J` alone. Host-side.

Columns with entries in the same rows form a group (the coordinates of a point). Groups of one size of which no two
share a row make the block-diagonal part of `J^T J`; in bundle adjustment these are the points. Groups with few rows are
preferred: each round takes those that have the fewest rows of all groups they share a row with (M. Luby, SIAM J.
Comput. 15 (1986) 1036-1053, doi:10.1137/0215074, with degrees before random numbers).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sparsesolve.pattern import SparsityPattern

_LARGEST = 12  # unknowns of a group
_ROUNDS = 64


class Elimination(NamedTuple):
    """A partition of the columns.

    Attributes:
        groups: columns of each eliminated group, `(groups, size)`.
        kept: the other columns, increasing.
    """

    groups: np.ndarray
    kept: np.ndarray


def find_elimination(pattern: SparsityPattern, least_share: float = 0.5) -> Elimination | None:
    """The groups to eliminate; `None` where they have less than `least_share` of the columns."""
    m, n = pattern.shape
    turned = pattern.T
    counts = np.diff(turned.indptr)
    if n == 0 or (counts == 0).any():
        return None
    label = _groups(turned, counts)
    sizes = np.bincount(label)
    columns_by_size = np.bincount(sizes, weights=sizes)
    columns_by_size[_LARGEST + 1 :] = 0
    size = int(np.argmax(columns_by_size))
    if size == 0 or columns_by_size[size] < least_share * n:
        return None
    order = np.argsort(label, kind="stable")
    first = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    leader = order[first]  # one column stands for its group
    chosen = _independent(turned, leader, sizes == size, counts[leader], m)
    if chosen.size * size < least_share * n:
        return None
    groups = order[first[chosen][:, None] + np.arange(size)]
    kept = np.setdiff1d(np.arange(n), groups.ravel())
    groups = np.sort(groups, axis=1)
    return Elimination(groups[np.argsort(groups[:, 0])].astype(np.int32), kept.astype(np.int32))


def _groups(turned: SparsityPattern, counts: np.ndarray) -> np.ndarray:
    """A label for each column, equal for columns with the same rows."""
    marks = np.random.default_rng(0).integers(1, 2**62, (2, turned.shape[1]), dtype=np.int64)
    sums = [np.add.reduceat(mark[turned.indices], turned.indptr[:-1]) for mark in marks]
    return np.unique(np.stack([counts, *sums], axis=1), axis=0, return_inverse=True)[1].ravel()


def _independent(
    turned: SparsityPattern, leader: np.ndarray, eligible: np.ndarray, degree: np.ndarray, m: int
) -> np.ndarray:
    """Groups of which no two share a row, those with few rows first."""
    groups = np.flatnonzero(eligible)
    # Priorities are unique: the number of rows, then chance, by which chains are worked off in few rounds.
    priority = np.empty(eligible.size, np.int64)
    priority[np.lexsort((np.random.default_rng(0).permutation(leader.size), degree))] = np.arange(eligible.size)
    taken = np.zeros(m, bool)
    chosen = []
    for _ in range(_ROUNDS):
        if groups.size == 0:
            break
        rows, owner = _rows_of(turned, leader[groups])
        best = np.full(m, np.iinfo(np.int64).max)
        np.minimum.at(best, rows, priority[groups][owner])
        wins = np.ones(groups.size, bool)
        np.logical_and.at(wins, owner, best[rows] == priority[groups][owner])
        chosen.append(groups[wins])
        taken[rows[wins[owner]]] = True
        blocked = np.zeros(groups.size, bool)
        np.logical_or.at(blocked, owner, taken[rows])
        groups = groups[~blocked]
    return np.sort(np.concatenate(chosen)) if chosen else groups


def _rows_of(turned: SparsityPattern, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the given columns, and which of the columns each belongs to."""
    counts = np.diff(turned.indptr)[columns]
    owner = np.repeat(np.arange(columns.size), counts)
    start = turned.indptr[columns] - np.concatenate([[0], np.cumsum(counts)[:-1]])
    return turned.indices[np.arange(owner.size) + start[owner]], owner
