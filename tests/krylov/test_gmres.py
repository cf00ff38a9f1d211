"""GMRES: steps it must take, failures it must admit, and members of a batch that do not touch each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.krylov import BREAKDOWN, CONVERGED, MAX_STEPS, NONFINITE, STAGNATION, gmres

RTOL = {"float32": 1e-4, "complex64": 1e-4, "float64": 1e-11, "complex128": 1e-11}


def random_system(dtype, n=24):
    rng = np.random.default_rng(5)
    dense = rng.standard_normal((n, n)) + 6 * np.eye(n)
    b = rng.standard_normal(n)
    if np.issubdtype(dtype, np.complexfloating):
        dense = dense + 1j * rng.standard_normal((n, n))
        b = b + 1j * rng.standard_normal(n)
    return jnp.asarray(dense.astype(dtype)), jnp.asarray(b.astype(dtype))


def relative_residual(A, x, b):
    return float(jnp.linalg.norm(b - A @ x) / jnp.linalg.norm(b))


@pytest.mark.parametrize(("dtype", "restart"), [("float32", 7), ("complex64", 24), ("float64", 24), ("complex128", 7)])
def test_dtypes_with_and_without_restarts(dtype, restart):
    A, b = random_system(dtype)
    diagonal = jnp.diagonal(A)
    x, info = jax.jit(
        lambda b: gmres(lambda v: A @ v, b, precondition=lambda v: v / diagonal, rtol=RTOL[dtype], restart=restart)
    )(b)
    assert x.dtype == dtype and int(info.status) == CONVERGED
    assert relative_residual(A, x, b) <= RTOL[dtype] * 1.01
    np.testing.assert_allclose(info.relative_residual, relative_residual(A, x, b), rtol=1e-2, atol=1e-15)


@pytest.mark.parametrize("distinct", [1, 2, 5])
def test_as_many_steps_as_distinct_eigenvalues(distinct):
    values = jnp.asarray(np.resize(np.arange(1.0, distinct + 1), 30))
    x, info = gmres(lambda v: values * v, jnp.ones(30), rtol=1e-12)
    assert int(info.num_steps) == distinct
    np.testing.assert_allclose(x, 1 / values, rtol=1e-12)


def test_an_exact_preconditioner_needs_one_step():
    A, b = random_system("float64")
    inverse = jnp.linalg.inv(A)
    _, info = gmres(lambda v: A @ v, b, precondition=lambda v: inverse @ v, rtol=1e-10)
    assert int(info.num_steps) == 1


def test_a_cyclic_shift_needs_all_steps_and_stagnates_before():
    def shift(v):
        return jnp.roll(v, 1)

    e = jnp.zeros(12).at[0].set(1.0)
    x, info = gmres(shift, e, restart=12)
    assert (int(info.num_steps), int(info.status)) == (12, CONVERGED)
    np.testing.assert_allclose(x, jnp.roll(e, -1), atol=1e-15)
    x, info = gmres(shift, e, restart=5)
    assert int(info.status) == STAGNATION and int(info.num_steps) == 10
    assert float(info.relative_residual) == 1.0


def test_ways_to_fail_are_told():
    singular = jnp.diag(jnp.array([1.0, 2.0, 0.0, 3.0]))
    x, info = gmres(lambda v: singular @ v, jnp.ones(4))
    assert int(info.status) == BREAKDOWN and float(info.relative_residual) == pytest.approx(0.5)
    x, info = gmres(lambda v: singular @ v, jnp.array([1.0, 1.0, 0.0, 1.0]))
    assert int(info.status) == CONVERGED  # the right-hand side lies in the range
    _, info = gmres(lambda v: 0.0 * v, jnp.ones(4))
    assert int(info.status) == BREAKDOWN
    x, info = gmres(lambda v: jnp.nan * v, jnp.ones(4))
    assert int(info.status) == NONFINITE and bool(jnp.all(jnp.isfinite(x)))
    A, b = random_system("float64")
    _, info = gmres(lambda v: A @ v, b, max_steps=3)
    assert int(info.status) == MAX_STEPS and int(info.num_steps) == 3


def test_a_tolerance_below_rounding_ends_in_stagnation_at_the_floor():
    A, b = random_system("float64")
    _, info = gmres(lambda v: A @ v, b, rtol=1e-19)
    assert int(info.status) == STAGNATION and float(info.relative_residual) < 1e-15


def test_zero_and_tiny_right_hand_sides_and_first_guesses():
    A, b = random_system("float64")
    x, info = gmres(lambda v: A @ v, 0 * b, b)
    assert int(info.status) == CONVERGED and int(info.num_steps) == 0 and not x.any()
    big, _ = gmres(lambda v: A @ v, b)
    for size in (1e-290, 1e290):
        x, info = gmres(lambda v: A @ v, size * b)
        assert int(info.status) == CONVERGED
        np.testing.assert_allclose(x, size * big, rtol=1e-12)
    x, info = gmres(lambda v: A @ v, b, jnp.linalg.solve(A, b))
    assert int(info.num_steps) == 0
    _, info = gmres(lambda v: A @ v, b, atol=float(jnp.linalg.norm(b)) * 0.1, rtol=0.0)
    assert int(info.status) == CONVERGED and 1e-4 < float(info.relative_residual) <= 0.1


def test_members_of_a_batch_do_not_touch_each_other():
    A, b = random_system("float64", 8)
    batch = jnp.stack([A, A.at[2, 3].set(jnp.nan), 0 * A, jnp.eye(8), A.T])

    def solve(M):
        return gmres(lambda v: M @ v, b, restart=4, rtol=1e-10)

    x, info = jax.jit(jax.vmap(solve))(batch)
    np.testing.assert_array_equal(info.status, [CONVERGED, NONFINITE, BREAKDOWN, CONVERGED, CONVERGED])
    for i in (0, 3, 4):
        alone, alone_info = solve(batch[i])
        np.testing.assert_allclose(x[i], alone, rtol=1e-9)
        assert int(info.num_steps[i]) == int(alone_info.num_steps)


def test_lowers_for_cuda():
    def f(b):
        return gmres(lambda v: 2 * v - jnp.roll(v, 1), b, precondition=lambda v: v / 2)

    text = jax.jit(f).trace(jnp.ones(50)).lower(lowering_platforms=("cuda",)).as_text()
    assert "while" in text and "callback" not in text
