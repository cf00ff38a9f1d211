"""Selected inverses against dense ones, by compiled kernels and portably, in batches, and on every tree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

from sparsesolve import _native
from sparsesolve.direct import plan_direct
from sparsesolve.direct._cholesky_plan import CholeskyPlan
from sparsesolve.direct._native_cholesky import NativeCholeskyPlan
from sparsesolve.direct._selected import SelectedInverse, selected_inverse
from sparsesolve.pattern import SparsityPattern

KINDS = [
    CholeskyPlan,
    pytest.param(NativeCholeskyPlan, marks=pytest.mark.skipif(not _native.available(), reason=_native.status())),
]


def grid(size, block, dtype=np.float64):
    """`A^T A + I / 2` of random values on a grid with a few unknowns a node, and a part that nothing ties to it."""
    line = sp.diags([1.0, 1.0, 1.0], [-1, 0, 1], (size, size))
    A = sp.csr_matrix(sp.kron(sp.kron(line, sp.eye(size)) + sp.kron(sp.eye(size), line), np.ones((block, block))))
    A = sp.block_diag([A, sp.eye(3)], format="csr")
    A.data = np.random.default_rng(size).standard_normal(A.nnz)
    A = sp.csr_matrix((A.T @ A + 0.5 * sp.eye(A.shape[0])).astype(dtype))
    A.sort_indices()
    return A, SparsityPattern.from_scipy(A)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "block"), [(1, 1), (3, 2), (9, 3)])
def test_entries_are_those_of_the_inverse(kind, size, block):
    A, pattern = grid(size, block)
    selected = SelectedInverse(kind(pattern, "positive", np.zeros(0, np.int64)))
    whole = np.linalg.inv(A.toarray())
    rows, columns = np.indices(A.shape).reshape(2, -1)
    places = selected.positions(rows, columns)
    known = places >= 0
    assert known[rows == columns].all() and (selected.positions(pattern.rows, pattern.indices) >= 0).all()
    assert size < 9 or known.mean() < 0.6
    factors = selected.plan.factor(jnp.asarray(A.data))
    found = selected.entries(factors, rows[known], columns[known])
    np.testing.assert_allclose(found, whole[rows[known], columns[known]], atol=1e-13 * np.abs(whole).max(), rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_and_single_precision(kind):
    A, pattern = grid(4, 2, np.float32)
    selected = SelectedInverse(kind(pattern, "positive", np.zeros(0, np.int64)))
    rows = np.arange(A.shape[0])

    def variances(data):
        return selected.entries(selected.plan.factor(data), rows, rows)

    data = jnp.asarray(A.data)
    both = jax.jit(jax.vmap(variances))(jnp.stack([data, 4 * data]))
    assert both.dtype == np.float32
    expected = np.diag(np.linalg.inv(A.toarray().astype(float)))
    np.testing.assert_allclose(both[0], expected, rtol=1e-4)
    np.testing.assert_allclose(4 * both[1], both[0], rtol=1e-5)


def test_plans_without_fronts_get_one_with():
    n = 60
    A = sp.csr_matrix(sp.diags([-1.0, 2.5, -1.0], [-1, 0, 1], (n, n)))
    A.sort_indices()
    pattern = SparsityPattern.from_scipy(A)
    plan = plan_direct(pattern, method="tridiagonal", symmetry="positive")
    selected = selected_inverse(plan)
    assert plan.kind == "tridiagonal" and selected.plan.kind == "cholesky" and selected is selected_inverse(plan)
    found = selected.entries(selected.plan.factor(jnp.asarray(A.data)), np.arange(n), np.arange(n))
    np.testing.assert_allclose(found, np.diag(np.linalg.inv(A.toarray())), rtol=1e-12)


def test_selected_inverses_lower_for_gpus():
    A, pattern = grid(3, 2)
    selected = SelectedInverse(CholeskyPlan(pattern, "positive", np.zeros(0, np.int64)))
    rows = np.arange(A.shape[0])
    function = jax.jit(lambda data: selected.entries(selected.plan.factor(data), rows, rows))
    text = function.trace(jnp.asarray(A.data)).lower(lowering_platforms=("cuda",)).as_text()
    assert "sparsesolve_" not in text and "callback" not in text
