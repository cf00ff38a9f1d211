"""Nonlinear equations: `fn(y, args) = 0` by Newton's method with sparse Jacobians, differentiable."""

from sparsesolve.nonlinear._backtracking import (
    AbstractLineSearch as AbstractLineSearch,
    Backtracking as Backtracking,
)
from sparsesolve.nonlinear._newton import Newton as Newton
from sparsesolve.nonlinear._results import RESULTS as RESULTS
from sparsesolve.nonlinear._root_find import root_find as root_find
