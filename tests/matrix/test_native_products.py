"""The compiled product kernels: the primitive under transformations, against plain JAX and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from sparsesolve import _native
from sparsesolve.jacobian import jacobian
from sparsesolve.matrix import SparseMatrix, matvec, product_plan
from sparsesolve.pattern import SparsityPattern, detect_sparsity
from tests.matrix.test_products import MATRICES, five_point, irregular

pytestmark = pytest.mark.skipif(not _native.available(), reason=_native.status())


def random_kinds() -> scipy.sparse.csr_matrix:
    """Three diagonals with entries left out at random: rows of many kinds."""
    full = scipy.sparse.diags_array([np.ones(39), np.ones(40), np.ones(39)], offsets=[-1, 0, 1]).toarray()
    rng = np.random.default_rng(8)
    return scipy.sparse.csr_matrix(full * rng.standard_normal((40, 40)) * (rng.random((40, 40)) < 0.8))


def wide_band() -> scipy.sparse.csr_matrix:
    """More diagonals than are added at a time."""
    rng = np.random.default_rng(9)
    return scipy.sparse.csr_matrix(np.triu(np.tril(rng.standard_normal((60, 50)), 12), -13))


CASES = {
    "stencil": five_point(23, 31),
    "random kinds": random_kinds(),
    "wide band": wide_band(),
    "long rows": irregular([2, 0, 17, 1, 40, 1, 20, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3], 45),
    "even rows": MATRICES["even rows"][0],
    "rectangular diagonals": MATRICES["rectangular diagonals"][0],
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_kernels_against_scipy(name, dtype):
    reference = CASES[name].astype(dtype)
    if np.dtype(dtype).kind == "c":
        reference.data *= np.exp(1j * np.arange(reference.nnz)).astype(dtype)
    A = SparseMatrix.from_scipy(reference)
    plan, back = product_plan(A.pattern), product_plan(A.pattern, transpose=True)
    rng = np.random.default_rng(3)
    eps = 100 * np.finfo(dtype).eps
    for columns in (None, 1, 3, 8, 19):
        shape = () if columns is None else (columns,)
        v, u = (rng.standard_normal((size, *shape)).astype(dtype) for size in A.shape[::-1])
        for product in (
            A @ v,
            plan.multiply(plan.arrange(A.data), v),
            jax.jit(matvec, static_argnums=0)(A.pattern, A.data, v),
        ):
            assert product.dtype == dtype
            np.testing.assert_allclose(product, reference @ v, atol=eps)
        for product in (matvec(A.pattern, A.data, u, transpose=True), back.multiply(back.arrange(A.data), u)):
            np.testing.assert_allclose(product, reference.T @ u, atol=eps)


@pytest.mark.parametrize("name", ["stencil", "long rows"])
def test_batches_of_batches(name):
    A = SparseMatrix.from_scipy(CASES[name])
    n = A.shape[1]
    rng = np.random.default_rng(4)
    D, V = rng.random((2, A.nnz)), rng.random((3, n))
    dense = jax.vmap(lambda data: SparseMatrix(data, A.pattern).todense())(D)

    def product(data, v):
        return matvec(A.pattern, data, v)

    grid = jax.jit(jax.vmap(lambda data: jax.vmap(lambda v: product(data, v))(V)))(D)
    np.testing.assert_allclose(grid, jnp.einsum("dij,vj->dvi", dense, V), rtol=1e-11)
    grid = jax.vmap(lambda v: jax.vmap(lambda data: product(data, v))(D))(V)
    np.testing.assert_allclose(grid, jnp.einsum("dij,vj->vdi", dense, V), rtol=1e-11)
    pairs = jax.vmap(jax.vmap(product), (None, 0))(D, V[:, None, :] * np.ones((1, 2, 1)))
    np.testing.assert_allclose(pairs, jnp.einsum("dij,vj->vdi", dense, V), rtol=1e-11)
    blocks = jax.vmap(product, (0, None))(D, V.T)
    np.testing.assert_allclose(blocks, jnp.einsum("dij,vj->div", dense, V), rtol=1e-11)


@pytest.mark.parametrize("name", ["stencil", "even rows", "long rows"])
def test_second_derivatives_of_arranged_products(name):
    A = SparseMatrix.from_scipy(CASES[name])
    plan = product_plan(A.pattern)

    def f(data, v):
        return jnp.sum(jnp.sin(plan.multiply(plan.arrange(data), v)))

    def exact(data, v):
        return jnp.sum(jnp.sin(SparseMatrix(data, A.pattern).todense() @ v))

    v = jnp.linspace(0.0, 1.0, A.shape[1])
    direction = (A.data[::-1], v[::-1])
    ours, theirs = (jax.jit(lambda g=g: jax.jvp(jax.grad(g, (0, 1)), (A.data, v), direction))() for g in (f, exact))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), ours, theirs)


@pytest.mark.parametrize("name", ["stencil", "long rows"])
def test_only_programs_for_the_cpu_hold_a_foreign_call(name):
    A = SparseMatrix.from_scipy(CASES[name])
    v = jnp.ones(A.shape[1])
    traced = jax.jit(lambda data, v: jax.grad(lambda d: jnp.sum(matvec(A.pattern, d, v) ** 2))(data)).trace(A.data, v)
    assert "sparsesolve_" in traced.lower().as_text()
    assert "sparsesolve_" not in traced.lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize("name", ["stencil", "even rows", "long rows"])
def test_detection_and_peeling_look_inside(name):
    A = SparseMatrix.from_scipy(CASES[name])
    u = jnp.linspace(0.1, 0.9, A.shape[1])
    assert detect_sparsity(lambda u: A @ u, u) == A.pattern
    if A.shape[0] != A.shape[1]:
        return
    jac = jacobian(lambda u: A @ u + u**3, u)
    assert jac.num_colors == 1
    np.testing.assert_allclose(jac(u).todense(), A.todense() + jnp.diag(3 * u**2), rtol=1e-12)


def test_other_types_go_the_plain_way():
    A = SparseMatrix.from_scipy(CASES["stencil"]).astype(jnp.bfloat16)
    y = A @ jnp.ones(A.shape[1], jnp.bfloat16)
    assert y.dtype == jnp.bfloat16
    mixed = SparseMatrix.from_scipy(CASES["stencil"]) @ (1j * jnp.ones(A.shape[1]))
    np.testing.assert_allclose(mixed.imag, CASES["stencil"] @ np.ones(A.shape[1]), rtol=1e-12)


def test_a_pattern_without_entries():
    A = SparseMatrix(jnp.zeros(0), SparsityPattern.from_scipy(scipy.sparse.csr_matrix((4, 3))))
    np.testing.assert_array_equal(A @ jnp.ones(3), np.zeros(4))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("size", [3, 8, 11])
def test_rows_of_dense_blocks(size, dtype):
    """Each row is of another kind than its neighbours, and its entries lie side by side."""
    count, rng = 9, np.random.default_rng(size)
    chain = scipy.sparse.diags([np.ones(count - abs(k)) for k in (-1, 0, 1)], [-1, 0, 1])
    a = scipy.sparse.csr_matrix(scipy.sparse.kron(chain, np.ones((size, size))), dtype=dtype)
    a.data = (rng.standard_normal(a.nnz) + (1j if np.dtype(dtype).kind == "c" else 0)).astype(dtype)
    pattern, v = SparsityPattern.from_scipy(a), rng.standard_normal(a.shape[0]).astype(dtype)
    tolerance = 200 * np.finfo(dtype).eps
    for transpose in (False, True):
        y = matvec(pattern, jnp.asarray(a.data), jnp.asarray(v), transpose=transpose)
        np.testing.assert_allclose(y, (a.T if transpose else a) @ v, rtol=0, atol=tolerance * 10)
