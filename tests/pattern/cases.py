"""Functions with the sparsity their detected pattern must have, compared with dense Jacobians at random points.

Each case is a function of one array of the given (asymmetric) shape. `excess` is the number of entries the pattern
may hold beyond those that are nonzero somewhere: 0 means exact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    function: Callable[..., Any]
    shape: tuple[int, ...] = (3, 4)
    excess: int = 0
    dtype: Any = np.float64


CASES: list[Case] = []


def case(*shape: int, excess: int = 0, dtype: Any = np.float64) -> Callable[[Callable], Callable]:
    def add(function: Callable) -> Callable:
        CASES.append(Case(function.__name__, function, shape or (3, 4), excess, dtype))
        return function

    return add


def cases(**functions: Callable) -> None:
    CASES.extend(Case(name, function) for name, function in functions.items())


RNG = np.random.default_rng(7)
SPARSE = RNG.normal(size=(5, 4)) * (RNG.random((5, 4)) < 0.4)
SPARSE[0, 1] = 1.0
INDEX = np.array([2, 0, 2, 1])
TRIANGLES = np.array([[0, 1, 4], [1, 2, 5], [4, 1, 5], [3, 4, 7], [4, 8, 7]])
