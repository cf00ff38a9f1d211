"""CG, BiCGStab(2) and IDR(4): steps they must take, failures they must admit, batches, and SciPy's counts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg

from sparsesolve.krylov import BREAKDOWN, CONVERGED, MAX_STEPS, NONFINITE, STAGNATION, bicgstab, cg, gmres, idr
from sparsesolve.matrix import SparseMatrix

RTOL = {"float32": 1e-4, "complex64": 1e-4, "float64": 1e-10, "complex128": 1e-10}
ALL = {"cg": cg, "bicgstab": bicgstab, "idr": idr, "gmres": gmres}


@functools.partial(jax.jit, static_argnames=("method", "rtol", "max_steps", "jacobi"))
def solve(A, b, *, method, rtol=1e-10, max_steps=1000, jacobi=False):
    precondition = (lambda v: v / jnp.diagonal(A)) if jacobi else None
    return ALL[method](lambda v: A @ v, b, precondition=precondition, rtol=rtol, max_steps=max_steps)


def system(dtype, definite, n=20):
    rng = np.random.default_rng(5)
    dense = rng.standard_normal((n, n)) + 6 * np.eye(n)
    b = rng.standard_normal(n)
    if np.issubdtype(dtype, np.complexfloating):
        dense = dense + 1j * rng.standard_normal((n, n))
        b = b + 1j * rng.standard_normal(n)
    if definite:
        dense = dense @ dense.conj().T
    return jnp.asarray(dense.astype(dtype)), jnp.asarray(b.astype(dtype))


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("method", ["cg", "bicgstab", "idr"])
def test_dtypes(method, dtype):
    A, b = system(dtype, method == "cg")
    x, info = solve(A, b, method=method, rtol=RTOL[dtype], jacobi=True)
    residual = jnp.linalg.norm(b - A @ x) / jnp.linalg.norm(b)
    assert x.dtype == dtype and int(info.status) == CONVERGED
    assert residual <= 1.1 * RTOL[dtype]


@pytest.mark.parametrize("distinct", [1, 3, 6])
def test_cg_takes_as_many_steps_as_there_are_eigenvalues(distinct):
    values = jnp.asarray(np.resize(np.arange(1.0, distinct + 1), 20))
    x, info = solve(jnp.diag(values), jnp.ones(20), method="cg")
    assert int(info.num_steps) == distinct
    np.testing.assert_allclose(x, 1 / values, rtol=1e-11)


def test_idr_ends_within_n_plus_n_over_s_products():
    A, b = system("float64", False)
    _, info = solve(A, b, method="idr", rtol=1e-8)
    assert int(info.num_steps) <= 20 + 20 // 4


def test_bicgstab_of_degree_two_passes_where_eigenvalues_are_imaginary():
    rng = np.random.default_rng(0)
    skew = rng.standard_normal((20, 20))
    A, b = jnp.asarray(skew - skew.T + 0.1 * np.eye(20)), jnp.ones(20)
    _, two = solve(A, b, method="bicgstab", rtol=1e-6)
    _, one = jax.jit(lambda: bicgstab(lambda v: A @ v, b, rtol=1e-6, degree=1))()
    assert int(two.status) == CONVERGED
    assert int(one.status) != CONVERGED or int(one.num_steps) > 2 * int(two.num_steps)


def test_cg_refuses_what_is_not_positive_definite():
    b = jnp.ones(4)
    _, info = solve(jnp.diag(jnp.array([1.0, 2.0, -3.0, 4.0])), b, method="cg")
    assert int(info.status) == BREAKDOWN
    _, info = jax.jit(lambda: cg(lambda v: 2 * v, b, precondition=lambda v: -v))()
    assert int(info.status) == BREAKDOWN
    shift, e = jnp.asarray(np.roll(np.eye(12), 1, 0)), jnp.zeros(12).at[0].set(1.0)
    _, info = solve(shift, e, method="cg")  # not even symmetric
    assert int(info.status) == BREAKDOWN


@pytest.mark.parametrize("method", ["cg", "bicgstab", "idr"])
def test_ways_to_fail_are_told(method):
    singular = jnp.diag(jnp.array([1.0, 2.0, 0.0, 3.0]))
    x, info = solve(singular, jnp.ones(4), method=method)
    assert int(info.status) in (BREAKDOWN, STAGNATION, MAX_STEPS)
    assert bool(jnp.all(jnp.isfinite(x))) and float(info.relative_residual) >= 0.5 - 1e-12
    x, info = solve(singular, jnp.array([1.0, 1.0, 0.0, 1.0]), method=method)
    assert int(info.status) == CONVERGED and float(x[2]) == 0.0
    x, info = solve(jnp.nan * singular, jnp.ones(4), method=method)
    assert int(info.status) == NONFINITE and bool(jnp.all(jnp.isfinite(x)))
    A, b = system("float64", method == "cg")
    x, info = solve(A, b, method=method, max_steps=4)
    assert int(info.status) == MAX_STEPS and int(info.num_steps) == 4
    x, info = solve(A, 0 * b, method=method)
    assert int(info.status) == CONVERGED and not x.any()
    _, info = solve(A, b, method=method, rtol=1e-19)
    assert int(info.status) in (STAGNATION, MAX_STEPS) and float(info.relative_residual) < 1e-13


@pytest.mark.parametrize("method", ["cg", "bicgstab", "idr"])
def test_members_of_a_batch_do_not_touch_each_other(method):
    A, b = system("float64", True, 8)
    batch = jnp.stack([A, A.at[2, 3].set(jnp.nan), -0.0 * A, jnp.eye(8), A + 3 * jnp.eye(8)])
    x, info = jax.vmap(lambda M: solve(M, b, method=method))(batch)
    assert [int(s) == CONVERGED for s in info.status] == [True, False, False, True, True]
    assert int(info.status[1]) == NONFINITE
    for i in (0, 3, 4):
        alone, _ = solve(batch[i], b, method=method)
        np.testing.assert_allclose(x[i], alone, rtol=1e-6)


def convection_diffusion(n=24, c=20.0):
    half = c / (n + 1) / 2
    line = sp.diags_array([-1 - half, 2.0, -1 + half], offsets=[-1, 0, 1], shape=(n, n))
    eye = sp.eye_array(n)
    return sp.csr_matrix(sp.kron(eye, line) + sp.kron(line, eye))


def scipy_products(name, A, b, **options):
    count = 0

    def product(v):
        nonlocal count
        count += 1
        return A @ v

    operator = scipy.sparse.linalg.LinearOperator(A.shape, product, dtype=float)
    getattr(scipy.sparse.linalg, name)(operator, b, rtol=1e-8, atol=0.0, maxiter=500, **options)
    return count


def test_as_many_products_as_scipy():
    A = convection_diffusion()
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    ours = {}
    for name in ("bicgstab", "idr", "gmres"):
        matrix = SparseMatrix.from_scipy(A)
        x, info = jax.jit(lambda m, f: ALL[f](lambda v: m @ v, b, rtol=1e-8), static_argnums=1)(matrix, name)
        assert np.linalg.norm(b - A @ x) <= 1.01e-8 * np.linalg.norm(b)
        ours[name] = int(info.num_steps)
    assert abs(ours["gmres"] - scipy_products("gmres", A, b, restart=30)) <= 6  # SciPy counts its residuals
    assert ours["bicgstab"] <= 1.1 * scipy_products("bicgstab", A, b)
    assert ours["idr"] <= ours["bicgstab"]
    definite = convection_diffusion(c=0.0)
    matrix = SparseMatrix.from_scipy(definite)
    _, info = jax.jit(lambda m: cg(lambda v: m @ v, b, rtol=1e-8))(matrix)
    assert abs(int(info.num_steps) - scipy_products("cg", definite, b)) <= 1


@pytest.mark.parametrize("method", ["cg", "bicgstab", "idr"])
def test_lowers_for_cuda(method):
    def f(b):
        return ALL[method](lambda v: 2 * v - jnp.roll(v, 1), b, precondition=lambda v: v / 2)

    text = jax.jit(f).trace(jnp.ones(50)).lower(lowering_platforms=("cuda",)).as_text()
    assert "while" in text and "callback" not in text
