"""LSMR against dense solutions: plain, damped, rank-deficient, and its monotone gradient."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.krylov import lsmr

rng = np.random.default_rng(0)
A = jnp.asarray(rng.standard_normal((30, 12)) * np.logspace(0, -2, 12))
B = jnp.asarray(rng.standard_normal(30))


def solve(A, b, **options):
    return lsmr(lambda x: A @ x, lambda y: y @ A, b, **options)


@pytest.mark.parametrize("damp", [0.0, 0.3])
def test_least_squares_with_and_without_damping(damp):
    x, info = jax.jit(lambda b: solve(A, b, damp=damp, rtol=1e-13))(B)
    exact = jnp.linalg.solve(A.T @ A + damp**2 * jnp.eye(12), A.T @ B)
    assert bool(info.converged)
    np.testing.assert_allclose(x, exact, rtol=1e-8, atol=1e-9)


def test_the_gradient_falls_in_every_step_and_is_what_the_recurrences_say():
    found = [solve(A, B, damp=0.1, rtol=0.0, max_steps=k) for k in range(1, 9)]
    gradients = [float(jnp.linalg.norm((B - A @ x) @ A - 0.01 * x) / jnp.linalg.norm(B @ A)) for x, _ in found]
    assert all(b < a for a, b in itertools.pairwise(gradients))
    np.testing.assert_allclose([float(info.reduction) for _, info in found], gradients, rtol=1e-6)


def test_rank_deficient_matrices_get_the_shortest_solution():
    left, right = A[:, :3], jnp.asarray(rng.standard_normal((3, 12)))
    x, info = solve(left @ right, B, rtol=1e-12)
    assert int(info.num_steps) <= 6
    np.testing.assert_allclose(x, jnp.linalg.pinv(left @ right) @ B, rtol=1e-7, atol=1e-9)


def test_nothing_to_do():
    x, info = solve(A, jnp.zeros(30))
    assert int(info.num_steps) == 0 and bool(info.converged)
    np.testing.assert_array_equal(x, 0.0)


def test_batches_of_right_hand_sides():
    many = jnp.stack([B, 2 * B, jnp.zeros(30)])
    x, _ = jax.vmap(lambda b: solve(A, b, rtol=1e-10))(many)
    np.testing.assert_allclose(x[1], 2 * x[0], rtol=1e-7)
    np.testing.assert_array_equal(x[2], 0.0)
