"""What a hierarchy is made of: strength, aggregates, sums over maps, Galerkin products, Chebyshev sweeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import sparsesolve as ss
from sparsesolve import _native
from sparsesolve.precond._aggregation import aggregate, distant_founders, greedy
from sparsesolve.precond._chebyshev import Interval, largest_ritz_value, smooth, start_vector
from sparsesolve.precond._dense_inverse import dense_inverse
from sparsesolve.precond._galerkin import coarse_pattern, galerkin, native_galerkin, plan_galerkin
from sparsesolve.precond._strength import STRONG, classify_entries
from sparsesolve.precond._sums import bucket_widths, plan_sums, sum_products, sums_product
from tests.precond.problems import grid_laplacian, mesh_laplacian, shifted


def graph(matrix):
    """CSR arrays without the diagonal."""
    off = sp.csr_matrix(matrix - sp.diags_array(matrix.diagonal()))
    off.eliminate_zeros()
    return off.indptr.astype(np.int32), off.indices.astype(np.int32)


@pytest.mark.parametrize("algorithm", [aggregate, greedy, distant_founders])
def test_aggregates_are_connected_and_cover_all_linked_nodes(algorithm):
    matrix = sp.block_diag([mesh_laplacian(25), sp.eye_array(3)], format="csr")
    labels, count = algorithm(*graph(matrix))
    assert (labels[-3:] == -1).all() and labels[:-3].min() == 0 and labels.max() == count - 1
    assert 3 <= labels[:-3].size / count <= 15
    for aggregate_ in range(count):
        members = np.flatnonzero(labels == aggregate_)
        assert sp.csgraph.connected_components(matrix[members][:, members])[0] == 1


def test_the_greedy_algorithm_tiles_a_grid():
    labels, count = greedy(*graph(grid_laplacian(3, 3)))
    # Node 0 takes 1 and 3; node 5 takes 2, 4 and 8; the rest joins or is left over.
    assert labels.tolist() == [0, 0, 1, 0, 1, 1, 0, 2, 1] or count <= 3
    assert labels[0] == labels[1] == labels[3]


@pytest.mark.skipif(not _native.available(), reason=_native.status())
def test_compiled_aggregation_is_the_greedy_algorithm_and_checks_its_graph():
    for matrix in (mesh_laplacian(40), grid_laplacian(9, 8, 7), sp.csr_matrix((4, 4))):
        indptr, indices = graph(matrix)
        labels, count = _native.aggregate_greedily(indptr, indices)
        expected, number = greedy(indptr, indices)
        assert count == number
        np.testing.assert_array_equal(labels, expected)
    with pytest.raises(ValueError, match="outside"):
        _native.aggregate_greedily(np.array([0, 1]), np.array([7]))
    with pytest.raises(ValueError, match="do not fit"):
        _native.aggregate_greedily(np.array([0, 2]), np.array([0]))


@pytest.mark.skipif(not _native.available(), reason=_native.status())
def test_compiled_kernels_refuse_tables_that_do_not_fit():
    indptr, indices, x = np.array([0, 1, 2], np.int32), np.array([0, 5], np.int32), jnp.ones(2)
    for starts, message in ((indptr, "column outside"), (np.array([0, 3, 2], np.int32), "does not increase")):
        with pytest.raises(jax.errors.JaxRuntimeError, match=message):
            jax.block_until_ready(_native.csr_product(starts, indices, x, x, 2, transpose=False))
    with pytest.raises(jax.errors.JaxRuntimeError, match="wrong length"):
        fine = np.array([0, 1], np.int32)
        jax.block_until_ready(_native.csr_product(indptr, fine, x, x, 3, transpose=False))
    eye = (indptr, np.array([0, 1], np.int32))
    with pytest.raises(jax.errors.JaxRuntimeError, match="lacks an entry"):
        other = (np.array([0, 1, 1], np.int32), np.array([1], np.int32))
        jax.block_until_ready(_native.galerkin_product((*eye, *eye, *other), x, x, x, 1))


def test_strength_is_symmetric_and_blind_to_the_diagonal():
    laplacian = sp.csr_matrix(sp.kronsum(0.01 * grid_laplacian(8), grid_laplacian(9)))
    pattern = ss.SparsityPattern.from_scipy(laplacian)
    no_fields = np.zeros(72, np.int32)
    kinds = [classify_entries(pattern, shifted(laplacian, c).data.__array__(), no_fields, 0.25) for c in (1.0, 1e4)]
    np.testing.assert_array_equal(*kinds)
    np.testing.assert_array_equal(kinds[0], kinds[0][pattern.transpose_order])
    distance = np.abs(pattern.rows - pattern.indices)[kinds[0] == STRONG]
    assert set(distance) == set(np.abs(pattern.rows - pattern.indices)[np.abs(laplacian.data) == 1.0])


def test_bucket_widths_pad_least():
    counts = np.array([1] * 10 + [2] * 10 + [9] * 5 + [10] * 5 + [40])
    assert bucket_widths(counts).tolist() == [1, 2, 10, 40]
    assert bucket_widths(counts, 2).tolist() == [10, 40] or bucket_widths(counts, 2).tolist() == [2, 40]
    assert bucket_widths(np.zeros(3, int)).tolist() == [1]


def test_sums_of_products_over_a_map():
    rng = np.random.default_rng(0)
    target, left, right = rng.integers(0, 50, 300), rng.integers(0, 20, 300), rng.integers(0, 30, 300)
    x, y = rng.standard_normal(20), rng.standard_normal(30)
    tables = plan_sums(target, 51, left, right, holes=20)
    expected = np.bincount(target, x[left] * y[right], 51)
    np.testing.assert_allclose(sum_products(tables, 51, jnp.asarray(x), jnp.asarray(y)), expected, atol=1e-14)
    nothing = plan_sums(np.zeros(0, int), 4, np.zeros(0, int), holes=20)
    assert sum_products(nothing, 4, jnp.asarray(x)).tolist() == [0.0] * 4


@pytest.mark.parametrize("transpose", [False, True])
def test_products_as_sums(transpose):
    matrix = sp.random_array((40, 30), density=0.1, rng=1, format="csr")
    A = ss.SparseMatrix.from_scipy(matrix)
    v = np.arange(40.0 if transpose else 30.0)
    expected = (matrix.T if transpose else matrix) @ v
    layout, tables = sums_product(A.pattern, transpose=transpose)
    result = layout.multiply(tables, layout.arrange(tables, A.data), jnp.asarray(v))
    np.testing.assert_allclose(result, expected, atol=1e-12)


@pytest.mark.parametrize("compiled", [False, True])
def test_galerkin_products_from_values_alone(compiled):
    if compiled and not _native.available():
        pytest.skip(_native.status())
    rng = np.random.default_rng(0)
    A = ss.SparseMatrix.from_scipy(mesh_laplacian(15))
    P = ss.SparseMatrix.from_scipy(sp.random_array((169, 30), density=0.08, rng=rng, format="csr"))
    coarse = coarse_pattern(A.pattern, P.pattern)
    sizes, tables = plan_galerkin(A.pattern, P.pattern, coarse)
    if compiled:
        sizes, tables = native_galerkin(A.pattern, P.pattern, coarse)
    for seed in (1, 2):
        a, p, rt = (np.random.default_rng(seed + k).standard_normal(m) for k, m in ((0, A.nnz), (5, P.nnz), (9, P.nnz)))
        values = jax.jit(galerkin, static_argnums=0)(sizes, tables, a, p, rt)
        left, middle, right = (
            sp.csr_matrix((x, s.pattern.indices, s.pattern.indptr), s.shape) for x, s in ((rt, P), (a, A), (p, P))
        )
        expected = (left.T @ middle @ right).toarray()
        found = sp.csr_matrix((np.asarray(values), coarse.indices, coarse.indptr), coarse.shape)
        np.testing.assert_allclose(found.toarray(), expected, atol=1e-12)


def test_chebyshev_sweeps_are_chebyshev_polynomials():
    # On a diagonal matrix the error is multiplied by T_k((c - t) / h) / T_k(c / h).
    t = np.linspace(0.2, 2.0, 50)
    lower, upper, degree = 0.5, 2.0, 3
    interval = Interval(jnp.asarray(lower), jnp.asarray(upper))
    x = smooth(lambda v: jnp.asarray(t) * v, jnp.ones(50), interval, degree, jnp.asarray(t), jnp.zeros(50))
    chebyshev = np.polynomial.chebyshev.Chebyshev.basis(degree)
    expected = chebyshev((1.25 - t) / 0.75) / chebyshev(1.25 / 0.75)
    np.testing.assert_allclose(1 - x, expected, atol=1e-13)
    without = smooth(lambda v: jnp.asarray(t) * v, jnp.ones(50), interval, degree, jnp.asarray(t))
    np.testing.assert_allclose(without, x, atol=1e-14)


def test_lanczos_finds_the_largest_eigenvalue():
    A = shifted(grid_laplacian(30, 30), 5.0)
    scale = 1 / jnp.sqrt(A.diagonal())
    exact = np.linalg.eigvalsh(A.to_scipy().toarray() * np.outer(scale, scale))[-1]
    assert 0.95 * exact < float(jax.jit(lambda s: largest_ritz_value(lambda v: A @ v, s))(scale)) < 1.03 * exact
    assert abs(float(start_vector(10_000, jnp.float32).mean())) < 0.01


def test_dense_inverse_of_regular_and_singular_matrices():
    A = np.random.default_rng(0).standard_normal((12, 12))
    inverse = jax.jit(dense_inverse)
    np.testing.assert_allclose(inverse(jnp.asarray(A)), np.linalg.inv(A), rtol=1e-9)
    assert np.isfinite(np.asarray(inverse(jnp.zeros((12, 12))))).all()
    assert jax.eval_shape(dense_inverse, jnp.zeros((0, 0))).shape == (0, 0)


def test_chebyshev_as_a_preconditioner_saves_steps_and_transposes():
    from tests.precond.problems import cg_steps

    A = shifted(grid_laplacian(40, 40), 100.0)
    assert cg_steps(A, ss.Chebyshev(6)(A), jit=True) < 0.35 * cg_steps(A, ss.Chebyshev(1)(A), jit=True)
    B = ss.SparseMatrix.from_dense(np.eye(6) * 4 + np.triu(np.ones((6, 6)), 1))
    operator = ss.Chebyshev()(B)
    np.testing.assert_allclose(operator.T.as_matrix(), operator.as_matrix().T, atol=1e-14)
    for arguments in ({"degree": 0}, {"spread": 1.0}):
        with pytest.raises(ValueError, match="Chebyshev got"):
            ss.Chebyshev(**arguments)
    with pytest.raises(ValueError, match="square"):
        ss.Chebyshev()(ss.SparseMatrix.from_dense(np.ones((2, 3))))
