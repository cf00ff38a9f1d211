"""Every method on every kind of matrix: solutions with small backward error, forward and transposed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.direct import plan_direct, solve_refined
from tests.direct import problems

CASES = {
    "diagonal": (lambda: problems.sp.diags(np.linspace(1.0, 9.0, 36)), "auto", "diagonal"),
    "blocks": (problems.blocks, "auto", "block diagonal"),
    "tiny": (lambda: problems.weak_diagonal(30), "auto", "dense"),
    "chain": (lambda: problems.stencil(200, convection=0.3), "auto", "tridiagonal"),
    "permuted chain": (lambda: problems.stencil(90)[::-1][:, ::-1], "auto", "tridiagonal"),
    "band": (lambda: problems.band(90, 3), "banded", "banded"),
    "grid, banded": (lambda: problems.stencil(5, 16), "banded", "banded"),
    "convection": (lambda: problems.stencil(8, 10, convection=5.0), "multifrontal", "multifrontal"),
    "brusselator": (lambda: problems.brusselator(7), "multifrontal", "multifrontal"),
    "seven points": (lambda: problems.stencil(5, 4, 6), "multifrontal", "multifrontal"),
    "mesh": (lambda: problems.p1_mesh(120), "multifrontal", "multifrontal"),
}


def backward_error(dense, x, b):
    return np.abs(dense @ x - b).max() / (np.abs(dense).sum(1).max() * np.abs(x).max() + np.abs(b).max())


@pytest.mark.parametrize("name", CASES)
def test_backward_error_is_at_rounding_level(name):
    make, method, kind = CASES[name]
    pattern, values = problems.split(make())
    plan = plan_direct(pattern, method=method, backend="portable")
    assert plan.kind == kind and kind in plan.describe()
    b = np.random.default_rng(0).standard_normal(pattern.shape[0])
    dense = np.asarray(problems.sp.csr_matrix((values, pattern.indices, pattern.indptr), pattern.shape).todense())

    @jax.jit
    def both(data, rhs):
        factors = plan.factor(data)
        return tuple(solve_refined(plan, factors, data, rhs, transpose=t) for t in (False, True))

    (x, info), (y, info_transposed) = jax.tree.map(np.asarray, both(values, b))
    assert backward_error(dense, x, b) < 1e-15 and backward_error(dense.T, y, b) < 1e-15
    assert info.converged and info_transposed.converged and info.num_refinements <= 3


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
@pytest.mark.parametrize("name", ["blocks", "tiny", "chain", "band", "convection"])
def test_other_dtypes(name, dtype):
    make, method, _ = CASES[name]
    pattern, values = problems.split(make(), dtype)
    plan = plan_direct(pattern, method=method, backend="portable")
    b = np.random.default_rng(0).standard_normal(pattern.shape[0]).astype(dtype)
    x, info = solve_refined(plan, plan.factor(jnp.asarray(values)), jnp.asarray(values), jnp.asarray(b))
    assert x.dtype == dtype and bool(info.converged)
    dense = np.asarray(problems.sp.csr_matrix((values, pattern.indices, pattern.indptr), pattern.shape).todense())
    assert backward_error(dense, np.asarray(x), b) < 20 * np.finfo(dtype).eps


def test_forests_and_empty_borders():
    matrix = problems.sp.block_diag([problems.stencil(9, 9), problems.stencil(7, 10, convection=1.0)])
    pattern, values = problems.split(matrix)
    plan = plan_direct(pattern, method="multifrontal", backend="portable")
    x, info = solve_refined(plan, plan.factor(jnp.asarray(values)), jnp.asarray(values), jnp.ones(151))
    assert bool(info.converged) and np.abs(matrix @ np.asarray(x) - 1).max() < 1e-12
