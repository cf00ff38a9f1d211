"""The problems of the benchmarks by name, and patterns of their Jacobians built by hand, as reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from sparsesolve import gallery


def build(problem: str, n: int) -> gallery.Problem:
    """A problem of the gallery with `n` points a side."""
    return getattr(gallery, problem)(n)


def reference_pattern(problem: str, n: int) -> scipy.sparse.csr_matrix:
    """Which entries of the Jacobian are nonzero, assembled in SciPy from the equations."""
    if problem == "brusselator":
        return _brusselator(n)
    if problem == "fem_diffusion":
        return _fem(n)
    if problem == "bratu_2d":
        line = scipy.sparse.diags([np.ones(n - 1), np.ones(n - 1)], [-1, 1], shape=(n, n))
        unit = scipy.sparse.eye(n)
        return scipy.sparse.csr_matrix(scipy.sparse.kron(line, unit) + scipy.sparse.kron(unit, line) + _eye(n * n))
    raise ValueError(f"No reference pattern of {problem}; there are bratu_2d, brusselator and fem_diffusion.")


def missing_entries(pattern: Any, reference: scipy.sparse.csr_matrix) -> int:
    """Entries of the reference that a pattern (a SciPy matrix) lacks."""
    have = scipy.sparse.csr_matrix(pattern).astype(bool)
    need = reference.astype(bool)
    return int(need.nnz - need.multiply(have).nnz)


def _eye(n: int) -> Any:
    return scipy.sparse.eye(n)


def _brusselator(n: int) -> scipy.sparse.csr_matrix:
    ring = scipy.sparse.csr_matrix(np.roll(np.eye(n), 1, 0) + np.roll(np.eye(n), -1, 0))
    unit = scipy.sparse.eye(n)
    laplacian = scipy.sparse.kron(ring, unit) + scipy.sparse.kron(unit, ring) + _eye(n * n)
    return scipy.sparse.csr_matrix(scipy.sparse.bmat([[laplacian, _eye(n * n)], [_eye(n * n), laplacian]]))


def _fem(n: int) -> scipy.sparse.csr_matrix:
    nodes, triangles = gallery.fem_diffusion(n).points
    rows, cols = np.repeat(triangles, 3, axis=1).ravel(), np.tile(triangles, (1, 3)).ravel()
    inner = ~np.any((nodes == 0.0) | (nodes == 1.0), axis=1)[rows]
    matrix = scipy.sparse.coo_matrix((np.ones(inner.sum()), (rows[inner], cols[inner])), shape=(len(nodes),) * 2)
    return scipy.sparse.csr_matrix(matrix + _eye(len(nodes)))
