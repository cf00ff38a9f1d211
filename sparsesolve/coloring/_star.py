"""Symmetric colouring: a star colouring of the columns of a Hessian, read directly from `H S`.

A colouring of the adjacency graph is a star colouring when neighbours differ and every path on four vertices has at
least three colours. Then the columns of two colours form disjoint stars, and entry (i, j) can be read at the leaf of
its star: one of `H S[i, c_j]`, `H S[j, c_i]` is that entry alone. Needs never more colours than a column colouring.

The greedy algorithm visits vertex v and forbids the colours of its neighbours, and of the vertices that would close
a two-coloured path; the two-coloured stars found so far and their hubs are kept, so a vertex costs the size of its
distance-2 neighbourhood. Reference: Gebremedhin, Tarafdar, Manne, Pothen, "New acyclic and star coloring algorithms
with application to computing Hessians", SIAM J. Sci. Comput. 29 (2007), algorithm 4.1, doi:10.1137/050639879.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from sparsesolve.coloring._base import Coloring
from sparsesolve.coloring._columns import Colored, color_columns, named_order
from sparsesolve.coloring._hubs import find_hubs, without_columns
from sparsesolve.coloring._orders import ORDERS
from sparsesolve.coloring._problem import ColumnProblem
from sparsesolve.pattern import SparsityPattern

# The greedy algorithm is sequential Python: pairs of entries in a row that one pass, or several, may visit.
_MAX_PAIRS = 8_000_000
_MAX_PAIRS_ALL_ORDERS = 500_000


def symmetric_coloring(pattern: SparsityPattern, order: str | Sequence[int] | np.ndarray | None = None) -> Coloring:
    """The best of a column colouring (always a star colouring) and star colourings in several orders."""
    _require_symmetric(pattern)
    problem = ColumnProblem.of_columns(pattern)
    bound = star_lower_bound(pattern)
    if order is not None:
        name, columns = named_order(problem, order)
        return Coloring("symmetric", star_coloring(pattern, columns), None, bound, name)
    best = _from_columns(problem)
    for name in _affordable_orders(problem):
        if best.num_colors <= bound:
            break
        found = Colored(star_coloring(pattern, ORDERS[name](problem)), name)
        best = found if found.num_colors < best.num_colors else best
    return Coloring("symmetric", best.colors, None, bound, best.method)


def _affordable_orders(problem: ColumnProblem) -> list[str]:
    if problem.pairs <= _MAX_PAIRS_ALL_ORDERS:
        return list(ORDERS)
    return ["smallest last"] if problem.pairs <= _MAX_PAIRS else []


def _from_columns(problem: ColumnProblem) -> Colored:
    """A column colouring of all columns but the hubs; each hub has a colour of its own.

    That is a star colouring: an entry of a hub's column or row is read through the hub's colour, all others lie in
    rows where, hubs aside, no colour comes twice.
    """
    hubs = find_hubs(problem)
    if hubs.size == 0:
        return color_columns(problem)
    rest = without_columns(problem, hubs)
    kept = np.setdiff1d(np.arange(problem.num_rows), hubs)
    found = color_columns(rest.restricted(kept))
    colors = found.colors.copy()
    colors[hubs] = max(1, found.num_colors) + np.arange(hubs.size)
    colors[colors < 0] = 0
    return Colored(colors, f"{found.method} and {hubs.size} dense")


def star_lower_bound(pattern: SparsityPattern) -> int:
    """Two colours induce a forest, so k colours of n vertices carry at most (k - 1) n - k (k - 1) / 2 edges.

    Counted among the vertices whose diagonal entry is stored: others may share the colour of a neighbour.
    """
    stored = pattern.diagonal_positions >= 0
    n = int(np.count_nonzero(stored))
    edges = int(np.count_nonzero((pattern.rows < pattern.indices) & stored[pattern.rows] & stored[pattern.indices]))
    bound = 1 if pattern.nnz else 0
    while bound < n and (bound - 1) * n - bound * (bound - 1) // 2 < edges:
        bound += 1
    return bound


def _require_symmetric(pattern: SparsityPattern) -> None:
    if pattern.shape[0] != pattern.shape[1]:
        raise ValueError(f"A symmetric colouring needs a square pattern, got shape {pattern.shape}.")
    if pattern != pattern.T:
        missing = np.flatnonzero(pattern.positions(pattern.indices, pattern.rows) < 0)[0]
        i, j = int(pattern.rows[missing]), int(pattern.indices[missing])
        raise ValueError(
            f"A symmetric colouring needs a symmetric pattern, but entry ({i}, {j}) is stored and ({j}, {i}) is not; "
            "write pattern.union(pattern.T), or use partition='column'."
        )


def star_coloring(pattern: SparsityPattern, order: np.ndarray) -> np.ndarray:
    """Greedy star colouring in the given order, int32 `(n,)`."""
    ptr, cols = pattern.indptr.tolist(), pattern.indices.tolist()
    neighbors = [cols[a:b] for a, b in itertools.pairwise(ptr)]
    neighbors = [[w for w in adjacent if w != v] for v, adjacent in enumerate(neighbors)]
    return np.asarray(_Stars(neighbors).color(order.tolist()), np.int32)


class _Stars:
    """State of the greedy algorithm: colours, the star of each edge, and the hub of each star (-1: one edge only)."""

    def __init__(self, neighbors: list[list[int]]):
        n = len(neighbors)
        self.neighbors = neighbors
        self.colors = [-1] * n
        self.star: dict[int, int] = {}  # edge (smaller * n + larger) -> number of its star
        self.hub: list[int] = []

    def color(self, order: list[int]) -> list[int]:
        for v in order:
            forbidden = self._forbidden(v)
            bit = ~forbidden & (forbidden + 1)
            self.colors[v] = bit.bit_length() - 1
            self._join_stars(v)
        return self.colors

    def _edge(self, v: int, w: int) -> int:
        return v * len(self.colors) + w if v < w else w * len(self.colors) + v

    def _forbidden(self, v: int) -> int:
        """A bit set of the colours that v cannot have."""
        colors, neighbors, star, hub = self.colors, self.neighbors, self.star, self.hub
        colored = [w for w in neighbors[v] if colors[w] >= 0]
        seen = twice = 0
        for w in colored:
            bit = 1 << colors[w]
            twice |= seen & bit
            seen |= bit
        forbidden = seen
        for w in colored:
            # Two neighbours of one colour: v becomes their hub, so no other neighbour of theirs may share its colour.
            all_of_them = twice >> colors[w] & 1
            for x in neighbors[w]:
                if x != v and colors[x] >= 0:
                    if all_of_them or hub[star[self._edge(w, x)]] == x:
                        forbidden |= 1 << colors[x]
        return forbidden

    def _join_stars(self, v: int) -> None:
        """Puts the edges of v into stars: with the star of a neighbour's same-coloured edge, or with each other."""
        colors, neighbors, star, hub = self.colors, self.neighbors, self.star, self.hub
        first: dict[int, int] = {}
        for w in neighbors[v]:
            if colors[w] < 0:
                continue
            edge = self._edge(v, w)
            joined = next((x for x in neighbors[w] if x != v and colors[x] == colors[v]), -1)
            if joined >= 0:
                star[edge] = star[self._edge(w, joined)]
                hub[star[edge]] = w
            elif colors[w] in first:
                star[edge] = star[self._edge(v, first[colors[w]])]
                hub[star[edge]] = v
            else:
                first[colors[w]] = w
                star[edge] = len(hub)
                hub.append(-1)
