"""Matrices of the linear benchmarks by name: the gallery's, Jacobians of its problems, and files. SciPy CSR."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse

from benchmarks._base import SkipError
from benchmarks._problems import build
from sparsesolve import gallery

FILES = (
    "494_bus",
    "adder_dcop_05",
    "cryg2500",
    "hangGlider_2",
    "olm1000",
    "rajat19",
    "watt_2",
    "west0479",
)
"""SuiteSparse matrices in the data folder: power network, circuits, fluids, optimal control, chemical engineering."""

TOLERANCE = 1e-12
"""Normwise backward error that a solution must reach for a time to count."""


def matrix(name: str, *arguments: Any, **keywords: Any) -> scipy.sparse.csr_matrix:
    """`name` is a function of the gallery for a matrix or a problem (then its Jacobian), or a file's name."""
    if name in FILES:
        return _file(name)
    if hasattr(gallery, name) and name not in _PROBLEMS:
        return getattr(gallery, name)(*arguments, **keywords)
    return _jacobian(name, *arguments)


def right_hand_side(a: scipy.sparse.csr_matrix, seed: int = 0) -> np.ndarray:
    """Of a solution with entries between one and two."""
    return a @ np.random.default_rng(seed).uniform(1.0, 2.0, a.shape[0])


def backward_error(a: scipy.sparse.csr_matrix, x: Any, b: np.ndarray) -> float:
    """`|b - A x| / (|A| |x| + |b|)` in the infinity norm."""
    x = np.asarray(x).ravel()
    scale = float(abs(a).sum(axis=1).max()) * np.abs(x).max() + np.abs(b).max()
    return float(np.abs(b - a @ x).max() / scale)


def checker(a: scipy.sparse.csr_matrix, b: np.ndarray, solution: Callable[[], Any]) -> Callable[[Any], float]:
    """A trial's check: the backward error of `solution()`."""

    def check(_: Any) -> float:
        error = backward_error(a, solution(), b)
        return error if np.isfinite(error) else np.inf

    return check


_PROBLEMS = ("brusselator", "bratu_2d", "fem_diffusion", "cavity", "reaction_diffusion")


def _jacobian(problem: str, n: int) -> scipy.sparse.csr_matrix:
    """The Jacobian of a problem at a point where every derivative differs from zero."""
    import jax
    import jax.numpy as jnp

    import sparsesolve as ss

    p = build(problem, n)
    rng = np.random.default_rng(0)
    y = jax.tree.map(lambda leaf: leaf + jnp.asarray(rng.uniform(0.01, 0.1, leaf.shape)), p.y0)
    return ss.jacobian(p.residual, p.y0, p.args)(y, p.args).to_scipy()


def _file(name: str) -> scipy.sparse.csr_matrix:
    folder = pathlib.Path(os.environ.get("SPARSESOLVE_DATA", pathlib.Path(__file__).parents[2] / "shared" / "data"))
    path = folder / "matrices" / f"{name}.mtx"
    if not path.is_file():
        raise SkipError(f"there is no {path.name} in the data folder; set SPARSESOLVE_DATA to it")
    out = scipy.sparse.csr_matrix(scipy.io.mmread(path)).astype(float)
    out.sum_duplicates()
    out.sort_indices()
    return out
