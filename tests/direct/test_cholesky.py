"""Factorizations of one triangle on both back ends: random matrices, a real one, status, storage, lowering."""

import os
import pathlib

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from sparsesolve import _native
from sparsesolve.direct import plan_direct, solve_refined
from sparsesolve.pattern import SparsityPattern
from tests.direct import problems

NATIVE = pytest.param("native", marks=pytest.mark.skipif(not _native.available(), reason=_native.status()))
BACKENDS = pytest.mark.parametrize("backend", ["portable", NATIVE])
DATA = pathlib.Path(os.environ.get("SPARSESOLVE_DATA", pathlib.Path(__file__).parents[3] / "shared" / "data"))


def plan_of(pattern, backend, symmetry="positive", **options):
    return plan_direct(pattern, method="multifrontal", backend=backend, symmetry=symmetry, **options)


def refined(plan, values, rhs=None):
    data = jnp.asarray(values)
    rhs = jnp.ones(plan.pattern.shape[0], data.dtype) if rhs is None else rhs
    factors = plan.factor(data)
    return factors, *solve_refined(plan, factors, data, rhs)


@BACKENDS
def test_definite_and_indefinite(backend):
    pattern, values = problems.split(problems.stencil(9, 10))
    for symmetry, data in (("positive", values), ("negative", -values), ("symmetric", values), ("hermitian", values)):
        plan = plan_of(pattern, backend, symmetry)
        factors, _, info = refined(plan, data)
        assert bool(info.converged) and float(info.backward_error) < 1e-15 and bool(plan.sound(factors))
    lu = plan_direct(pattern, method="multifrontal", backend=backend)
    assert plan.nnz_factor < 0.8 * lu.nnz_factor and plan != lu


@BACKENDS
def test_complex_types(backend):
    pattern, values = problems.split(problems.stencil(9, 10))
    turn = np.exp(1j * np.random.default_rng(0).random(pattern.shape[0]))
    left = values * turn[pattern.rows]
    for symmetry, right in (("positive", turn.conj()), ("symmetric", turn), ("hermitian", turn.conj())):
        plan, data = plan_of(pattern, backend, symmetry), jnp.asarray((left * right[pattern.indices]).astype("c8"))
        for transpose in (False, True):
            rhs = jnp.ones(pattern.shape[0], data.dtype) * (1 + 2j)
            _, info = solve_refined(plan, plan.factor(data), data, rhs.astype("c8"), transpose=transpose)
            assert bool(info.converged)


@BACKENDS
def test_a_matrix_that_is_not_definite_is_told(backend):
    pattern, values = problems.split(problems.stencil(9, 10))
    plan = plan_of(pattern, backend)
    for shift in (1.0, 9.0):
        factors, x, _ = refined(plan, np.where(pattern.rows == pattern.indices, values - shift, values))
        assert not bool(plan.sound(factors)) and not bool(plan.statistics(factors)["positive_definite"])
        assert np.isfinite(x).all()


@BACKENDS
def test_a_semidefinite_matrix_with_a_right_hand_side_in_its_range(backend):
    grid = sp.csr_matrix(problems.stencil(9, 10))
    pattern, values = problems.split(
        sp.csr_matrix(sp.diags(grid.diagonal() - np.ravel(grid.sum(1))) + grid - sp.diags(grid.diagonal()))
    )
    plan = plan_of(pattern, backend)
    rhs = np.random.default_rng(0).standard_normal(pattern.shape[0])
    factors, _, info = refined(plan, values, jnp.asarray(rhs - rhs.mean()))
    assert bool(plan.sound(factors)) and float(info.backward_error) < 1e-11


@BACKENDS
def test_a_saddle_point(backend):
    pattern, values = problems.split(problems.saddle_point(9))
    _, _, info = refined(plan_of(pattern, backend, "symmetric"), values)
    assert bool(info.converged) and float(info.backward_error) < 1e-14
    full = pattern.with_diagonal()
    data = np.zeros(full.nnz)
    data[full.positions(pattern.rows, pattern.indices)] = values
    plan = plan_of(full, backend, "symmetric", sample=data)
    assert bool(refined(plan, data)[2].converged)


@pytest.mark.skipif(not _native.available(), reason=_native.status())
@hypothesis.settings(deadline=None, max_examples=15, derandomize=True)
@hypothesis.given(n=st.integers(1, 60), per_row=st.floats(0.0, 5.0), seed=st.integers(0, 10**6), definite=st.booleans())
def test_random_patterns(n, per_row, seed, definite):
    rng = np.random.default_rng(seed)
    half = sp.csr_matrix(rng.standard_normal((n, n)) * (rng.random((n, n)) < per_row / n))
    matrix = half + half.T
    size = np.ravel(abs(matrix).sum(1)) + 0.1 + rng.random(n)
    signs = np.ones(n) if definite else rng.choice([-1.0, 1.0], n)
    pattern, values = problems.split(sp.csr_matrix(matrix - sp.diags(matrix.diagonal()) + sp.diags(size * signs)))
    plan = plan_of(pattern, "native", "positive" if definite else "symmetric")
    factors, _, info = refined(plan, values)
    assert bool(info.converged) and bool(plan.sound(factors))
    if not definite:
        assert int(plan.statistics(factors)["num_negative_pivots"]) == (signs < 0).sum()


@pytest.mark.skipif(not (DATA / "matrices" / "494_bus.mtx").exists(), reason="494_bus.mtx is not there")
@pytest.mark.filterwarnings("ignore:The default value for `spmatrix`:DeprecationWarning")
@BACKENDS
def test_a_power_network(backend):
    pattern, values = problems.split(sp.csr_matrix(scipy.io.mmread(DATA / "matrices" / "494_bus.mtx")))
    plan = plan_of(pattern, backend)
    factors, _, info = refined(plan, values)
    assert bool(info.converged) and float(info.backward_error) < 1e-15 and bool(plan.sound(factors))


def test_portable_under_vmap_and_for_cuda():
    pattern, values = problems.split(problems.stencil(9, 10))
    plan, data, rhs = plan_of(pattern, "portable"), jnp.asarray(values), jnp.ones(pattern.shape[0])
    alone = plan.solve(plan.factor(data), rhs)
    many = jax.vmap(lambda s: plan.solve(plan.factor(s * data), rhs))(jnp.array([1.0, 2.0, -1.0]))
    np.testing.assert_allclose(many[:2], jnp.stack([alone, alone / 2]), rtol=1e-9)
    for symmetry in ("positive", "symmetric"):
        other = plan_of(pattern, "portable", symmetry)
        traced = jax.jit(lambda v, b, p=other: solve_refined(p, p.factor(v), v, b)).trace(data, rhs)
        assert "lapack" not in traced.lower(lowering_platforms=("cuda",)).as_text()


def test_requests_that_cannot_be():
    with pytest.raises(ValueError, match="Unknown symmetry 'spd'"):
        plan_direct(SparsityPattern.from_dense(np.eye(3)), symmetry="spd")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"entry \(0, 1\) is stored and \(1, 0\) is not"):
        plan_direct(SparsityPattern.from_dense(np.eye(3) + np.eye(3, k=1)), symmetry="positive")
    with pytest.raises(ValueError, match=r"full diagonal, but entry \(2, 2\)"):
        plan_direct(SparsityPattern.from_dense(np.fliplr(np.eye(3)) + np.diag([1.0, 1.0, 0.0])), symmetry="negative")
