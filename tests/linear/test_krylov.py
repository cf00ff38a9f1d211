"""Krylov solvers on lineax operators: any operator and pytree, results, statistics, and all ways to precondition."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

import sparsesolve as ss
from tests.linear.problems import GRID, PAIR, grid_residual, operators, pair_residual

B = jnp.asarray(np.random.default_rng(2).standard_normal(GRID.shape))
JACOBIAN = lx.JacobianLinearOperator(grid_residual, GRID, jnp.asarray(2.0))
SOME = ["sparse", "matrix", "jacobian of a pytree", "transposed", "function", "tridiagonal", "multiple"]


def residual_of(operator, x, b):
    pairs = zip(jax.tree.leaves(operator.mv(x)), jax.tree.leaves(b), strict=True)
    return max(float(jnp.max(jnp.abs(p - q))) for p, q in pairs)


@pytest.mark.parametrize("name", SOME)
def test_any_operator_and_pytree(name):
    operator = operators()[name]
    rng = np.random.default_rng(0)
    b = jax.tree.map(lambda s: jnp.asarray(rng.standard_normal(s.shape)), operator.out_structure())
    solver = ss.IDR(preconditioner=ss.Jacobi()) if name == "function" else ss.GMRES(preconditioner=ss.Jacobi())
    solution = lx.linear_solve(operator, b, solver)
    assert jax.tree.structure(solution.value) == jax.tree.structure(operator.in_structure())
    assert residual_of(operator, solution.value, b) < 1e-9
    assert 0 < int(solution.stats["num_steps"]) < 20 and float(solution.stats["relative_residual"]) < 4e-11


def test_all_ways_to_precondition_agree():
    diagonal = ss.SparseMatrix.from_dense(JACOBIAN.as_matrix()).diagonal().reshape(GRID.shape)
    as_operator = lx.FunctionLinearOperator(lambda v: v / diagonal, jax.eval_shape(lambda: GRID))
    flat = lx.DiagonalLinearOperator(1 / diagonal.ravel())
    ways = [
        (ss.GMRES(preconditioner=ss.Jacobi()), {}),
        (ss.GMRES(preconditioner=lambda v: v / diagonal), {}),
        (ss.GMRES(preconditioner=flat), {}),
        (ss.GMRES(), {"preconditioner": as_operator}),
        (ss.GMRES(preconditioner=ss.Jacobi()), {"preconditioner": flat}),
    ]
    solutions = [lx.linear_solve(JACOBIAN, B, solver, options=options) for solver, options in ways]
    steps = [int(s.stats["num_steps"]) for s in solutions]
    assert len(set(steps)) == 1
    for s in solutions:
        np.testing.assert_allclose(s.value, solutions[0].value, rtol=1e-9)


def test_a_first_guess_is_used():
    x = lx.linear_solve(JACOBIAN, B, ss.AutoSparse()).value
    again = lx.linear_solve(JACOBIAN, B, ss.GMRES(rtol=1e-10), options={"y0": x})
    assert int(again.stats["num_steps"]) == 0


def test_without_entries_only_products_are_asked_for():
    dense = jnp.asarray(np.random.default_rng(0).standard_normal((40, 40)) + 20 * np.eye(40))

    def hidden(v):  # detection would find it dense, and warn
        return jnp.linalg.solve(dense, v)

    operator = lx.FunctionLinearOperator(hidden, jax.eval_shape(lambda: jnp.zeros(40)))
    x = lx.linear_solve(operator, jnp.ones(40), ss.BiCGStab(rtol=1e-10)).value
    np.testing.assert_allclose(x, dense @ jnp.ones(40), rtol=1e-8)


def test_failures_are_results_and_raise_when_asked():
    singular = ss.SparseLinearOperator(
        ss.SparseMatrix.from_dense(jnp.diag(jnp.array([1.0, 2.0, 0.0])) + jnp.diag(jnp.zeros(2), 1))
    )
    solution = lx.linear_solve(singular, jnp.ones(3), ss.GMRES(), throw=False)
    assert solution.result == lx.RESULTS.breakdown
    with pytest.raises(Exception, match="breakdown"):
        lx.linear_solve(singular, jnp.ones(3), ss.GMRES())
    shift = lx.FunctionLinearOperator(lambda v: jnp.roll(v, 1), jax.eval_shape(lambda: jnp.zeros(12)))
    e = jnp.zeros(12).at[0].set(1.0)
    assert lx.linear_solve(shift, e, ss.GMRES(restart=5), throw=False).result == lx.RESULTS.stagnation
    few = lx.linear_solve(shift, e, ss.GMRES(max_steps=3), throw=False)
    assert few.result == lx.RESULTS.max_steps_reached
    nan = lx.linear_solve(JACOBIAN, jnp.nan * B, ss.GMRES(), throw=False)
    assert nan.result == lx.RESULTS.nonfinite_input


def test_cg_takes_negative_definite_operators_by_their_tag():
    A = ss.SparseMatrix.from_dense(-jnp.array([[4.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 5.0]]))
    b = jnp.array([1.0, 2.0, 3.0])
    told = ss.SparseLinearOperator(A, lx.negative_semidefinite_tag)
    x = lx.linear_solve(told, b, ss.CG(preconditioner=ss.Jacobi())).value
    np.testing.assert_allclose(A @ x, b, rtol=1e-10)
    untold = lx.linear_solve(ss.SparseLinearOperator(A), b, ss.CG(), throw=False)
    assert untold.result == lx.RESULTS.breakdown


def test_wrong_shapes_and_types_are_refused_with_a_repair():
    wide = lx.MatrixLinearOperator(jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="2 x 3"):
        lx.linear_solve(wide, jnp.ones(2), ss.GMRES())
    with pytest.raises(ValueError, match="of shape 2 x 2 for a system of 12"):
        lx.linear_solve(JACOBIAN, B, ss.GMRES(preconditioner=lx.DiagonalLinearOperator(jnp.ones(2))))
    with pytest.raises(TypeError, match="type float"):
        lx.linear_solve(JACOBIAN, B, ss.GMRES(preconditioner=3.0))


def test_a_prepared_solver_detects_nothing_and_checks_the_pattern():
    pattern = ss.detect_sparsity(grid_residual, GRID, 2.0)
    solver = ss.GMRES(preconditioner=ss.Jacobi()).prepare(pattern)
    np.testing.assert_allclose(
        lx.linear_solve(JACOBIAN, B, solver).value, lx.linear_solve(JACOBIAN, B, ss.AutoSparse()).value, rtol=1e-8
    )
    diagonal = ss.SparsityPattern.from_dense(np.eye(12))
    wrong = ss.GMRES(preconditioner=ss.Jacobi()).prepare(diagonal)
    assert lx.linear_solve(JACOBIAN, B, wrong, throw=False).result == lx.RESULTS.singular


def test_newton_counts_linear_iterations():
    problem = ss.gallery.bratu_2d(8)
    solver = ss.Newton(linear_solver=ss.GMRES(preconditioner=ss.Jacobi()))
    sol = ss.root_find(problem.residual, solver, problem.y0, problem.args)
    assert int(sol.stats["num_linear_iterations"]) > 2 * int(sol.stats["num_steps"])
    assert float(sol.stats["residual_norm"]) < 1e-12


def test_pair_of_leaves_round_trips():
    operator = lx.JacobianLinearOperator(pair_residual, PAIR, jnp.asarray(0.3))
    x = lx.linear_solve(operator, PAIR, ss.BiCGStab(preconditioner=ss.Jacobi())).value
    assert residual_of(operator, x, PAIR) < 1e-9
