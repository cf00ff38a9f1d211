"""Factors in single precision, solutions in double: half the bytes, full accuracy."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from sparsesolve.direct import plan_direct, solve_refined
from sparsesolve.linear import AutoSparse, Banded, SparseLU
from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
from tests.direct import problems


def size_of(factors):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(factors))


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("method", ["dense", "banded", "tridiagonal", "multifrontal"])
def test_half_the_bytes_and_full_accuracy(method, dtype):
    matrix = problems.stencil(70, convection=0.3) if method == "tridiagonal" else problems.stencil(5, 14, convection=2)
    pattern, values = problems.split(matrix, dtype)
    data, rhs = jnp.asarray(values), jnp.linspace(1.0, 2.0, 70).astype(dtype)
    full, low = plan_direct(pattern, method=method), plan_direct(pattern, method=method, factor_dtype=jnp.float32)
    factors = low.factor(data)
    assert size_of(factors) <= 0.6 * size_of(full.factor(data))
    assert all(leaf.dtype.itemsize <= np.dtype(dtype).itemsize // 2 for leaf in jax.tree.leaves(factors) if leaf.ndim)
    for transpose in (False, True):
        x, info = solve_refined(low, factors, data, rhs, transpose=transpose)
        assert x.dtype == dtype and float(info.backward_error) < 1e-15
        assert int(info.num_refinements) + int(info.num_linear_iterations) > 0
    assert "float32" in low.describe() and "float64" in full.describe()
    assert low == plan_direct(pattern, method=method, factor_dtype=np.float32) and low != full


def test_values_beyond_the_range_of_single_precision():
    pattern, values = problems.split(1e200 * problems.stencil(6, 7))
    plan = plan_direct(pattern, factor_dtype=jnp.float32)
    data = jnp.asarray(values)
    _, info = solve_refined(plan, plan.factor(data), data, 1e100 * jnp.ones(42))
    assert info.converged


def test_ill_conditioned_matrices_are_finished_by_gmres():
    grid = problems.stencil(11, 11)
    pattern, values = problems.split(grid @ grid @ grid)  # condition number 5e5, of the order of 1 / eps of float32
    plan = plan_direct(pattern, method="multifrontal", factor_dtype=jnp.float32)
    data = jnp.asarray(values)
    _, info = solve_refined(plan, plan.factor(data), data, jnp.ones(121), max_refinements=0)
    assert info.converged and int(info.num_linear_iterations) > 0


@pytest.mark.parametrize("solver", [AutoSparse, SparseLU, Banded])
def test_solvers_take_it_and_count(solver):
    pattern, values = problems.split(problems.stencil(6, 8, convection=0.5))
    operator = SparseLinearOperator(SparseMatrix(jnp.asarray(values), pattern))
    full = lx.linear_solve(operator, jnp.ones(48), solver())
    low = lx.linear_solve(operator, jnp.ones(48), solver(factor_dtype=jnp.float32))
    np.testing.assert_allclose(low.value, full.value, rtol=1e-12)
    assert low.stats["factor_bytes"] <= 0.6 * full.stats["factor_bytes"]
    assert int(low.stats["num_refinements"]) > int(full.stats["num_refinements"])


def test_explain_says_it(capsys):
    pattern, _ = problems.split(problems.stencil(6, 8))
    AutoSparse(factor_dtype=jnp.float32).explain(pattern)
    assert "in float32" in capsys.readouterr().out


def test_other_types_are_refused():
    pattern, _ = problems.split(problems.stencil(40))
    with pytest.raises(ValueError, match=r"factor_dtype=float16 is not supported; write jnp.float32"):
        plan_direct(pattern, factor_dtype=jnp.float16)
