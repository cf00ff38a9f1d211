"""Pinned plans, explanations, and the cache of prepared Jacobians."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from sparsesolve.linear import AutoSparse, SparseLU, caches, clear_caches
from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
from sparsesolve.pattern import SparsityPattern, detect_sparsity
from tests.linear.problems import GRID, grid_residual


def _operator():
    return lx.JacobianLinearOperator(grid_residual, GRID, jnp.asarray(2.0))


def test_a_pinned_plan_is_used():
    solver = AutoSparse().prepare(detect_sparsity(grid_residual, GRID, 2.0))
    state = solver.init(_operator(), {})
    assert state.plan is solver.plan
    x = lx.linear_solve(_operator(), jnp.ones(GRID.shape), solver).value
    np.testing.assert_allclose(_operator().mv(x), 1.0, rtol=1e-12)


@pytest.mark.parametrize("jit", [False, True])
def test_a_pinned_pattern_that_misses_an_entry_is_refused_by_the_result(jit):
    pattern = detect_sparsity(grid_residual, GRID, 2.0)
    keep = ~((pattern.rows == 5) & (pattern.indices == 8))
    short = SparsityPattern.from_coo(pattern.rows[keep], pattern.indices[keep], pattern.shape)
    solver = SparseLU().prepare(short)

    def result(b):
        return lx.linear_solve(_operator(), b, solver, throw=False).result

    found = (jax.jit(result) if jit else result)(jnp.ones(GRID.shape))
    assert bool(found == lx.RESULTS.singular)


def test_a_pinned_pattern_refuses_a_larger_sparse_matrix():
    solver = AutoSparse().prepare(SparsityPattern.from_dense(np.eye(3)))
    operator = SparseLinearOperator(SparseMatrix.from_dense(np.eye(3) + np.eye(3, k=1)))
    with pytest.raises(ValueError, match="lacks 2 entries"):
        lx.linear_solve(operator, jnp.ones(3), solver)


def test_sample_values_decide_the_pivots():
    # A saddle point whose stored diagonal vanishes in the second block.
    rng = np.random.default_rng(0)
    b = rng.standard_normal((30, 70)) * (rng.random((30, 70)) < 0.1) + np.eye(30, 70)
    dense = np.block([[1e-3 * np.eye(70), b.T], [b, np.zeros((30, 30))]])
    pattern = SparsityPattern.from_dense(dense).with_diagonal()
    matrix = SparseMatrix.from_dense(jnp.asarray(dense), pattern)
    solver = SparseLU().prepare(pattern, sample=matrix.data)
    x = lx.linear_solve(SparseLinearOperator(matrix), jnp.ones(100), solver).value
    np.testing.assert_allclose(dense @ np.asarray(x), 1.0, rtol=1e-9)


def test_explain_prints_the_choice(capsys):
    AutoSparse().explain(detect_sparsity(grid_residual, GRID, 2.0))
    printed = capsys.readouterr().out
    assert "12" in printed and "dense" in printed.lower()


def test_retracing_does_not_detect_again():
    clear_caches()
    table = caches()["jacobians"]
    for _ in range(3):

        @jax.jit
        def solve(b):
            def again(u, a):  # a new function object in every pass
                return grid_residual(u, a)

            return lx.linear_solve(lx.JacobianLinearOperator(again, GRID, jnp.asarray(2.0)), b, AutoSparse()).value

        solve(jnp.ones(GRID.shape))
    assert (table.misses, len(table)) == (1, 1)
    assert table.hits == 2
    clear_caches()
    assert len(table) == 0


def test_lost_indices_are_told_and_a_pinned_pattern_helps():
    heads = np.arange(1, 40)

    def chain(u, args):
        flux = (u[args] - u[args - 1]) ** 3
        return u + jnp.zeros_like(u).at[args].add(flux).at[args - 1].add(-flux)

    u = jnp.linspace(0.0, 1.0, 40)
    operator = lx.JacobianLinearOperator(chain, u, jnp.asarray(heads))
    with pytest.warns(UserWarning, match=r"dense pattern.*prepare\(detect_sparsity"):
        dense = lx.linear_solve(operator, jnp.ones(40), AutoSparse())
    solver = AutoSparse().prepare(detect_sparsity(lambda u: chain(u, heads), u))
    sparse = lx.linear_solve(operator, jnp.ones(40), solver)
    assert sparse.stats["nnz"] == 118 < dense.stats["nnz"] == 1600
    np.testing.assert_allclose(sparse.value, dense.value, rtol=1e-12)
