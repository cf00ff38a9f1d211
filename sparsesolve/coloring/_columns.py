"""Colouring of columns: lower bound, lattice search, then a portfolio of greedy orders; the best is kept.

Every step stops as soon as the bound (the longest row) is reached. Columns without entries cost nothing: they get
colour 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from sparsesolve.coloring._greedy import greedy_coloring
from sparsesolve.coloring._grid import candidate_grids
from sparsesolve.coloring._hubs import color_hubs, find_hubs, without_columns
from sparsesolve.coloring._lattice import LatticeSearch
from sparsesolve.coloring._orders import ORDERS
from sparsesolve.coloring._partial import fewer_colors
from sparsesolve.coloring._problem import ColumnProblem
from sparsesolve.coloring._recolor import iterated_recoloring

# The last two orders walk the conflict graph in Python, about 0.7 us an edge; smallest last is mostly the better one.
_MAX_PAIRS = 8_000_000
_MAX_EDGES = {"smallest last": 2_500_000, "incidence degree": 500_000}
_MAX_LATTICE_EXCESS = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Colored:
    """Colours of a `ColumnProblem` and how they were found."""

    colors: np.ndarray
    method: str

    @property
    def num_colors(self) -> int:
        return int(self.colors.max(initial=-1)) + 1


def color_columns(problem: ColumnProblem, order: str | Sequence[int] | np.ndarray | None = None) -> Colored:
    """Colours the columns of a problem; with an order given, by one greedy pass in that order."""
    if order is not None:
        name, columns = named_order(problem, order)
        return Colored(greedy_coloring(problem, columns), name)
    if problem.nnz == 0:
        return Colored(np.full(problem.num_columns, -1, np.int32), "empty")
    trivial = _all_different(problem)
    if trivial.num_colors == problem.lower_bound:
        return trivial
    hubs = find_hubs(problem)
    if hubs.size:
        rest = color_columns(without_columns(problem, hubs))
        return Colored(color_hubs(problem, rest.colors, hubs), f"{rest.method} and {hubs.size} dense")
    return _search(problem)


def _search(problem: ColumnProblem) -> Colored:
    bound = problem.lower_bound
    lattices = [LatticeSearch(problem, grid) for grid in candidate_grids(problem)]
    best = _best_lattice(lattices, range(bound, bound + 1))
    if best is not None:
        return best
    nearly = _near_lattice(lattices, bound)
    if nearly is not None and nearly.num_colors <= bound + 1:
        return nearly
    best = _portfolio(problem, bound)
    best = nearly if nearly is not None and nearly.num_colors < best.num_colors else best
    better = _best_lattice(lattices, range(bound + 1, min(best.num_colors, bound + _MAX_LATTICE_EXCESS)))
    best = best if better is None else better
    if best.num_colors > bound:
        colors = fewer_colors(problem, best.colors, bound)
        improved = Colored(colors, f"{best.method}, tabu search")
        best = improved if improved.num_colors < best.num_colors else best
    return best


def named_order(problem: ColumnProblem, order: str | Sequence[int] | np.ndarray) -> tuple[str, np.ndarray]:
    """The name of an order and the columns in that order, from a name or a permutation that the user gave."""
    if isinstance(order, str):
        if order not in ORDERS:
            raise ValueError(f"There is no order {order!r}; choose one of {', '.join(ORDERS)}, or give a permutation.")
        return order, ORDERS[order](problem)
    columns = np.asarray(order)
    if columns.shape != (problem.num_columns,) or not np.array_equal(np.sort(columns), np.arange(columns.size)):
        raise ValueError(
            f"An order must be a permutation of 0..{problem.num_columns - 1}, got an array of shape {columns.shape}; "
            f"give each column once, or a name: {', '.join(ORDERS)}."
        )
    return "given order", columns


def _all_different(problem: ColumnProblem) -> Colored:
    used = problem.column_lengths > 0
    return Colored(np.where(used, np.cumsum(used) - 1, 0).astype(np.int32), "one each")


def _best_lattice(lattices: list[LatticeSearch], num_colors: range) -> Colored | None:
    for index in num_colors:
        for lattice in lattices:
            colors = lattice.find(index)
            if colors is not None:
                return Colored(colors, "lattice")
    return None


def _near_lattice(lattices: list[LatticeSearch], bound: int) -> Colored | None:
    for lattice in lattices:
        colors = lattice.find_nearly(range(max(1, bound - 2), bound + 2))
        if colors is not None:
            return Colored(colors, "lattice but for a few columns")
    return None


def _portfolio(problem: ColumnProblem, bound: int) -> Colored:
    best: Colored | None = None
    for name, make_order in ORDERS.items():
        if name in _MAX_EDGES and not _has_few_conflicts(problem, _MAX_EDGES[name]):
            continue
        found = Colored(greedy_coloring(problem, make_order(problem)), name)
        if best is None or found.num_colors < best.num_colors:
            best = found
        if best.num_colors == bound:
            break
    assert best is not None
    again = Colored(iterated_recoloring(problem, best.colors, bound), f"{best.method}, recoloured")
    return again if again.num_colors < best.num_colors else best


def _has_few_conflicts(problem: ColumnProblem, most: int) -> bool:
    return problem.pairs <= _MAX_PAIRS and problem.conflicts[1].size <= most
