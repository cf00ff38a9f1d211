"""Arithmetic, conversions, transformations and messages of `SparseMatrix`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern

DENSE = np.array([[4.0, -1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [7.0, 0.0, 5.0, 0.5]])


@pytest.fixture
def A() -> SparseMatrix:
    return SparseMatrix.from_dense(DENSE)


@pytest.fixture
def square() -> SparseMatrix:
    return SparseMatrix.from_dense(DENSE[:, :3])  # entry (1, 1) is not stored


def test_conversions(A):
    assert A.shape == (3, 4) and A.nnz == 6 and A.ndim == 2 and A.dtype == np.float64
    np.testing.assert_array_equal(A.todense(), DENSE)
    np.testing.assert_array_equal(A.to_scipy().toarray(), DENSE)
    np.testing.assert_array_equal(A.to_bcoo().todense(), DENSE)
    np.testing.assert_array_equal(SparseMatrix.from_bcoo(A.to_bcoo()).todense(), DENSE)
    np.testing.assert_array_equal(SparseMatrix.from_scipy(scipy.sparse.coo_array(DENSE)).todense(), DENSE)
    assert SparseMatrix.from_bcoo(A.to_bcoo()).pattern == A.pattern


def test_from_bcoo_sums_duplicates_and_drops_padding():
    from jax.experimental.sparse import BCOO, BCSR

    indices = np.array([[1, 0], [0, 1], [1, 0], [2, 2]])  # the last one is padding: past the end
    matrix = BCOO((jnp.array([1.0, 2.0, 3.0, 9.0]), jnp.asarray(indices)), shape=(2, 2))
    np.testing.assert_array_equal(SparseMatrix.from_bcoo(matrix).todense(), [[0, 2], [4, 0]])
    compressed = BCSR.fromdense(jnp.asarray(DENSE))
    np.testing.assert_array_equal(SparseMatrix.from_bcoo(compressed).todense(), DENSE)


def test_from_dense_with_pattern_under_jit(A):
    values = jax.jit(lambda dense: SparseMatrix.from_dense(dense, A.pattern).data)(DENSE * 2)
    np.testing.assert_array_equal(values, 2 * A.data)


def test_integer_matrices_become_floating():
    assert SparseMatrix.from_scipy(scipy.sparse.eye_array(3, dtype=int)).dtype == np.float64
    assert SparseMatrix.from_dense(np.eye(3, dtype=bool)).dtype == np.float64


def test_sums_on_the_union(A):
    other = np.array([[0.0, 1.0, 0.0, 3.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    B = SparseMatrix.from_dense(other)
    np.testing.assert_array_equal((A + B).todense(), DENSE + other)
    np.testing.assert_array_equal((A - B).todense(), DENSE - other)
    np.testing.assert_array_equal((B - A).todense(), other - DENSE)
    assert (A + B).nnz == 7
    assert (A + A).pattern is A.pattern
    inside = SparseMatrix.from_dense(np.diag([1.0, 0.0, 1.0])[:, [0, 1, 2, 2]] * (DENSE != 0))
    assert (A + inside).pattern is A.pattern
    assert (inside + A).pattern is A.pattern


def test_scalars_and_scaling(A):
    np.testing.assert_allclose((2 * A).todense(), 2 * DENSE)
    np.testing.assert_allclose((A * jnp.asarray(2.0)).todense(), 2 * DENSE)
    np.testing.assert_allclose((A / 4).todense(), DENSE / 4)
    np.testing.assert_allclose((-A).todense(), -DENSE)
    rows, columns = np.arange(1.0, 4.0), np.arange(1.0, 5.0)
    np.testing.assert_allclose(A.scale_rows(rows).todense(), rows[:, None] * DENSE)
    np.testing.assert_allclose(A.scale_columns(columns).todense(), DENSE * columns[None, :])
    assert A.astype(np.float32).dtype == np.float32


def test_shift(square):
    shifted = square.shifted(3.0)
    np.testing.assert_allclose(shifted.todense(), DENSE[:, :3] + 3 * np.eye(3))
    assert shifted.shifted(-3.0).pattern is shifted.pattern
    np.testing.assert_allclose(square.shifted(np.arange(3.0)).todense(), DENSE[:, :3] + np.diag(np.arange(3.0)))
    np.testing.assert_allclose(square.add_identity().todense(), DENSE[:, :3] + np.eye(3))
    assert square.shifted(1j).dtype == np.complex128
    assert square.astype(np.float32).shifted(2.0).dtype == np.float32


def test_diagonals(A):
    for offset in range(-3, 5):
        np.testing.assert_array_equal(A.diagonal(offset), np.diagonal(DENSE, offset) if -3 < offset < 4 else [])


def test_on_pattern(A):
    full = SparsityPattern.from_dense(np.ones((3, 4)))
    wide = A.on_pattern(full)
    assert wide.pattern is full
    np.testing.assert_array_equal(wide.todense(), DENSE)
    with pytest.raises(ValueError, match="lacks 5 entries"):
        A.on_pattern(SparsityPattern.from_coo([0], [0], (3, 4)))


def test_pytree(A):
    leaves, structure = jax.tree.flatten(A)
    assert len(leaves) == 1 and jax.tree.unflatten(structure, leaves).pattern is A.pattern
    assert jax.tree.structure(SparseMatrix.from_dense(DENSE)) == structure
    doubled = jax.jit(lambda B: 2 * B)(A)
    np.testing.assert_allclose(doubled.todense(), 2 * DENSE)
    batch = jax.vmap(lambda s: s * A)(jnp.arange(3.0))
    assert batch.data.shape == (3, 6) and "batch (3,)" in repr(batch)
    np.testing.assert_allclose(jax.vmap(lambda B: B @ jnp.ones(4))(batch), np.arange(3.0)[:, None] * DENSE.sum(axis=1))
    gradient = jax.grad(lambda B: jnp.sum((B @ jnp.ones(4)) ** 2))(A)
    np.testing.assert_allclose(gradient.todense(), 2 * DENSE.sum(axis=1)[:, None] * (DENSE != 0))
    _, tangent = jax.jvp(lambda B: B.T.shifted(1.0) + B.T, (A,), (A,))
    np.testing.assert_allclose(tangent.todense(), 2 * DENSE.T)


def test_numpy_on_the_left(A):
    assert isinstance(np.ones(3) @ A, jax.Array)
    assert isinstance(np.float64(2.0) * A, SparseMatrix)


def test_repr(A):
    first, *picture = repr(A).splitlines()
    assert first == "SparseMatrix(3 x 4, nnz=6, density=0.5, float64, 3 colors)"
    assert picture and all("⠀" <= character <= "⣿" for line in picture for character in line)


def test_messages(A, square):
    with pytest.raises(TypeError, match=r"values of dtype int64; .* Write data\.astype"):
        SparseMatrix(jnp.arange(6), A.pattern)
    with pytest.raises(ValueError, match=r"shape \(5,\) for a pattern with 6 entries"):
        SparseMatrix(jnp.ones(5), A.pattern)
    with pytest.raises(TypeError, match="write SparseMatrix"):
        SparseMatrix(jnp.ones(6), scipy.sparse.csr_matrix(DENSE))
    with pytest.raises(ValueError, match=r"A of shape \(3, 4\) needs an operand of shape \(4,\) or \(4, k\)"):
        A @ jnp.ones(3)
    with pytest.raises(ValueError, match=r"v @ A .* needs an operand of shape \(3,\) or \(k, 3\), got \(2, 4\)"):
        jnp.ones((2, 4)) @ A
    with pytest.raises(ValueError, match=r"use jax\.vmap"):
        A @ jnp.ones((2, 4, 3))
    with pytest.raises(TypeError, match=r"write A.shifted"):
        A + 1.0
    with pytest.raises(TypeError, match=r"Write A @ v for a product"):
        A * jnp.ones(4)
    with pytest.raises(TypeError, match=r"got a SparseMatrix"):
        A * A
    with pytest.raises(ValueError, match=r"shapes \(3, 4\) and \(3, 3\)"):
        A + square
    with pytest.raises(ValueError, match=r"one factor for each row, shape \(3,\); got shape \(4,\)"):
        A.scale_rows(jnp.ones(4))
    with pytest.raises(ValueError, match=r"vector of shape \(3,\), got shape \(2,\)"):
        A.shifted(jnp.ones(2))
    with pytest.raises(TypeError, match="traced array"):
        jax.jit(SparseMatrix.from_dense)(DENSE)
    with pytest.raises(TypeError, match="BCOO or BCSR"):
        SparseMatrix.from_bcoo(DENSE)
    with pytest.raises(TypeError, match="unsupported operand"):
        A @ A
