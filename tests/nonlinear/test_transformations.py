"""The root as a differentiable function: every mode, order and nesting, against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.nonlinear import root_find
from tests.nonlinear.problems import COUPLED_ARGS, COUPLED_Y0, bratu, coupled

N = 8
Y0 = jnp.zeros(N)


def peak(lam):
    return jnp.sum(root_find(bratu, None, Y0, lam).value ** 2)


def _slope(f, x, h=1e-5):
    return (f(x + h) - f(x - h)) / (2 * h)


SLOPE = _slope(peak, 1.0)


def test_first_derivatives():
    x = jnp.asarray(1.0)
    np.testing.assert_allclose(jax.grad(peak)(x), SLOPE, rtol=1e-7)
    np.testing.assert_allclose(jax.jit(jax.grad(peak))(x), SLOPE, rtol=1e-7)
    np.testing.assert_allclose(jax.jvp(peak, (x,), (jnp.ones_like(x),))[1], SLOPE, rtol=1e-7)


def test_vjp_of_a_pytree():
    def root(args):
        return root_find(coupled, None, COUPLED_Y0, args).value

    value, pull = jax.vjp(root, COUPLED_ARGS)
    (gradient,) = pull(jax.tree.map(jnp.ones_like, value))
    total = jax.jit(lambda b: sum(jnp.sum(v) for v in jax.tree.leaves(root({**COUPLED_ARGS, "b": b}))))
    np.testing.assert_allclose(gradient["b"], _slope(total, COUPLED_ARGS["b"]), rtol=1e-7)


def test_second_derivatives():
    exact = _slope(jax.jit(jax.grad(peak)), jnp.asarray(1.0))
    hessians = jax.hessian(peak), jax.jacrev(jax.grad(peak)), jax.jacfwd(jax.jacfwd(peak))
    all_at_once = jax.jit(lambda x: jnp.stack([hessian(x) for hessian in hessians]))
    np.testing.assert_allclose(all_at_once(jnp.asarray(1.0)), exact, rtol=1e-6)


def test_lanes_that_need_different_numbers_of_steps():
    lams = jnp.array([1e-4, 1.0, 3.0])
    sol = jax.jit(jax.vmap(lambda lam: root_find(bratu, None, Y0, lam)))(lams)
    alone = [root_find(bratu, None, Y0, lam) for lam in lams]
    np.testing.assert_array_equal(sol.stats["num_steps"], [int(s.stats["num_steps"]) for s in alone])
    assert len(set(np.asarray(sol.stats["num_steps"]).tolist())) == 3
    np.testing.assert_allclose(sol.value, jnp.stack([s.value for s in alone]), rtol=1e-12)
    gradients = jax.jit(jax.vmap(jax.grad(peak)))(lams)
    np.testing.assert_allclose(gradients[1], SLOPE, rtol=1e-7)


def test_vmap_over_initial_guesses():
    starts = jnp.stack([jnp.zeros(N), jnp.full(N, 0.1)])
    roots = jax.vmap(lambda y0: root_find(bratu, None, y0, 1.0).value)(starts)
    np.testing.assert_allclose(roots[0], roots[1], rtol=1e-12)


def test_the_root_does_not_depend_on_the_guess():
    gradient = jax.grad(lambda y0: jnp.sum(root_find(bratu, None, y0, 1.0).value))(Y0)
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("jit", [False, True])
def test_closed_over_values_get_gradients(jit):
    def loss(lam):
        return jnp.sum(root_find(lambda u, _: bratu(u, lam), None, Y0).value ** 2)

    gradient = (jax.jit if jit else (lambda f: f))(jax.grad(loss))
    np.testing.assert_allclose(gradient(jnp.asarray(1.0)), SLOPE, rtol=1e-7)


def test_checkpoint_and_scan():
    def loss(lam):
        def body(y, _):
            # Each solve starts from the last root: continuation in disguise.
            root = jax.checkpoint(lambda y, lam: root_find(bratu, None, y, lam).value)(y, lam)
            return root, jnp.sum(root**2)

        return jnp.sum(jax.lax.scan(body, Y0, None, length=2)[1])

    np.testing.assert_allclose(jax.jit(jax.grad(loss))(jnp.asarray(1.0)), 2 * SLOPE, rtol=1e-7)


def test_integer_and_static_arguments():
    def fn(u, args):
        return bratu(u, args["lam"]) * args["sign"] + 0.0 * args["index"][0]

    def loss(lam):
        args = {"lam": lam, "sign": -1, "index": jnp.array([3, 4])}
        return jnp.sum(root_find(fn, None, Y0, args).value ** 2)

    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(1.0)), SLOPE, rtol=1e-7)


def test_complex_gradient():
    def loss(a):
        return jnp.abs(root_find(lambda z, a: z**3 - a, None, jnp.array([1.0 + 0.5j]), a).value[0]) ** 2

    np.testing.assert_allclose(
        jax.grad(lambda r: loss(r * (1 + 1j)))(1.0), _slope(lambda r: loss(r * (1 + 1j)), 1.0), rtol=1e-7
    )
