"""Products in every layout against SciPy, under transformations, in several dtypes."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from sparsesolve.matrix import SparseMatrix, matvec, product_plan
from sparsesolve.pattern import SparsityPattern


def random_matrix(shape: tuple[int, int], density: float, seed: int = 0, dtype=np.float64) -> scipy.sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < density
    values = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else 0)
    return scipy.sparse.csr_matrix((values * mask).astype(dtype))


def five_point(rows: int, cols: int) -> scipy.sparse.csr_matrix:
    def line(size):
        return scipy.sparse.diags_array([np.ones(size - 1), np.ones(size), np.ones(size - 1)], offsets=[-1, 0, 1])

    matrix = scipy.sparse.kronsum(line(cols), line(rows)).tocsr()
    matrix.data = np.random.default_rng(1).standard_normal(matrix.nnz)
    return matrix


def irregular(lengths: list[int], n: int) -> scipy.sparse.csr_matrix:
    """Rows of given lengths."""
    rng = np.random.default_rng(2)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    cols = np.concatenate([rng.permutation(n)[:length] for length in lengths])
    return scipy.sparse.csr_matrix((rng.standard_normal(rows.size), (rows, cols)), shape=(len(lengths), n))


MATRICES = {
    "stencil": (five_point(6, 7), "DIA"),
    "tridiagonal": (scipy.sparse.csr_matrix(np.tri(9, k=1) * np.tri(9, k=1).T * 1.5), "DIA"),
    "full": (random_matrix((5, 7), 1.1), "DIA"),
    "rectangular diagonals": (scipy.sparse.csr_matrix(np.eye(9, 5, k=-2) * 2.0 + np.eye(9, 5) * 3.0), "DIA"),
    "even rows": (
        scipy.sparse.csr_matrix(
            (np.arange(1.0, 41.0), (np.repeat(np.arange(20), 2), np.arange(40) * 7 % 12)), shape=(20, 12)
        ),
        "ELL",
    ),
    "irregular": (irregular([2, 0, 17, 1, 2, 1, 20, 2], 25), "CSR"),
    "no entries": (scipy.sparse.csr_matrix((4, 3)), "CSR"),
    "no rows": (scipy.sparse.csr_matrix((0, 3)), "CSR"),
    "no columns": (scipy.sparse.csr_matrix((3, 0)), "CSR"),
}


@pytest.mark.parametrize("name", MATRICES)
def test_layout_and_products(name):
    reference, layout = MATRICES[name]
    A = SparseMatrix.from_scipy(reference)
    assert product_plan(A.pattern).layout.name == layout
    m, n = reference.shape
    rng = np.random.default_rng(3)
    v, V, u, U = rng.random(n), rng.random((n, 3)), rng.random(m), rng.random((2, m))
    np.testing.assert_allclose(A @ v, reference @ v, atol=1e-13)
    np.testing.assert_allclose(A @ V, reference @ V, atol=1e-13)
    np.testing.assert_allclose(u @ A, reference.T @ u, atol=1e-13)
    np.testing.assert_allclose(U @ A, U @ reference.toarray(), atol=1e-13)
    np.testing.assert_allclose(A.T @ u, reference.T @ u, atol=1e-13)


@pytest.mark.parametrize("name", ["stencil", "even rows", "irregular"])
@pytest.mark.parametrize("transpose", [False, True])
def test_transformations(name, transpose):
    A = SparseMatrix.from_scipy(MATRICES[name][0])
    dense = A.todense().T if transpose else A.todense()
    size, out = dense.shape[1], dense.shape[0]
    rng = np.random.default_rng(4)
    v, w, V = rng.random(size), rng.random(out), rng.random((3, size))
    D = rng.random((3, A.nnz))

    def product(data, v):
        return matvec(A.pattern, data, v, transpose=transpose)

    def exact(data, v):
        matrix = SparseMatrix(data, A.pattern).todense()
        return (matrix.T if transpose else matrix) @ v

    def everything(product):
        batched = [
            jax.vmap(product, axes)(*values)
            for axes, values in [((None, 0), (A.data, V)), ((0, 0), (D, V)), ((0, None), (D, v))]
        ]
        tangent = jax.jvp(product, (A.data, v), (D[0], V[0]))[1]
        return batched, tangent, jax.vjp(product, A.data, v)[1](w)

    ours, theirs = jax.jit(lambda: everything(product))(), everything(exact)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), ours, theirs)


@pytest.mark.parametrize("name", ["stencil", "even rows", "irregular"])
def test_arranged_once_for_many_products(name):
    A = SparseMatrix.from_scipy(MATRICES[name][0])
    plan = product_plan(A.pattern)
    assert product_plan(SparseMatrix.from_scipy(MATRICES[name][0]).pattern) is plan
    arranged = plan.arrange(A.data)
    v = jnp.linspace(0.0, 1.0, A.shape[1])
    np.testing.assert_allclose(plan.multiply(arranged, v), A @ v)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("name", ["stencil", "even rows", "irregular"])
def test_dtypes(name, dtype):
    reference = MATRICES[name][0].astype(dtype)
    if np.dtype(dtype).kind == "c":
        reference = reference * dtype(1 + 2j)
    A = SparseMatrix.from_scipy(reference)
    v = np.random.default_rng(5).random(A.shape[1]).astype(dtype)
    assert A.dtype == dtype
    assert (A @ v).dtype == dtype
    np.testing.assert_allclose(
        A @ v, reference @ v, rtol=1e-4 if A.dtype.itemsize <= 8 and dtype != np.float64 else 1e-12
    )
    np.testing.assert_allclose(A.H.todense(), reference.toarray().conj().T)


def test_no_dense_or_bcoo_operation_in_a_product():
    A = SparseMatrix.from_scipy(five_point(30, 40))
    jaxpr = str(jax.make_jaxpr(lambda data, v: SparseMatrix(data, A.pattern) @ v)(A.data, jnp.ones(1200)))
    assert "bcoo" not in jaxpr and "dot_general" not in jaxpr and "1200,1200" not in jaxpr


def test_index_tables_of_a_stencil_are_small():
    A = SparseMatrix.from_scipy(five_point(50, 60))
    tables = product_plan(A.pattern).tables
    assert sum(table.nbytes for table in tables) < 6 * A.shape[0]


@hypothesis.settings(deadline=None, max_examples=10, derandomize=True)
@hypothesis.given(st.integers(1, 12), st.integers(1, 12), st.floats(0.0, 1.0), st.integers(0, 99))
def test_random_matrices(m, n, density, seed):
    reference = random_matrix((m, n), density, seed)
    pattern = SparsityPattern.from_scipy(reference)
    v, u = np.linspace(-1.0, 1.0, n), np.linspace(1.0, 2.0, m)
    np.testing.assert_allclose(matvec(pattern, jnp.asarray(reference.data), v), reference @ v, atol=1e-12)
    backward = matvec(pattern, jnp.asarray(reference.data), u, transpose=True)
    np.testing.assert_allclose(backward, reference.T @ u, atol=1e-12)
