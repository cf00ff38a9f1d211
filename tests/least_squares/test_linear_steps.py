"""How the linear problem of a step is solved: all methods agree, and the pattern alone decides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.least_squares.linear_step._choose_linear import choose_damped_solver
from sparsesolve.least_squares.linear_step._eliminate import find_elimination
from sparsesolve.least_squares.linear_step._gram import GramPlan, _portable_tables
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern
from sparsesolve.precond._sums import sum_products

rng = np.random.default_rng(0)


def two_view_pattern(cameras=5, points=40):
    """Columns: 2 shared, 3 a camera, 2 a point. Every observation has two rows."""
    rows, cols, row = [], [], 0
    for point in range(points):
        for camera in rng.choice(cameras, 3, replace=False):
            for _ in range(2):
                mine = [*range(2 + 3 * camera, 5 + 3 * camera)]
                mine += [2 + 3 * cameras + 2 * point, 3 + 3 * cameras + 2 * point]
                rows += [row] * 5
                cols += mine
                row += 1
    for k in range(2):  # a prior on what is shared, and its link to a camera
        rows += [row, row, row + 1]
        cols += [k, 2 + k, k]
        row += 2
    return SparsityPattern.from_coo(np.array(rows), np.array(cols), (row, 2 + 3 * cameras + 2 * points))


PATTERN = two_view_pattern()


@pytest.mark.parametrize("method", ["cholesky", "schur"])
def test_methods_agree_with_dense_qr(method):
    m, n = PATTERN.shape
    data, v = jnp.asarray(rng.standard_normal(PATTERN.nnz)), jnp.asarray(rng.standard_normal(m))
    shift, g = jnp.asarray(rng.uniform(0.1, 1.0, n)), jnp.asarray(rng.standard_normal(n))
    dense = choose_damped_solver(PATTERN, "dense")
    other = choose_damped_solver(PATTERN, method)

    @jax.jit
    def both(solver_data):
        out = []
        for solver in (dense, other):
            prepared = solver.prepare(solver_data)
            factors = solver.factor(prepared, shift)
            found = solver.solve(prepared, factors, v), solver.solve_normal(prepared, factors, g)
            out.append((solver.diagonal(prepared), *(s.x for s in found), found[0].good))
        return out

    (d0, x0, z0, _), (d1, x1, z1, good) = both(data)
    assert bool(good)
    np.testing.assert_allclose(d1, d0, rtol=1e-12)
    np.testing.assert_allclose(x1, x0, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(z1, z0, rtol=1e-9, atol=1e-12)


def test_conjugate_gradients_reduce_the_residual_and_solve_for_derivatives():
    m, n = PATTERN.shape
    data, v = jnp.asarray(rng.standard_normal(PATTERN.nnz)), jnp.asarray(rng.standard_normal(m))
    shift = jnp.asarray(rng.uniform(0.1, 1.0, n))
    dense, other = choose_damped_solver(PATTERN, "dense"), choose_damped_solver(PATTERN, "cg")
    exact = dense.solve(dense.prepare(data), dense.factor(dense.prepare(data), shift), v).x
    factors = other.factor(data, shift)
    rough = other.solve(data, factors, v)
    assert bool(rough.good) and 0 < int(rough.iterations) < n
    assert float(jnp.linalg.norm(rough.x - exact) / jnp.linalg.norm(exact)) < 0.1
    fine = other.solve_normal(data, factors, v @ SparseMatrix(data, PATTERN))
    np.testing.assert_allclose(fine.x, exact, rtol=1e-6, atol=1e-9)


def test_points_are_found_and_cameras_are_kept():
    found = find_elimination(PATTERN)
    assert found.groups.shape == (40, 2)
    np.testing.assert_array_equal(found.groups.ravel(), np.arange(17, 97))
    np.testing.assert_array_equal(found.kept, np.arange(17))
    assert choose_damped_solver(PATTERN).name == "Schur complement"


def test_eliminated_groups_share_no_row():
    chain = SparsityPattern.from_coo(
        np.repeat(np.arange(99), 2), np.stack([np.arange(99), np.arange(1, 100)], 1).ravel(), (99, 100)
    )
    found = find_elimination(chain, 0.0)
    columns = np.sort(found.groups.ravel())
    assert columns.size >= 30 and np.diff(columns).min() >= 2
    assert choose_damped_solver(chain).name.startswith("sparse Cholesky")


def test_gram_matrices_of_both_kinds():
    plan = GramPlan(PATTERN)
    data, weights = rng.standard_normal(PATTERN.nnz), rng.standard_normal(PATTERN.shape[0])
    dense = PATTERN.to_scipy().astype(float).toarray()
    dense[PATTERN.rows, PATTERN.indices] = data
    expected = (dense.T @ (weights[:, None] * dense))[plan.pattern.rows, plan.pattern.indices]
    np.testing.assert_allclose(plan.values(jnp.asarray(data), jnp.asarray(weights)), expected, atol=1e-12)
    tables = _portable_tables(PATTERN, plan.pattern)
    portable = sum_products(tables, plan.pattern.nnz, jnp.asarray(weights[PATTERN.rows] * data), jnp.asarray(data))
    np.testing.assert_allclose(portable, expected, atol=1e-12)
    many = jax.vmap(plan.values)(jnp.stack([jnp.asarray(data), 2 * jnp.asarray(data)]))
    np.testing.assert_allclose(many[1], 4 * many[0], rtol=1e-14)


def test_ill_conditioned_steps_are_refined():
    pattern = SparsityPattern.from_dense(np.ones((60, 50)))
    u, _ = np.linalg.qr(rng.standard_normal((60, 50)))
    w, _ = np.linalg.qr(rng.standard_normal((50, 50)))
    matrix = u @ np.diag(np.logspace(0, -6.5, 50)) @ w
    solver = choose_damped_solver(pattern, "cholesky")
    prepared = solver.prepare(jnp.asarray(matrix.ravel()))
    factors = solver.factor(prepared, jnp.full(50, 1e-16))
    x = 1e3 * w[-1]  # large, with a tiny right-hand side
    solved = solver.solve(prepared, factors, jnp.asarray(matrix @ x))
    assert int(solved.iterations) >= 1
    exact = choose_damped_solver(pattern, "dense")
    orthogonal = exact.prepare(jnp.asarray(matrix.ravel()))
    wanted = exact.solve(orthogonal, exact.factor(orthogonal, jnp.full(50, 1e-16)), jnp.asarray(matrix @ x)).x
    np.testing.assert_allclose(solved.x, wanted, rtol=1e-6, atol=1e-3)


def test_unknown_methods_are_named():
    with pytest.raises(ValueError, match="'schur'"):
        choose_damped_solver(PATTERN, "magic")
