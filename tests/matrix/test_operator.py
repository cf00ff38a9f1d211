"""`SparseLinearOperator` in lineax: every question answered, solvers run, pytrees in and out."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from sparsesolve.matrix import SparseLinearOperator, SparseMatrix

TRIDIAGONAL = np.diag([4.0, 5.0, 6.0]) + np.diag([1.0, 2.0], 1) + np.diag([3.0, 1.0], -1)


def operator(dense, *args, **kwargs) -> SparseLinearOperator:
    return SparseLinearOperator(SparseMatrix.from_dense(dense), *args, **kwargs)


def test_every_lineax_question_has_an_answer():
    questions = [f for f in vars(lx).values() if callable(f) and hasattr(f, "registry")]
    assert len(questions) >= 13
    for question in questions:
        assert SparseLinearOperator in question.registry, question


def test_structure_from_the_pattern():
    diagonal, lower = operator(np.diag([1.0, 2.0])), operator(np.tril(np.ones((3, 3))))
    assert lx.is_diagonal(diagonal) and lx.is_symmetric(diagonal) and lx.is_tridiagonal(diagonal)
    assert lx.is_lower_triangular(diagonal) and lx.is_upper_triangular(diagonal)
    assert lx.is_lower_triangular(lower) and not lx.is_upper_triangular(lower)
    assert lx.is_upper_triangular(lower.T) and not lx.is_tridiagonal(lower)
    assert lx.is_tridiagonal(operator(TRIDIAGONAL)) and not lx.is_diagonal(operator(TRIDIAGONAL))
    assert not lx.is_diagonal(operator(np.eye(2, 3))) and not lx.is_symmetric(operator(TRIDIAGONAL))


def test_tags():
    definite = operator(np.eye(3) + 0.1, lx.positive_semidefinite_tag)
    assert lx.is_positive_semidefinite(definite) and lx.is_symmetric(definite)
    assert definite.T is definite
    assert lx.is_negative_semidefinite(operator(-np.eye(3), [lx.negative_semidefinite_tag]))
    assert not lx.is_symmetric(operator((np.eye(2) + 1) * (1 + 0j), lx.positive_semidefinite_tag))
    tagged = operator(np.ones((3, 3)), [lx.lower_triangular_tag, lx.unit_diagonal_tag])
    assert lx.has_unit_diagonal(tagged) and lx.is_upper_triangular(tagged.T) and lx.is_lower_triangular(tagged)
    with pytest.raises(ValueError, match="matching input and output"):
        operator(np.ones((2, 3)), lx.symmetric_tag)


def test_values():
    tridiagonal = operator(TRIDIAGONAL)
    np.testing.assert_array_equal(lx.diagonal(tridiagonal), np.diag(TRIDIAGONAL))
    main, below, above = lx.tridiagonal(tridiagonal)
    np.testing.assert_array_equal(below, np.diag(TRIDIAGONAL, -1))
    np.testing.assert_array_equal(above, np.diag(TRIDIAGONAL, 1))
    assert main.shape == (3,)
    np.testing.assert_array_equal(tridiagonal.as_matrix(), TRIDIAGONAL)
    np.testing.assert_array_equal(tridiagonal.T.as_matrix(), TRIDIAGONAL.T)
    assert lx.materialise(tridiagonal) is tridiagonal and lx.conj(tridiagonal) is tridiagonal
    linearised = lx.linearise(tridiagonal)
    assert linearised.arranged is not None and lx.linearise(linearised) is linearised
    np.testing.assert_allclose(linearised.mv(jnp.arange(3.0)), TRIDIAGONAL @ np.arange(3.0))
    np.testing.assert_allclose(linearised.T.mv(jnp.arange(3.0)), TRIDIAGONAL.T @ np.arange(3.0))
    np.testing.assert_array_equal(lx.conj(operator(TRIDIAGONAL * 1j)).as_matrix(), -1j * TRIDIAGONAL)


@pytest.mark.parametrize(
    "solver", [lx.LU(), lx.QR(), lx.Tridiagonal(), lx.GMRES(1e-12, 1e-12), lx.AutoLinearSolver(True)]
)
def test_lineax_solvers(solver):
    b = jnp.array([1.0, -2.0, 0.5])
    solve = eqx.filter_jit(functools.partial(lx.linear_solve, solver=solver))
    np.testing.assert_allclose(solve(operator(TRIDIAGONAL), b).value, np.linalg.solve(TRIDIAGONAL, b), rtol=1e-8)


def test_gradient_with_respect_to_values():
    matrix = SparseMatrix.from_dense(TRIDIAGONAL)
    b = jnp.array([1.0, -2.0, 0.5])

    def ours(data):
        return jnp.sum(lx.linear_solve(SparseLinearOperator(SparseMatrix(data, matrix.pattern)), b).value ** 2)

    def exact(data):
        return jnp.sum(jnp.linalg.solve(SparseMatrix(data, matrix.pattern).todense(), b) ** 2)

    np.testing.assert_allclose(jax.grad(ours)(matrix.data), jax.grad(exact)(matrix.data), rtol=1e-10)
    np.testing.assert_allclose(
        jax.jvp(ours, (matrix.data,), (b[:1].repeat(7),))[1], jnp.sum(jax.grad(exact)(matrix.data))
    )


def test_algebra_of_operators():
    A, B = operator(TRIDIAGONAL), operator(np.eye(3) * 2)
    v = jnp.arange(1.0, 4.0)
    np.testing.assert_allclose((A + 3 * B).mv(v), TRIDIAGONAL @ v + 6 * v)
    np.testing.assert_allclose((A @ B).mv(v), 2 * TRIDIAGONAL @ v)


def test_pytrees_in_and_out():
    dense = np.arange(1.0, 13.0).reshape(4, 3)
    inputs = {"a": jax.ShapeDtypeStruct((2,), np.float64), "b": jax.ShapeDtypeStruct((), np.float64)}
    outputs = (jax.ShapeDtypeStruct((2, 2), np.float64),)
    A = operator(dense, input_structure=inputs, output_structure=outputs)
    assert A.in_structure() == inputs and A.out_structure() == outputs and A.in_size() == 3 and A.out_size() == 4
    (result,) = A.mv({"a": jnp.array([1.0, 2.0]), "b": jnp.array(3.0)})
    np.testing.assert_allclose(result, (dense @ [1.0, 2.0, 3.0]).reshape(2, 2))
    back = A.T.mv((jnp.ones((2, 2)),))
    np.testing.assert_allclose(back["a"], dense.sum(axis=0)[:2])
    assert back["b"].shape == ()


def test_solve_on_pytrees():
    structure = {"u": jax.ShapeDtypeStruct((2,), np.float64), "w": jax.ShapeDtypeStruct((1,), np.float64)}
    A = operator(TRIDIAGONAL, input_structure=structure, output_structure=structure)
    b = {"u": jnp.array([1.0, 2.0]), "w": jnp.array([3.0])}
    value = lx.linear_solve(A, b, lx.GMRES(1e-12, 1e-12)).value
    np.testing.assert_allclose(
        jnp.concatenate([value["u"], value["w"]]), np.linalg.solve(TRIDIAGONAL, [1.0, 2.0, 3.0]), rtol=1e-9
    )


def test_messages():
    with pytest.raises(TypeError, match=r"needs a SparseMatrix, got ndarray; write SparseMatrix\.from_scipy"):
        SparseLinearOperator(TRIDIAGONAL)
    with pytest.raises(ValueError, match="input_structure with 2 numbers for a matrix with 3 columns"):
        operator(TRIDIAGONAL, input_structure=jnp.zeros(2))
