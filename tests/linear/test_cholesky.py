"""`SparseCholesky`, and `AutoSparse` on tagged operators: choice, transformations, matrices not as promised."""

from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
import scipy.sparse as sp

from sparsesolve.linear import AutoSparse, SparseCholesky, SparseLU
from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
from sparsesolve.pattern import SparsityPattern
from tests.direct import problems

GRID = sp.csr_matrix(problems.stencil(9, 11))
PATTERN, VALUES = problems.split(GRID)
N = PATTERN.shape[0]
B = jnp.asarray(np.random.default_rng(1).standard_normal(N))


def operator(values: Any = VALUES, tags=lx.positive_semidefinite_tag, pattern=PATTERN):
    return SparseLinearOperator(SparseMatrix(jnp.asarray(values), pattern), tags)


def turned(symmetric):
    """Complex values of the grid, Hermitian or complex symmetric."""
    turn = np.exp(1j * np.random.default_rng(0).random(N))
    return VALUES * turn[PATTERN.rows] * (turn if symmetric else turn.conj())[PATTERN.indices]


def solve(op, b, solver):
    return lx.linear_solve(op, b, solver, throw=False)


@pytest.mark.parametrize(
    ("tag", "values", "kind"),
    [
        (lx.positive_semidefinite_tag, VALUES, "cholesky"),
        (lx.negative_semidefinite_tag, -VALUES, "cholesky"),
        (lx.symmetric_tag, VALUES, "ldlt"),
        (lx.positive_semidefinite_tag, turned(False), "cholesky"),
        (lx.symmetric_tag, turned(True), "ldlt"),
    ],
    ids=["positive", "negative", "symmetric", "hermitian", "complex symmetric"],
)
@pytest.mark.parametrize("solver", [AutoSparse(), SparseCholesky()], ids=["auto", "cholesky"])
def test_tags_choose_the_factorization(solver, tag, values, kind):
    op = operator(values, tag)
    assert solver.init(op, {}).plan.kind == kind
    b = B.astype(values.dtype) * (1.0 if np.isrealobj(values) else 1 + 2j)
    solution = solve(op, b, solver)
    assert bool(solution.result == lx.RESULTS.successful) and float(solution.stats["backward_error"]) < 1e-15
    np.testing.assert_allclose(op.mv(solution.value), b, rtol=1e-10, atol=1e-12)
    lu = SparseLU().init(op, {})
    assert solver.init(op, {}).plan.nnz_factor < 0.75 * lu.plan.nnz_factor


@pytest.mark.parametrize("values", [VALUES, turned(False)], ids=["real", "hermitian"])
def test_transposed_and_conjugated_states_keep_the_factors(values):
    op, solver = operator(values), SparseCholesky()
    dense, b = np.asarray(op.as_matrix()), np.asarray(B).astype(values.dtype) * (1 if np.isrealobj(values) else 1 - 1j)
    state = solver.init(op, {})
    conjugated, _ = solver.conj(state, {})
    transposed, _ = solver.transpose(state, {})
    both, _ = solver.transpose(conjugated, {})
    for kept, matrix in ((conjugated, dense.conj()), (transposed, dense.T), (both, dense.conj().T)):
        assert kept.factors is state.factors
        np.testing.assert_allclose(solver.compute(kept, jnp.asarray(b), {})[0], np.linalg.solve(matrix, b), rtol=1e-9)


def test_without_a_tag_positive_is_assumed_and_lu_stays_the_choice_of_auto():
    op = operator(tags=())
    assert SparseCholesky().init(op, {}).plan.kind == "cholesky"
    assert AutoSparse().init(op, {}).plan.kind not in ("cholesky", "ldlt")
    diagonal = SparsityPattern.from_coo(np.arange(50), np.arange(50), (50, 50))
    assert AutoSparse().init(operator(np.ones(50), pattern=diagonal), {}).plan.kind == "diagonal"


def loss(theta, solver, tag):
    data = jnp.where(PATTERN.rows == PATTERN.indices, 6.0 + jnp.sin(theta * PATTERN.rows), -jnp.cos(theta))
    return jnp.sum(lx.linear_solve(operator(data, tag), B * theta, solver).value ** 3)


@pytest.mark.parametrize("tag", [lx.positive_semidefinite_tag, lx.symmetric_tag], ids=["cholesky", "ldlt"])
def test_derivatives_and_vmap(tag):
    theta, h = jnp.asarray(0.3), 1e-6
    f = jax.jit(lambda t: loss(t, SparseCholesky(), tag))
    slope = (f(theta + h) - f(theta - h)) / (2 * h)
    forward = jax.jvp(f, (theta,), (jnp.ones_like(theta),))[1]
    np.testing.assert_allclose([forward, jax.grad(f)(theta)], slope, rtol=1e-7)
    curvature = (jax.grad(f)(theta + h) - jax.grad(f)(theta - h)) / (2 * h)
    np.testing.assert_allclose(jax.hessian(f)(theta), curvature, rtol=1e-5)
    thetas = jnp.linspace(0.1, 0.5, 3)
    np.testing.assert_allclose(jax.vmap(f)(thetas), [f(t) for t in thetas], rtol=1e-9)


