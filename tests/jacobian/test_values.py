"""Values agree with `jax.jacfwd` to rounding, peeled and whole; colours of the cores are as few as they can be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.jacobian import jacobian
from tests.jacobian.problems import CASES, bratu, brusselator, finite_elements, normal


def dense_jacobian(f, x):
    """Rows are raveled outputs, columns raveled inputs, in `jax.tree` order."""
    flat, unravel = jax.flatten_util.ravel_pytree(x)
    return np.asarray(jax.jacfwd(lambda v: jax.flatten_util.ravel_pytree(f(unravel(v)))[0])(flat))


def assert_close(actual, expected, tolerance=1e-14):
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_peeled_jacobian_equals_jacfwd(case):
    jac = jacobian(case.f, case.x)
    assert_close(jac(case.x).todense(), dense_jacobian(case.f, case.x))
    assert jac.shape == dense_jacobian(case.f, case.x).shape
    if case.colors is not None:
        assert jac.num_colors == case.colors
    if case.peeled is not None:
        assert jac.is_peeled == case.peeled


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whole_jacobian_equals_jacfwd(case):
    jac = jacobian(case.f, case.x, peel=False, verify=False)
    assert not jac.is_peeled
    assert_close(jax.jit(jac)(case.x).todense(), dense_jacobian(case.f, case.x))


@pytest.mark.parametrize("chunk_size", [1, 2, 5, 100])
def test_chunks_of_colors_give_the_same_values(chunk_size):
    u = normal(6, 7)
    whole = jacobian(bratu, u, peel=False, verify=False)
    chunked = jacobian(bratu, u, peel=False, verify=False, chunk_size=chunk_size)
    assert whole.num_colors > 4
    assert_close(chunked(u).data, whole(u).data)


@pytest.mark.parametrize("f, shape", [(bratu, (5, 6)), (finite_elements, (40,))])
def test_single_precision(f, shape):
    u = normal(*shape).astype(jnp.float32)
    matrix = jacobian(f, u)(u)
    assert matrix.data.dtype == jax.eval_shape(f, u).dtype
    assert_close(matrix.todense(), dense_jacobian(f, u), 3e-6)


def test_complex_holomorphic():
    z = normal(6) + 1j * normal(6)

    def f(z):
        return z[1:] * z[:-1] + jnp.exp(z[1:]) + 2j * z[:-1]

    matrix = jacobian(f, z)(z)
    assert matrix.data.dtype == z.dtype
    assert_close(matrix.todense(), jax.jacfwd(f, holomorphic=True)(z))


def test_complex_results_of_real_unknowns():
    u = normal(6)

    def f(u):
        return jnp.exp(1j * u) * jnp.roll(u, 1)

    assert_close(jacobian(f, u)(u).todense(), jax.jacfwd(f)(u))


def test_a_real_transform_inside():
    u = normal(3, 8)

    def f(u):
        return jnp.fft.irfft(jnp.fft.rfft(u, axis=1) * 2.0, n=8, axis=1) + u**2

    assert_close(jacobian(f, u)(u).todense(), dense_jacobian(f, u))


def test_value_and_jacobian_returns_the_value():
    y = normal(2, 4, 5)
    value, matrix = jacobian(brusselator, y).value_and_jacobian(y)
    np.testing.assert_allclose(value, brusselator(y), rtol=1e-14)
    assert_close(matrix.todense(), dense_jacobian(brusselator, y))


def test_square_stores_the_diagonal():
    u = normal(6)
    jac = jacobian(lambda u: jnp.roll(u, 1) ** 2, u, square=True)
    assert jac.pattern.nnz == 12
    assert np.all(jac.pattern.diagonal_positions >= 0)
    assert_close(jac(u).todense(), dense_jacobian(lambda u: jnp.roll(u, 1) ** 2, u))


@pytest.mark.parametrize("f", [lambda u: jnp.zeros(3), lambda u: jnp.floor(u), lambda u: u[:0]])
def test_empty_jacobians(f):
    u = normal(4)
    assert_close(jacobian(f, u)(u).todense(), dense_jacobian(f, u))


def test_dense_sums_of_contributions():
    """A scalar unknown that enters every term of a sum: one entry with as many contributions as terms."""
    x = {"s": normal(), "u": normal(50)}

    def f(x):
        return {"r": x["u"] ** 2 * x["s"], "sum": jnp.sum(jnp.sin(x["u"] * x["s"]))}

    assert_close(jacobian(f, x)(x).todense(), dense_jacobian(f, x))


def test_peeled_evaluation_has_no_dense_matrix():
    u = normal(20, 21)
    jac = jacobian(bratu, u, verify=False)
    jaxpr = jax.make_jaxpr(lambda u: jac.value_and_jacobian(u))(u)
    largest = max(v.aval.size for eqn in _all_equations(jaxpr.jaxpr) for v in eqn.outvars)
    assert largest <= 2 * jac.pattern.nnz


def _all_equations(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        for sub in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda p: hasattr(p, "jaxpr")):
            if hasattr(sub, "jaxpr"):
                yield from _all_equations(sub.jaxpr)
