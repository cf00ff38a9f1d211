"""Which method solves the linear problem of a step, chosen from the pattern of the Jacobian. Host-side.

Few unknowns: dense QR. A large block-diagonal part of `J^T J` that can be eliminated and leaves little: a Schur
complement. Otherwise a sparse Cholesky factorization of the normal equations, or conjugate gradients where forming and
factorizing them costs too much. (Whether there is a pattern at all is `iteration/_formation.py`'s question.)
"""

from __future__ import annotations

import numpy as np

from sparsesolve._cache import BoundedCache
from sparsesolve._tree import Structure
from sparsesolve.least_squares.linear_step._cg_solver import CGSolver
from sparsesolve.least_squares.linear_step._dense_solver import DenseSolver
from sparsesolve.least_squares.linear_step._eliminate import find_elimination
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver
from sparsesolve.least_squares.linear_step._normal_solver import NormalSolver
from sparsesolve.least_squares.linear_step._product_solver import ProductSolver
from sparsesolve.least_squares.linear_step._schur_solver import SchurSolver
from sparsesolve.pattern import SparsityPattern

METHODS = ("dense", "cholesky", "schur", "cg")
PRODUCTS = ("lsmr", "cgls")
"""Methods without a stored Jacobian."""
_FEW = 48  # unknowns up to which a dense QR factorization is always the method of choice
_MOST_PRODUCTS, _LARGEST_GRAM = 4 * 10**9, 10**8  # multiply-adds of J^T J, entries that one row makes in it
_MOST_FLOPS = 2e13  # of a factorization: minutes
_SHARE = 0.75  # of the unknowns that must be eliminated for a Schur complement to be tried

_solvers = BoundedCache("damped least-squares solvers", maxsize=32)


def choose_damped_solver(pattern: SparsityPattern, method: str = "auto") -> AbstractDampedSolver:
    """The solver for Jacobians of a pattern, from a cache where possible.

    Raises:
        ValueError: the method is not known, or cannot be used with the pattern.
    """
    if method != "auto" and method not in METHODS:
        raise ValueError(
            f"Unknown linear_solver {method!r} for the steps of least squares; write 'auto', "
            f"{', '.join(repr(name) for name in (*METHODS, *PRODUCTS))}."
        )
    return _solvers.get((pattern, method), lambda: _build(pattern, method))


def choose_product_solver(tangents: Structure, num_residuals: int, method: str) -> ProductSolver:
    """The solver on products for steps of a structure."""
    key = (tangents, num_residuals, method)
    return _solvers.get(key, lambda: ProductSolver(tangents, num_residuals, "cgls" if method == "cgls" else "lsmr"))


def _build(pattern: SparsityPattern, method: str) -> AbstractDampedSolver:
    if method == "dense" or (method == "auto" and pattern.shape[1] <= _FEW):
        return DenseSolver(pattern)
    if method == "cg":
        return CGSolver(pattern)
    if method == "cholesky":
        return NormalSolver(pattern)
    if method == "auto" and _fills_rows(pattern):
        return CGSolver(pattern)
    elimination = find_elimination(pattern, 0.0 if method == "schur" else _SHARE)
    if elimination is not None and elimination.kept.size > 0:
        return SchurSolver(pattern, elimination)
    if method == "schur":
        raise ValueError(
            "linear_solver='schur' found no groups of unknowns to eliminate that leave others; write 'cholesky'."
        )
    try:
        solver = NormalSolver(pattern)
    except ValueError:  # the factors would not fit in memory
        return CGSolver(pattern)
    return solver if solver.plan.flops <= _MOST_FLOPS else CGSolver(pattern)


def _fills_rows(pattern: SparsityPattern) -> bool:
    """Whether `J^T J` alone, by the squares of the rows' lengths, is too much to form."""
    lengths = np.diff(pattern.indptr).astype(np.int64)
    return int((lengths * lengths).sum()) > _MOST_PRODUCTS or int(lengths.max(initial=0)) ** 2 > _LARGEST_GRAM
