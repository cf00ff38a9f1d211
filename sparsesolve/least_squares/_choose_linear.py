"""Which method solves the linear problem of a step, chosen from the pattern of the Jacobian. Host-side."""

from __future__ import annotations

from sparsesolve._cache import BoundedCache
from sparsesolve.least_squares._dense_solver import DenseSolver
from sparsesolve.least_squares._linear_base import AbstractDampedSolver
from sparsesolve.least_squares._normal_solver import NormalSolver
from sparsesolve.pattern import SparsityPattern

METHODS = {"dense": DenseSolver, "cholesky": NormalSolver}
_FEW = 48  # unknowns up to which a dense QR factorization is always the method of choice

_solvers = BoundedCache("damped least-squares solvers", maxsize=32)


def choose_damped_solver(pattern: SparsityPattern, method: str = "auto") -> AbstractDampedSolver:
    """The solver for Jacobians of a pattern, from a cache where possible.

    Raises:
        ValueError: the method is not known.
    """
    if method == "auto":
        method = "dense" if pattern.shape[1] <= _FEW else "cholesky"
    if method not in METHODS:
        raise ValueError(
            f"Unknown linear_solver {method!r} for the steps of least squares; write 'auto', "
            f"{', '.join(repr(name) for name in METHODS)}."
        )
    return _solvers.get((pattern, method), lambda: METHODS[method](pattern))
