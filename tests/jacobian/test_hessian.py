"""Hessians by star colouring or peeled gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.jacobian import hessian
from tests.jacobian.problems import normal
from tests.jacobian.test_values import assert_close


def chain(u):
    return jnp.sum(100 * (u[1:] - u[:-1] ** 2) ** 2 + (1 - u[:-1]) ** 2)


def membrane(u):
    p = jnp.pad(u, 1)
    return jnp.sum(jnp.sqrt(1 + (p[1:, 1:] - p[:-1, 1:]) ** 2 + (p[1:, 1:] - p[1:, :-1]) ** 2))


def quadratic(u):
    return jnp.sum((u[1:] - u[:-1]) ** 2) - jnp.sum(u)


@pytest.mark.parametrize("peel", [True, False])
@pytest.mark.parametrize("f, shape", [(chain, (9,)), (membrane, (4, 5)), (quadratic, (7,))])
def test_hessian_equals_dense(f, shape, peel):
    u = normal(*shape)
    n = int(np.prod(shape))
    hess = hessian(f, u, peel=peel)
    assert_close(hess(u).todense(), np.asarray(jax.hessian(f)(u)).reshape(n, n))
    assert np.all(hess.pattern.diagonal_positions >= 0) and hess.pattern == hess.pattern.T


def test_colors():
    assert hessian(quadratic, normal(7)).num_colors == 0
    assert hessian(chain, normal(30), peel=False).coloring.partition == "symmetric"
    assert hessian(chain, normal(30), peel=False).num_colors == 3  # a path needs three for a star colouring


def test_pytree_and_parameters():
    x = {"a": normal(4), "b": normal(4)}

    def f(x, k):
        return jnp.sum(k * x["a"] ** 2 * x["b"]) + jnp.sum(jnp.cos(x["a"][1:] * x["b"][:-1]))

    flat, unravel = jax.flatten_util.ravel_pytree(x)
    exact = jax.hessian(lambda v, k: f(unravel(v), k))(flat, 2.0)
    hess = hessian(f, x, 2.0)
    assert_close(hess(x, 2.0).todense(), exact)
    gradient, _ = hess.value_and_jacobian(x, 2.0)
    assert_close(gradient["a"], jax.grad(f)(x, 2.0)["a"])
    assert_close(jax.jit(jax.vmap(lambda k: hess(x, k).todense()))(jnp.asarray([2.0, 3.0]))[0], exact)


def test_vector_functions_are_refused():
    with pytest.raises(TypeError, match="one real scalar"):
        hessian(lambda u: u**2, normal(3))


def test_complex_unknowns_are_refused():
    with pytest.raises(TypeError, match="real and imaginary parts"):
        hessian(lambda z: jnp.sum(jnp.abs(z) ** 2), normal(3) + 0j)
