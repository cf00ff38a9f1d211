"""Weak, missing and zero pivots: matching, perturbation, refinement, status, and errors that name the culprits."""

import glob
import os
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io

from sparsesolve.direct import plan_direct, solve_refined
from sparsesolve.pattern import SparsityPattern
from tests.direct import problems

HARD = {
    "weak diagonal": lambda: problems.weak_diagonal(90),
    "permuted grid": lambda: problems.permuted(problems.stencil(8, 9)),
    "saddle point": lambda: problems.saddle_point(8),
    "circuit": lambda: problems.circuit(90),
}


def solve(matrix, **options):
    pattern, values = problems.split(matrix)
    plan = plan_direct(pattern, **options)
    rhs = jnp.asarray(np.random.default_rng(0).standard_normal(pattern.shape[0]))
    return solve_refined(plan, plan.factor(jnp.asarray(values)), jnp.asarray(values), rhs)


@pytest.mark.parametrize("name", HARD)
def test_hard_matrices_with_sample_values(name):
    matrix = HARD[name]()
    _, values = problems.split(matrix)
    _, info = solve(matrix, method="multifrontal", backend="portable", sample=values)
    assert bool(info.converged) and float(info.backward_error) < 1e-14


def test_matching_is_not_done_where_elimination_is_safe():
    pattern, values = problems.split(problems.stencil(12, 12, convection=0.5))
    assert plan_direct(pattern, sample=values) is plan_direct(pattern)


def test_stored_zeros_on_the_diagonal_of_a_chain_give_a_plan_that_pivots():
    n = 100
    zeros = SparsityPattern.from_scipy(problems.stencil(n))
    values = np.where(zeros.rows == zeros.indices, 0.0, 1.0 + zeros.rows)
    plan = plan_direct(zeros, sample=values)
    data = jnp.asarray(values)
    _, info = solve_refined(plan, plan.factor(data), data, jnp.ones(n))
    assert bool(info.converged)


@pytest.mark.parametrize("method", ["dense", "banded", "tridiagonal", "multifrontal"])
def test_a_singular_matrix_is_reported_not_hidden(method):
    pattern, values = problems.split(problems.stencil(70))
    values = values.copy()
    values[pattern.rows == 30] = 0.0
    plan = plan_direct(pattern, method=method, backend="portable")
    data = jnp.asarray(values)
    _, info = solve_refined(plan, plan.factor(data), data, jnp.ones(70))
    assert not bool(info.converged)


def test_nan_gives_a_status_and_ends():
    pattern, values = problems.split(problems.stencil(9, 9))
    data = jnp.asarray(values).at[5].set(jnp.nan)
    plan = plan_direct(pattern, method="multifrontal", backend="portable")
    _, info = solve_refined(plan, plan.factor(data), data, jnp.ones(81))
    assert not bool(info.converged)


def test_zero_right_hand_side():
    pattern, values = problems.split(problems.stencil(30))
    plan = plan_direct(pattern)
    x, info = solve_refined(plan, plan.factor(jnp.asarray(values)), jnp.asarray(values), jnp.zeros(30))
    assert bool(info.converged) and not np.asarray(x).any()


def test_structurally_singular_names_rows_and_columns():
    with pytest.raises(ValueError, match=r"row 1 without entries.*column 2 without entries"):
        plan_direct(SparsityPattern.from_coo([0, 2, 2], [0, 0, 1], (3, 3)))
    with pytest.raises(ValueError, match="no unknown left for row"):
        plan_direct(SparsityPattern.from_coo([0, 1, 2, 2, 2], [0, 0, 0, 1, 2], (3, 3)))


def test_wrong_requests():
    grid = SparsityPattern.from_scipy(problems.stencil(4, 5))
    with pytest.raises(ValueError, match="square"):
        plan_direct(SparsityPattern.from_dense(np.ones((2, 3))))
    with pytest.raises(ValueError, match="tridiagonal"):
        plan_direct(grid, method="tridiagonal")
    with pytest.raises(ValueError, match="Unknown direct method"):
        plan_direct(grid, method="cholesky")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="sample"):
        plan_direct(grid, sample=np.ones(3))


def test_a_plan_that_does_not_fit_says_how_large(monkeypatch):
    monkeypatch.setattr("sparsesolve.direct._memory.physical_memory", lambda: 10_000)
    with pytest.raises(ValueError, match=r"GB"):
        plan_direct(SparsityPattern.from_scipy(problems.stencil(13, 17)), method="multifrontal", backend="portable")


DATA = pathlib.Path(os.environ.get("SPARSESOLVE_DATA", pathlib.Path(__file__).parents[3] / "shared" / "data"))
REAL = sorted(glob.glob(str(DATA / "matrices" / "*.mtx")))


@pytest.mark.skipif(not REAL, reason="no matrices found: set SPARSESOLVE_DATA to the folder that holds matrices/*.mtx")
@pytest.mark.filterwarnings("ignore:The default value for `spmatrix`:DeprecationWarning")
@pytest.mark.parametrize("backend", ["auto", pytest.param("portable", marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", REAL or ["none"], ids=lambda p: pathlib.Path(p).stem)
def test_real_matrices(path, backend):
    matrix = scipy.io.mmread(path)
    _, values = problems.split(matrix)
    _, info = solve(matrix, sample=values, backend=backend)
    assert bool(info.converged) and float(info.backward_error) < 1e-14
