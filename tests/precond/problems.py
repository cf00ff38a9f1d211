"""Matrices for the tests of preconditioners, by SciPy, and a Krylov solve that counts its steps."""

import equinox as eqx
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg

import sparsesolve as ss
from sparsesolve.gallery._fem_diffusion import _elements, _mesh


def grid_laplacian(*shape):
    """5-point or 7-point Laplacian, Dirichlet, mesh width 1."""
    total = sp.csr_matrix((1, 1))
    for size in shape:
        line = sp.diags_array([-np.ones(size - 1), 2 * np.ones(size), -np.ones(size - 1)], offsets=[-1, 0, 1])
        total = sp.kronsum(line, total, format="csr")
    return sp.csr_matrix(total)


def mesh_laplacian(n):
    """P1 stiffness matrix of an unstructured triangulation, interior nodes."""
    nodes, triangles, boundary = _mesh(n, 0)
    gradients, areas = _elements(nodes, triangles)
    local = np.einsum("eid,ejd,e->eij", gradients, gradients, areas)
    rows, cols = np.repeat(triangles, 3, axis=1).ravel(), np.tile(triangles, (1, 3)).ravel()
    inside = np.flatnonzero(~boundary)
    return sp.csr_matrix((local.ravel(), (rows, cols)), shape=(n * n, n * n))[inside][:, inside].tocsr()


def shifted(laplacian, c):
    """`I + c L` as a `SparseMatrix`."""
    return ss.SparseMatrix.from_scipy((sp.eye_array(laplacian.shape[0]) + c * laplacian).tocsr())


def cg_steps(matrix, operator, rtol=1e-8, jit=False):
    """Steps of SciPy's CG to a relative residual, which is checked."""
    apply = eqx.filter_jit(operator.mv) if jit else operator.mv
    A, b = matrix.to_scipy(), np.random.default_rng(0).standard_normal(matrix.shape[0])
    M = scipy.sparse.linalg.LinearOperator(A.shape, matvec=lambda v: np.asarray(apply(v)), dtype=A.dtype)
    steps = []
    x, status = scipy.sparse.linalg.cg(A, b, rtol=rtol, atol=0, M=M, maxiter=200, callback=steps.append)
    assert status == 0 and np.linalg.norm(b - A @ x) <= 2 * rtol * np.linalg.norm(b)
    return len(steps)
