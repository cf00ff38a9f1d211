"""Sublattices of Z^d and the colourings they give: colour = coset of the grid point.

A sublattice L of index m is described uniquely by a matrix H in Hermite normal form with determinant m. Two points
have the same colour when their difference lies in L, so a colouring of a stencil is valid when no difference of two
of its points, reduced by H, is zero. There are only sum_{h1 h2 h3 = m} h2 h3^2 sublattices in three dimensions (1,210
for m = 27), and they are all periodic tilings of the grid with m tiles, cyclic (the usual `(i + 2 j) mod 5`) or not.
Reference: Goldfarb & Toint, "Optimal estimation of Jacobian and Hessian matrices that arise in finite difference
calculations", Math. Comp. 43 (1984), doi:10.1090/S0025-5718-1984-0744926-0.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np


def _factorizations(number: int, parts: int) -> list[tuple[int, ...]]:
    """All ordered products of `parts` factors."""
    if parts == 0:
        return [()] if number == 1 else []
    return [
        (factor, *rest)
        for factor in range(1, number + 1)
        if number % factor == 0
        for rest in _factorizations(number // factor, parts - 1)
    ]


@functools.lru_cache(maxsize=256)
def sublattices(dimension: int, index: int) -> np.ndarray:
    """All sublattices of Z^d with the given index: Hermite normal forms, int64 `(count, d, d)`, upper triangular.

    Off-diagonal entries satisfy `0 <= H[i, j] < H[j, j]`.
    """
    forms = []
    upper = [(i, j) for i in range(dimension) for j in range(i + 1, dimension)]
    for diagonal in _factorizations(index, dimension):
        for values in itertools.product(*(range(diagonal[j]) for _, j in upper)):
            form = np.diag(np.asarray(diagonal, np.int64))
            for (i, j), value in zip(upper, values, strict=True):
                form[i, j] = value
            forms.append(form)
    return np.stack(forms)


def count_sublattices(dimension: int, index: int) -> int:
    """How many `sublattices` there are."""
    total = 0
    for diagonal in _factorizations(index, dimension):
        count = 1
        for j, factor in enumerate(diagonal):
            count *= factor**j
        total += count
    return total


def coset(forms: np.ndarray, points: list[np.ndarray]) -> np.ndarray:
    """The coset number in `0..m-1` of each point.

    Args:
        forms: one form `(d, d)`, or `(count, d, d)` where the points broadcast against a leading axis `count`.
        points: d arrays of coordinates that broadcast against each other.
    """
    rest = list(points)
    color: np.ndarray = np.zeros((), np.int64)
    for k in range(len(rest)):
        entry = [forms[..., k, j].reshape(forms.shape[:-2] + (1,) * (forms.ndim == 3)) for j in range(len(rest))]
        steps = rest[k] // entry[k]
        remainder = rest[k] - steps * entry[k]
        for j in range(k + 1, len(rest)):
            rest[j] = rest[j] - steps * entry[j]
        color = color * entry[k] + remainder
    return color
