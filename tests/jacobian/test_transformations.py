"""A prepared Jacobian is ordinary JAX code: jit, vmap, jvp, grad, scan and their nestings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.jacobian import jacobian
from tests.jacobian.problems import brusselator, finite_elements, normal
from tests.jacobian.test_values import assert_close, dense_jacobian


def f(u, p):
    return p["nu"] * (jnp.roll(u, 1) - 2 * u + jnp.roll(u, -1)) + p["k"] * u**3 + jnp.sin(u * jnp.roll(u, 1))


U = normal(7)
P = {"nu": jnp.asarray(0.3), "k": normal(7)}


def dense(u, p):
    return jax.jacfwd(f)(u, p)


class InASolve:
    """Calls a prepared Jacobian as a solver does, with the invariants computed apart."""

    def __init__(self, jac):
        self._jac = jac
        self.pattern = jac.pattern

    def __call__(self, *args):
        return self._jac.evaluate(*args, invariants=self._jac.invariants(*args))[1]


@pytest.fixture(scope="module", params=["in a solve", "one call", "whole"])
def jac(request):
    prepared = jacobian(f, U, P, peel=request.param != "whole")
    return InASolve(prepared) if request.param == "in a solve" else prepared


def test_jit(jac):
    assert_close(jax.jit(lambda u, p: jac(u, p).todense())(U, P), dense(U, P))


def test_vmap_over_unknowns_and_parameters(jac):
    us, ks = normal(3, 7), normal(3, 7)
    ps = {"nu": P["nu"], "k": ks}
    axes = {"nu": None, "k": 0}
    batched = jax.vmap(lambda u, p: jac(u, p).todense(), in_axes=(0, axes))(us, ps)
    assert_close(batched, jax.vmap(dense, in_axes=(0, axes))(us, ps))
    only_parameters = jax.jit(jax.vmap(lambda k: jac(U, {"nu": P["nu"], "k": k}).todense()))(ks)
    assert_close(only_parameters, jax.vmap(lambda k: dense(U, {"nu": P["nu"], "k": k}))(ks))


def test_vmap_returns_a_batched_matrix(jac):
    assert jax.vmap(lambda u: jac(u, P))(normal(3, 7)).data.shape == (3, jac.pattern.nnz)


def test_jvp_through_the_values(jac):
    tangents = (normal(7), {"nu": jnp.asarray(1.0), "k": normal(7)})
    ours = jax.jvp(lambda u, p: jac(u, p).todense(), (U, P), tangents)
    exact = jax.jvp(dense, (U, P), tangents)
    assert_close(ours[0], exact[0])
    assert_close(ours[1], exact[1])


def test_grad_with_respect_to_unknowns_and_parameters(jac):
    weights = normal(7, 7)
    ours = jax.grad(lambda u, p: jnp.sum(jac(u, p).todense() * weights), argnums=(0, 1))(U, P)
    exact = jax.grad(lambda u, p: jnp.sum(dense(u, p) * weights), argnums=(0, 1))(U, P)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(exact), strict=True):
        assert_close(a, b)


def test_hessian_of_the_values(jac):
    weights = normal(7, 7)
    ours = jax.hessian(lambda u: jnp.sum(jac(u, P).todense() * weights))(U)
    assert_close(ours, jax.hessian(lambda u: jnp.sum(dense(u, P) * weights))(U))


def test_vmap_of_grad_of_jit(jac):
    us = normal(2, 7)
    ours = jax.vmap(jax.grad(lambda u: jnp.sum(jax.jit(jac)(u, P).data ** 2)))(us)
    assert_close(ours, jax.vmap(jax.grad(lambda u: jnp.sum(dense(u, P) ** 2)))(us))


def test_prepared_inside_transformations():
    """Preparation only needs shapes, so it works on tracers and on functions that close over them."""

    def norm(u, nu):
        def inner(v):
            return nu * (jnp.roll(v, 1) - v) + v**2

        return jnp.sum(jacobian(inner, u)(u).data ** 2)

    def exact(u, nu):
        return jnp.sum(jax.jacfwd(lambda v: nu * (jnp.roll(v, 1) - v) + v**2)(u) ** 2)

    nu = jnp.asarray(0.7)
    assert_close(jax.jit(norm)(U, nu), exact(U, nu))
    assert_close(jax.grad(norm, argnums=1)(U, nu), jax.grad(exact, argnums=1)(U, nu))
    assert_close(jax.jit(jax.vmap(norm, in_axes=(None, 0)))(U, normal(3)).shape, np.asarray((3,)))
    nus = normal(3)
    assert_close(jax.vmap(jax.grad(norm))(jnp.tile(U, (3, 1)), nus), jax.vmap(jax.grad(exact), (None, 0))(U, nus))


def test_inside_a_loop_with_invariants():
    jac = jacobian(f, U, P)

    def iterate(u, p):
        invariants = jac.invariants(u, p)

        def step(u, _):
            value, matrix = jac.evaluate(u, p, invariants=invariants)
            return u - 0.05 * (matrix @ value), matrix.data.sum()

        return jax.lax.scan(step, u, None, length=3)

    def reference(u, p):
        for _ in range(3):
            u = u - 0.05 * (dense(u, p) @ f(u, p))
        return u

    assert_close(jax.jit(iterate)(U, P)[0], reference(U, P))
    ours = jax.grad(lambda u, p: iterate(u, p)[0].sum(), argnums=1)(U, P)
    exact = jax.grad(lambda u, p: reference(u, p).sum(), argnums=1)(U, P)
    assert_close(ours["nu"], exact["nu"], 1e-13)
    assert_close(ours["k"], exact["k"], 1e-13)


def test_eager_call_while_an_outer_function_is_traced():
    """Concrete arguments inside an outer trace: preparation, verification and evaluation still work."""
    y = normal(2, 3, 4)

    @jax.jit
    def outer(scale):
        jac = jacobian(brusselator, y)
        return jac(y).todense() * scale

    assert_close(outer(2.0), 2 * dense_jacobian(brusselator, y))


def test_shape_structs_suffice():
    jac = jacobian(finite_elements, jax.ShapeDtypeStruct((40,), jnp.float64))
    u = normal(40)
    assert_close(jac(u).todense(), dense_jacobian(finite_elements, u))
