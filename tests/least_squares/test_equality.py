"""Linear equality constraints by a sparse basis of the null space: many parameters, and covariances of all of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse

import sparsesolve as ss
from sparsesolve.least_squares.objective import _null_space
from sparsesolve.least_squares.objective._null_space import null_space


def local_constraints(p, n, width, seed=0):
    """`p` rows with `width` random entries each, within a window of their own."""
    rng = np.random.default_rng(seed)
    window = n // p
    columns = np.concatenate([k * window + rng.choice(window, width, replace=False) for k in range(p)])
    values = rng.standard_normal(p * width)
    return scipy.sparse.csr_matrix((values, columns, np.arange(0, p * width + 1, width)), (p, n))


def smooth(y, data):
    return {"fit": y + 0.1 * y**3 - data, "slope": 3 * (y[1:] - y[:-1])}


@pytest.mark.parametrize("density", [0.02, 0.1, 1.0])
def test_the_basis_spans_the_null_space_and_is_conditioned_well(density):
    rng = np.random.default_rng(1)
    matrix = scipy.sparse.random(40, 120, density, format="csr", rng=rng)
    matrix = matrix + scipy.sparse.csr_matrix((np.full(40, 1e-3), (np.arange(40), np.arange(40))), (40, 120))
    space, rank = null_space(scipy.sparse.csr_matrix(matrix))
    assert space is not None and rank == 40
    basis = space.basis().toarray()
    assert basis.shape == (120, 80)
    assert np.abs(matrix @ basis).max() < 1e-10
    assert np.abs(basis).max() <= 10.0
    assert np.linalg.svd(basis)[1][-1] > 0.999  # it contains a unit matrix


def test_chains_of_equal_parameters_leave_one_coordinate():
    n = 3000
    chain: Any = scipy.sparse.eye(n - 1, n, format="csr") - scipy.sparse.eye(n - 1, n, k=1, format="csr")
    space, _ = null_space(chain)
    assert space is not None
    np.testing.assert_array_equal(space.basis().toarray(), np.ones((n, 1)))
    sol = ss.least_squares(
        lambda y, data: y - data, None, jnp.zeros(n), jnp.arange(n), equality=(chain, np.zeros(n - 1))
    )
    np.testing.assert_allclose(sol.value, (n - 1) / 2, rtol=1e-9)


def test_a_hundred_thousand_parameters_under_thousands_of_constraints():
    n, p = 100_000, 2_000
    A = local_constraints(p, n, 4)
    rng = np.random.default_rng(2)
    b = 0.1 * rng.standard_normal(p)
    data = jnp.asarray(np.sin(np.linspace(0.0, 50.0, n)) + 0.1 * rng.standard_normal(n))
    sol = ss.least_squares(smooth, None, jnp.zeros(n), data, equality=(A, b))
    np.testing.assert_allclose(A @ np.asarray(sol.value), b, atol=1e-12)
    gradient = jax.grad(lambda y: 0.5 * sum(jnp.sum(r**2) for r in jax.tree.leaves(smooth(y, data))))(sol.value)
    # A multiplier for each constraint takes the gradient away.
    multipliers = scipy.sparse.linalg.spsolve(scipy.sparse.csc_matrix(A @ A.T), A @ np.asarray(gradient))
    assert np.abs(np.asarray(gradient) - A.T @ multipliers).max() < 1e-6 * np.abs(gradient).max()
    assert int(sol.stats["nnz_factor"]) < 20 * n


def dense_covariance(sol, A, data):
    J = np.concatenate(list(map(np.atleast_2d, jax.tree.leaves(jax.jacfwd(smooth)(sol.value, data)))))
    Z = scipy.linalg.null_space(A.toarray())
    freedom = J.shape[0] - Z.shape[1]
    return 2 * float(sol.stats["cost"]) / freedom * Z @ np.linalg.inv(Z.T @ J.T @ J @ Z) @ Z.T


@pytest.mark.parametrize(("n", "p"), [(30, 4), (460, 20)], ids=["dense", "sparse"])
def test_covariances_are_those_of_the_parameters(n, p):
    A = local_constraints(p, n, 3)
    data = jnp.asarray(np.sin(np.linspace(0.0, 9.0, n)) + 0.1 * np.random.default_rng(3).standard_normal(n))
    sol = ss.least_squares(smooth, None, jnp.zeros(n), data, equality=(A, np.zeros(p)))
    C = dense_covariance(sol, A, data)
    errors = ss.standard_errors(sol)
    assert errors.shape == (n,)
    np.testing.assert_allclose(errors, np.sqrt(np.diag(C)), rtol=1e-8)
    some = np.unique(A.indices)[:9]
    np.testing.assert_allclose(ss.covariance(sol, lambda y: y[some]), C[np.ix_(some, some)], atol=1e-10 * C.max())
    pairs = np.stack([np.arange(n - 1), np.arange(1, n)], 1)
    blocks = ss.covariance(sol, lambda y: y[pairs], blocks=True)
    np.testing.assert_allclose(blocks, C[pairs[:, :, None], pairs[:, None]], atol=1e-10 * C.max())


def test_constrained_fits_report_on_their_parameters_and_on_what_is_open():
    data = jnp.array([1.0, 2.0, 4.0, 3.0])

    def line(y, data):
        return y["shares"] - data

    sol = ss.least_squares(line, None, {"shares": jnp.zeros(4)}, data, equality=(np.ones((1, 4)), jnp.array([8.0])))
    text = sol.report()
    assert "4 parameters" in text and "1 degrees of freedom" in text and "shares" in text
    assert "0.5" in text  # each moves from its datum by half
    open_pair = ss.least_squares(
        lambda y, _: jnp.stack([y[0] - 1.0, y[0] - 2.0, y[0]]),
        None,
        jnp.zeros(3),
        equality=(np.ones((1, 3)), np.zeros(1)),
    )
    with pytest.raises(ValueError, match=r"1 direction, in which y\[1\], y\[2\] take part"):
        ss.covariance(open_pair)


def test_dense_rows_over_many_parameters_are_solved_without_their_square():
    n = 20_000
    data = jnp.sin(jnp.linspace(0.0, 9.0, n)) + 1.0
    sol = ss.least_squares(lambda y, data: y - data, None, jnp.zeros(n), data, equality=(np.ones((1, n)), jnp.zeros(1)))
    np.testing.assert_allclose(sol.value, data - jnp.mean(data), atol=1e-9)


def test_constraints_that_fill_in_are_refused_in_a_sentence(monkeypatch):
    monkeypatch.setattr(_null_space, "_MOST", 1000)
    matrix = scipy.sparse.random(40, 200, 0.2, format="csr", rng=np.random.default_rng(4))
    with pytest.raises(ValueError, match="fills in"):
        ss.least_squares(lambda y, _: y, None, jnp.zeros(200), equality=(matrix, np.zeros(40)))
