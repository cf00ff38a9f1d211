"""One table: every solver times every kind of operator, forwards, transposed, and compared with dense algebra."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from sparsesolve._tree import Structure
from sparsesolve.linear import AutoSparse, Banded, SparseLU
from tests.linear.problems import GRID, grid_residual, operators

OPERATORS = operators()


def _random_like(structure, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: jnp.asarray(rng.standard_normal(s.shape), s.dtype), structure)


@pytest.mark.parametrize("name", OPERATORS)
def test_solution_solves_any_operator(name):
    operator = OPERATORS[name]
    b = _random_like(operator.out_structure())
    solution = lx.linear_solve(operator, b, AutoSparse())
    target = Structure.of(b)
    expected = np.linalg.solve(np.asarray(operator.as_matrix()), np.asarray(target.ravel(b)))
    found = Structure.of(operator.in_structure()).ravel(solution.value)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    assert float(solution.stats["backward_error"]) < 1e-14


@pytest.mark.parametrize("solver", [SparseLU(), Banded()], ids=["lu", "banded"])
@pytest.mark.parametrize("name", ["sparse", "jacobian", "composed", "matrix"])
def test_other_solvers_agree(solver, name):
    operator = OPERATORS[name]
    b = _random_like(operator.out_structure())
    ours = lx.linear_solve(operator, b, solver).value
    auto = lx.linear_solve(operator, b, AutoSparse()).value
    np.testing.assert_allclose(jnp.ravel(ours), jnp.ravel(auto), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("solver", [AutoSparse(), SparseLU(), Banded()], ids=["auto", "lu", "banded"])
def test_transposed_and_conjugated_states_keep_the_factors(solver):
    operator = OPERATORS["jacobian"]
    dense = np.asarray(operator.as_matrix())
    state = solver.init(operator, {})
    transposed, _ = solver.transpose(state, {})
    assert transposed.factors is state.factors
    b = _random_like(operator.in_structure(), 1)
    x, result, _ = solver.compute(transposed, b, {})
    assert bool(result == lx.RESULTS.successful)
    np.testing.assert_allclose(jnp.ravel(x), np.linalg.solve(dense.T, np.ravel(b)), rtol=1e-10)
    again, _ = solver.transpose(transposed, {})
    np.testing.assert_allclose(
        jnp.ravel(solver.compute(again, b, {})[0]), np.linalg.solve(dense, np.ravel(b)), rtol=1e-10
    )


def test_complex_operator_solves_transposed_and_conjugated():
    rng = np.random.default_rng(5)
    i, j = np.indices((8, 8))
    dense = np.where(abs(i - j) <= 2, rng.standard_normal((8, 8)) + 1j * rng.standard_normal((8, 8)), 0) + 5 * np.eye(8)
    operator = lx.MatrixLinearOperator(jnp.asarray(dense))
    b = rng.standard_normal(8) + 1j * rng.standard_normal(8)
    solver = AutoSparse()
    state = solver.init(operator, {})
    conjugated, _ = solver.conj(state, {})
    both, _ = solver.transpose(conjugated, {})
    for kept, matrix in ((state, dense), (conjugated, dense.conj()), (both, dense.conj().T)):
        x, result, _ = solver.compute(kept, jnp.asarray(b), {})
        assert bool(result == lx.RESULTS.successful)
        np.testing.assert_allclose(x, np.linalg.solve(matrix, b), rtol=1e-11)


def test_state_is_a_loop_carry():
    solver = AutoSparse()
    operator = OPERATORS["sparse"]

    @jax.jit
    def repeated(b):
        def body(_, carry):
            state, x = carry
            return state, solver.compute(state, x, {})[0]

        return jax.lax.fori_loop(0, 3, body, (solver.init(operator, {}), b))[1]

    b = jnp.arange(9.0)
    dense = np.asarray(operator.as_matrix())
    expected = np.linalg.solve(dense, np.linalg.solve(dense, np.linalg.solve(dense, np.asarray(b))))
    np.testing.assert_allclose(repeated(b), expected, rtol=1e-10)


def test_float32():
    operator = lx.JacobianLinearOperator(grid_residual, GRID.astype(jnp.float32), jnp.asarray(2.0, jnp.float32))
    b = jnp.ones(GRID.shape, jnp.float32)
    solution = lx.linear_solve(operator, b, AutoSparse())
    assert solution.value.dtype == jnp.float32
    np.testing.assert_allclose(operator.mv(solution.value), b, rtol=1e-5)


def test_singular_matrices_are_told():
    singular = jnp.asarray([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 1.0]])
    solution = lx.linear_solve(
        lx.MatrixLinearOperator(singular), jnp.asarray([1.0, 0.0, 1.0]), AutoSparse(), throw=False
    )
    assert bool(solution.result == lx.RESULTS.singular)
    nan = lx.linear_solve(lx.MatrixLinearOperator(singular * jnp.nan), jnp.ones(3), AutoSparse(), throw=False)
    assert not bool(nan.result == lx.RESULTS.successful)


def test_not_square_is_a_sentence():
    with pytest.raises(ValueError, match=r"shape 2 x 3.*as there are unknowns.*well_posed=False"):
        lx.linear_solve(lx.MatrixLinearOperator(jnp.ones((2, 3))), jnp.ones(2), AutoSparse())
