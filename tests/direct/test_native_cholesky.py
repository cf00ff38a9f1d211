"""The compiled Cholesky and L B L^T factorizations against the residual: matrices, types, inertia, half an LU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

from sparsesolve import _native
from sparsesolve.direct._native_cholesky import NativeCholeskyPlan
from sparsesolve.direct._native_multifrontal import NativeMultifrontalPlan
from sparsesolve.direct._symmetric import hollow_diagonal
from sparsesolve.pattern import SparsityPattern
from tests.direct import problems

pytestmark = pytest.mark.skipif(not _native.available(), reason=_native.status())

DEFINITE = {
    "five points": lambda: problems.stencil(12, 13),
    "three dimensions": lambda: problems.stencil(7, 6, 5),
    "finite elements": lambda: problems.p1_mesh(220),
    "chain": lambda: problems.stencil(150),
    "one unknown": lambda: sp.csr_matrix([[2.0]]),
    "large front": lambda: sp.csr_matrix(np.eye(230) * 300 + 1.0),
}
SYMMETRIES = {
    "positive": [np.float32, np.float64, np.complex64, np.complex128],
    "negative": [np.float64, np.complex128],
    "symmetric": [np.float32, np.float64, np.complex64, np.complex128],
    "hermitian": [np.float64, np.complex64, np.complex128],
}


def symmetric_problem(matrix, symmetry, dtype):
    """Pattern and values of a matrix of the symmetry, made of a positive definite one."""
    matrix = sp.csr_matrix(matrix)
    n = matrix.indptr.size - 1
    if symmetry == "negative":
        matrix = sp.csr_matrix(-matrix)
    if symmetry in ("symmetric", "hermitian"):
        matrix = sp.csr_matrix(matrix - sp.diags(np.where(np.arange(n) % 2 == 0, 0.4, 3.7) * matrix.diagonal()))
    if np.issubdtype(dtype, np.complexfloating):
        turn = sp.diags(np.exp(1j * np.random.default_rng(0).random(n)))
        matrix = sp.csr_matrix(turn @ matrix @ (turn if symmetry == "symmetric" else turn.conj()))
    matrix.sort_indices()
    return SparsityPattern.from_scipy(matrix), np.asarray(matrix.data).astype(dtype)


def native(pattern, values, symmetry):
    indefinite = symmetry in ("symmetric", "hermitian")
    return NativeCholeskyPlan(pattern, symmetry, hollow_diagonal(pattern, values if indefinite else None))


def backward_error(matrix, x, rhs):
    size = np.abs(matrix).sum(1).max() * np.abs(x).max() + np.abs(rhs).max()
    return np.abs(matrix @ x - rhs).max() / size


@pytest.mark.parametrize(("symmetry", "dtype"), [(s, d) for s, dtypes in SYMMETRIES.items() for d in dtypes])
@pytest.mark.parametrize("name", DEFINITE)
def test_backward_error_is_small(name, symmetry, dtype):
    pattern, values = symmetric_problem(DEFINITE[name](), symmetry, dtype)
    plan = native(pattern, values, symmetry)
    factors = plan.factor(jnp.asarray(values))
    assert factors.blocks.shape == (plan.nnz_factor,) and factors.blocks.dtype == dtype
    matrix = sp.csr_matrix((values, pattern.indices, pattern.indptr), shape=pattern.shape)
    rhs = np.random.default_rng(0).standard_normal((pattern.shape[0], 37)).astype(dtype)
    for transpose, a in ((False, matrix), (True, matrix.T)):
        x = plan.solve(factors, jnp.asarray(rhs[:, 0]), transpose=transpose)
        many = plan.solve(factors, jnp.asarray(rhs), transpose=transpose)
        assert x.dtype == dtype
        assert backward_error(a, np.asarray(x), rhs[:, 0]) < 1e4 * np.finfo(dtype).eps
        assert backward_error(a, np.asarray(many), rhs) < 1e4 * np.finfo(dtype).eps
    assert bool(plan.sound(factors))


@pytest.mark.parametrize("name", ["three dimensions", "finite elements", "large front"])
def test_inertia_is_that_of_the_eigenvalues(name):
    for symmetry, dtype in (("symmetric", np.float64), ("hermitian", np.complex128)):
        pattern, values = symmetric_problem(DEFINITE[name](), symmetry, dtype)
        dense = sp.csr_matrix((values, pattern.indices, pattern.indptr), shape=pattern.shape).toarray()
        plan = native(pattern, values, symmetry)
        negative, perturbed = plan.found(plan.factor(jnp.asarray(values)))
        expected = int((np.linalg.eigvalsh(dense) < 0).sum())
        assert (int(negative), int(perturbed)) == (expected, 0) and 0 < expected < pattern.shape[0]


def test_half_of_an_lu():
    for pattern, _ in map(problems.split, (problems.stencil(120, 121), problems.stencil(14, 13, 12))):
        lu, cholesky = NativeMultifrontalPlan(pattern, np.arange(pattern.shape[0])), native(pattern, None, "positive")
        assert cholesky.nnz_factor < 0.63 * lu.nnz_factor
        assert cholesky.flops < 0.56 * lu.flops


def test_a_saddle_point_without_a_diagonal():
    pattern, values = problems.split(problems.saddle_point(20))
    assert (pattern.diagonal_positions < 0).any()
    plan, rhs = native(pattern, None, "symmetric"), np.ones(pattern.shape[0])
    factors = plan.factor(jnp.asarray(values))
    matrix = sp.csr_matrix((values, pattern.indices, pattern.indptr), shape=pattern.shape)
    assert backward_error(matrix, np.asarray(plan.solve(factors, jnp.asarray(rhs))), rhs) < 1e-13
    assert int(plan.found(factors)[0]) == 100


def test_batches_and_failing_members():
    pattern, values = problems.split(problems.stencil(9, 10))
    plan, rhs = native(pattern, None, "positive"), jnp.linspace(1.0, 2.0, pattern.shape[0])
    data = jnp.asarray(values)
    stack = jnp.stack([data, -data, 2 * data, data.at[3].set(jnp.nan)])
    factors = jax.vmap(plan.factor)(stack)
    sound = jax.vmap(plan.sound)(factors)
    np.testing.assert_array_equal(sound, [True, False, True, False])
    x = jax.vmap(lambda f: plan.solve(f, rhs))(factors)
    alone = plan.solve(plan.factor(data), rhs)
    np.testing.assert_allclose(x[0], alone, rtol=1e-12)
    np.testing.assert_allclose(x[2], alone / 2, rtol=1e-12)
    assert np.isfinite(x[1]).all()
