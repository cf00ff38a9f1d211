"""Small matrices of the kinds that direct solvers meet. NumPy and SciPy only, seeded."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sparsesolve.pattern import SparsityPattern


def stencil(*shape: int, convection: float = 0.0) -> sp.csr_matrix:
    """Convection-diffusion by central differences on a grid: 3, 5 or 7 points."""
    total = sp.csr_matrix((int(np.prod(shape)),) * 2)
    for axis, n in enumerate(shape):
        line = sp.diags([-1.0 - convection, 2.0, -1.0 + convection], [-1, 0, 1], (n, n))
        factors = [line if j == axis else sp.eye(k) for j, k in enumerate(shape)]
        term = factors[0]
        for factor in factors[1:]:
            term = sp.kron(term, factor)
        total = total + term
    return total.tocsr()


def brusselator(n: int) -> sp.csr_matrix:
    """Two species on an n x n grid, coupled at each node."""
    laplacian, coupling = stencil(n, n), sp.diags(np.random.default_rng(0).random(n * n))
    return sp.bmat([[laplacian + coupling, coupling], [3 * coupling, laplacian - coupling]]).tocsr()


def p1_mesh(n: int) -> sp.csr_matrix:
    """P1 stiffness and mass on a Delaunay mesh of random points."""
    from scipy.spatial import Delaunay

    points = np.random.default_rng(1).random((n, 2))
    triangles = Delaunay(points).simplices
    a, b, c = (points[triangles[:, i]] for i in range(3))
    area = 0.5 * np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    edges = np.stack([c - b, a - c, b - a], 1)
    local = np.einsum("tid,tjd->tij", edges, edges) / (4 * area)[:, None, None]
    local = local + (np.ones((3, 3)) + np.eye(3)) * (area / 12)[:, None, None]
    rows, cols = np.repeat(triangles, 3, axis=1).ravel(), np.tile(triangles, (1, 3)).ravel()
    return sp.csr_matrix((local.ravel(), (rows, cols)), shape=(n, n))


def weak_diagonal(n: int) -> sp.csr_matrix:
    """Random entries with a diagonal a hundred times smaller."""
    rng = np.random.default_rng(2)
    return (sp.random(n, n, 4.0 / n, random_state=rng) + sp.diags(0.01 * rng.standard_normal(n))).tocsr()


def saddle_point(n: int) -> sp.csr_matrix:
    """A KKT matrix with a zero block on the diagonal."""
    m = n * n // 4
    constraint = sp.random(m, n * n, 0.02, random_state=np.random.default_rng(3)) + sp.eye(m, n * n)
    return sp.bmat([[stencil(n, n), constraint.T], [constraint, None]]).tocsr()


def circuit(n: int) -> sp.csr_matrix:
    """A network with conductances over eight decades and one node joined to all others."""
    rng = np.random.default_rng(4)
    net = sp.random(n, n, 2.0 / n, random_state=rng)
    net = (net + net.T + sp.diags(10.0 ** rng.uniform(-6, 2, n))).tolil()
    net[0, :] = rng.standard_normal(n) * 1e-3
    net[:, 0] = 1.0
    return net.tocsr()


def permuted(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Its rows in random order: the diagonal is lost."""
    return matrix[np.random.default_rng(5).permutation(matrix.shape[0])].tocsr()


def blocks() -> sp.csr_matrix:
    """Dense blocks of three sizes, interleaved."""
    rng = np.random.default_rng(6)
    matrix = sp.block_diag([sp.coo_matrix(rng.standard_normal((k, k))) for k in [3, 5, 3, 8] * 6]).tocsr()
    shuffle = rng.permutation(matrix.shape[0])
    return matrix[shuffle][:, shuffle].tocsr()


def band(n: int, width: int) -> sp.csr_matrix:
    """Random entries within `width` of the diagonal."""
    rng = np.random.default_rng(7)
    offsets = range(-width, width + 1)
    return sp.diags([rng.standard_normal(n - abs(k)) for k in offsets], list(offsets), (n, n)).tocsr()


def split(matrix: sp.spmatrix, dtype: type = np.float64) -> tuple[SparsityPattern, np.ndarray]:
    """Pattern and CSR values."""
    csr = sp.csr_matrix(matrix)
    csr.sum_duplicates()
    csr.sort_indices()
    values = csr.data.astype(dtype)
    if np.issubdtype(dtype, np.complexfloating):
        values = values * np.exp(1j * np.linspace(0, 0.5, values.size)).astype(dtype)
    return SparsityPattern.from_scipy(csr), values