def test_gradient_of_a_hermitian_solve():
    values = turned(False)

    def f(scale):
        x = lx.linear_solve(operator(values * scale), B.astype(values.dtype), SparseCholesky()).value
        return jnp.sum(jnp.abs(x) ** 2)

    np.testing.assert_allclose(jax.grad(f)(2.0), -2 * f(2.0) / 2.0, rtol=1e-9)


def test_a_matrix_that_is_not_definite_is_told_and_stays_finite():
    shifted = np.where(PATTERN.rows == PATTERN.indices, VALUES - 3.3, VALUES)
    solution = solve(operator(shifted), B, SparseCholesky())
    assert bool(solution.result == lx.RESULTS.singular) and not bool(solution.stats["positive_definite"])
    assert np.isfinite(solution.value).all()
    told = solve(operator(shifted, lx.symmetric_tag), B, SparseCholesky())
    assert bool(told.result == lx.RESULTS.successful)
    negative = int((np.linalg.eigvalsh(operator(shifted).as_matrix()) < 0).sum())
    assert int(told.stats["num_negative_pivots"]) in (negative, -1)
    auto = solve(operator(shifted), B, AutoSparse())
    right = np.abs(operator(shifted).mv(auto.value) - B).max() < 1e-9
    assert bool(auto.result == lx.RESULTS.successful) == bool(right)


def test_values_that_are_not_symmetric_are_never_a_silent_wrong_answer():
    values = np.where(PATTERN.rows < PATTERN.indices, 0.2, 1.0) * VALUES
    for tag in (lx.positive_semidefinite_tag, lx.symmetric_tag):
        for solver in (SparseCholesky(), AutoSparse()):
            solution = solve(operator(values, tag), B, solver)
            right = np.abs(operator(values).mv(solution.value) - B).max() < 1e-9
            assert right or not bool(solution.result == lx.RESULTS.successful)


def test_failing_members_of_a_batch_leave_the_others_alone():
    stack = jnp.stack([VALUES, jnp.full_like(VALUES, jnp.nan), 2 * VALUES, -VALUES])

    @jax.vmap
    def one(values):
        solution = solve(operator(values), B, AutoSparse())
        return solution.value, solution.result == lx.RESULTS.successful

    x, good = one(stack)
    assert bool(good[0] & good[2]) and not bool(good[1])
    np.testing.assert_allclose(x[0], 2 * x[2], rtol=1e-12)
    np.testing.assert_allclose(GRID @ np.asarray(x[0]), B, atol=1e-12)


def test_patterns_that_are_not_symmetric():
    dense = np.asarray(GRID.toarray())
    dense[0, N - 1] = 1e-30
    matrix = SparseMatrix.from_dense(jnp.asarray(dense))
    op = SparseLinearOperator(matrix, lx.symmetric_tag)
    with pytest.raises(ValueError, match=rf"entry \(0, {N - 1}\) is stored and \({N - 1}, 0\) is not; give both"):
        lx.linear_solve(op, B, SparseCholesky())
    assert AutoSparse().init(op, {}).plan.kind not in ("cholesky", "ldlt")
    missing = problems.saddle_point(4)
    with pytest.raises(ValueError, match="has a full diagonal"):
        SparseCholesky().prepare(SparsityPattern.from_scipy(missing))
    with pytest.raises(ValueError, match="makes no use of symmetry"):
        SparseLU().prepare(PATTERN, symmetry="positive")


def test_a_pinned_plan_and_a_saddle_point(capsys):
    pattern, values = problems.split(problems.saddle_point(8))
    solver = AutoSparse().prepare(pattern, symmetry="symmetric")
    AutoSparse().explain(pattern, symmetry="symmetric")
    assert "ldlt" in capsys.readouterr().out
    solution = lx.linear_solve(operator(values, (), pattern), jnp.ones(pattern.shape[0]), solver)
    assert solution.stats["backward_error"] < 1e-14


def test_a_jacobian_tagged_symmetric():
    def gradient(u, args):
        padded = jnp.pad(u, 1)
        return 4.5 * u - padded[:-2, 1:-1] - padded[2:, 1:-1] - padded[1:-1, :-2] - padded[1:-1, 2:] + u**3

    u = jnp.asarray(np.random.default_rng(0).random((9, 9)))
    op = lx.JacobianLinearOperator(gradient, u, None, lx.positive_semidefinite_tag)
    solution = lx.linear_solve(op, jnp.ones((9, 9)), AutoSparse())
    assert AutoSparse().init(op, {}).plan.kind == "cholesky" and bool(solution.stats["positive_definite"])
    np.testing.assert_allclose(op.mv(solution.value), 1.0, rtol=1e-12)
