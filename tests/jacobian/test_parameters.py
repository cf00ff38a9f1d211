"""Weights that depend on other arguments, dtypes and configuration that change after preparation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.coloring import color
from sparsesolve.jacobian import jacobian
from tests.jacobian.problems import laplacian, normal
from tests.jacobian.test_values import assert_close


def diffusion(u, args):
    return args["nu"] / args["h"] ** 2 * laplacian(u) + jnp.exp(args["rate"] * u) - args["source"]


ARGS = {"nu": 0.3, "h": jnp.asarray(0.1), "rate": jnp.asarray(1.5), "source": normal(4, 5)}
U = normal(4, 5)


def reference(u, args):
    return np.asarray(jax.jacfwd(diffusion)(u, args)).reshape(20, 20)


def test_run_time_weights_are_peeled_and_follow_the_arguments():
    jac = jacobian(diffusion, U, ARGS)
    assert jac.num_colors == 1
    for nu in (0.3, jnp.asarray(2.0)):
        args = {**ARGS, "nu": nu}
        assert_close(jac(U, args).todense(), reference(U, args))
        _, matrix = jac.evaluate(U, args, invariants=jac.invariants(U, args))
        assert_close(matrix.todense(), reference(U, args))


def test_a_single_call_differentiates_the_whole_function_where_constant_entries_depend_on_parameters():
    jac = jacobian(diffusion, U, ARGS)
    assert jac._first.evaluation.plan.coloring.num_colors == 1
    assert jac._first.single.plan.coloring.num_colors == color(jac.pattern).num_colors == 7
    fixed = jacobian(lambda u: laplacian(u) + u**2, U)
    assert fixed._first.single is fixed._first.evaluation


def test_invariants_hold_constant_entries_and_only_used_parameters():
    jac = jacobian(diffusion, U, ARGS)
    invariants = jac.invariants(U, ARGS)
    assert invariants.constant is not None and invariants.constant.shape == (jac.pattern.nnz,)
    value, matrix = jac.evaluate(U, ARGS, invariants=invariants)
    assert_close(value, diffusion(U, ARGS))
    assert_close(matrix.todense(), reference(U, ARGS))


def test_evaluation_with_invariants_does_not_differentiate_the_linear_part():
    jac = jacobian(diffusion, U, ARGS, verify=False)
    invariants = jac.invariants(U, ARGS)

    def count(fn, *args):
        return str(jax.make_jaxpr(fn)(*args)).count("concatenate")

    with_invariants = count(lambda u: jac.evaluate(u, ARGS, invariants=invariants)[1].data, U)
    assert with_invariants == count(lambda u: diffusion(u, ARGS), U)


def test_known_weights_leave_nothing_to_compute():
    jac = jacobian(lambda u: 3.0 * laplacian(u) + u**2, U)
    invariants = jac.invariants(U)
    assert jax.tree.leaves(invariants) == []


def test_known_linear_function_is_constant():
    jac = jacobian(lambda u: 3.0 * laplacian(u), U)
    assert jac.num_colors == 0
    assert_close(jac(U).todense(), np.asarray(jax.jacfwd(lambda u: 3.0 * laplacian(u))(U)).reshape(20, 20))


def test_linear_function_with_parameters():
    def f(u, p):
        return p[:-1] * u[1:] - p[1:] * u[:-1]

    p = normal(6)
    jac = jacobian(f, normal(6), p)
    assert jac.num_colors == 0
    assert_close(jac(normal(6), p).todense(), jax.jacfwd(f)(normal(6), p))
    gradient = jax.grad(lambda p: jnp.sum(jac(normal(6), p).data ** 2))(p)
    assert_close(gradient, jax.grad(lambda p: jnp.sum(jax.jacfwd(f)(jnp.zeros(6), p) ** 2))(p))


def test_closed_over_tracers_stay_run_time_values():
    def solve(nu):
        jac = jacobian(lambda u: nu * laplacian(u) + u**2, U)
        assert jac.num_colors == 1
        return jac.evaluate(U, invariants=jac.invariants(U))[1].todense()

    for nu in (0.5, 2.0):
        exact = jax.jacfwd(lambda u, nu=nu: nu * laplacian(u) + u**2)(U)
        assert_close(jax.jit(solve)(jnp.asarray(nu)), np.asarray(exact).reshape(20, 20))


def test_another_dtype_at_call_time():
    u32, args32 = U.astype(jnp.float32), jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), ARGS)
    jac = jacobian(diffusion, u32, args32)
    assert jac(u32, args32).data.dtype == jnp.float32
    matrix = jac(U, ARGS)
    assert matrix.data.dtype == jnp.float64
    assert_close(matrix.todense(), reference(U, ARGS))


def test_static_arguments_are_part_of_the_plan():
    def f(u, power, act):
        return act(u) ** power + jnp.roll(u, 1)

    u = jnp.abs(normal(5))
    jac = jacobian(f, u, 2, jnp.sin)
    for power, act in ((2, jnp.sin), (3, jnp.sin), (2, jnp.cos)):
        assert_close(jac(u, power, act).todense(), jax.jacfwd(lambda u, p=power, a=act: f(u, p, a))(u))


def test_static_argument_that_widens_the_pattern():
    def f(u, shift):
        return u**2 + jnp.roll(u, shift)

    u = normal(6)
    jac = jacobian(f, u, 1)
    with pytest.raises(ValueError, match="other static arguments"):
        jac(u, 2)


@pytest.mark.parametrize("argnums", [1, -1, (0, 2), (2, 0)])
def test_argnums(argnums):
    args = (normal(4), {"a": normal(4)}, normal(4))

    def f(x, y, z):
        return x * z[::-1] + y["a"] ** 2 + jnp.roll(x * y["a"], 1)

    blocks = jax.jacfwd(f, argnums=argnums)(*args)
    dense = np.concatenate([np.asarray(b) for b in jax.tree.leaves(blocks)], axis=1)
    assert_close(jacobian(f, *args, argnums=argnums)(*args).todense(), dense)


def test_auxiliary_output():
    def f(u, p):
        return p * u**2, {"sum": jnp.sum(u), "p": p, "name": 3.0}

    u, p = normal(4), jnp.asarray(2.0)
    jac = jacobian(f, u, p, has_aux=True)
    matrix, aux = jac(u, p)
    (value, aux_too), matrix_too = jac.value_and_jacobian(u, p)
    assert_close(value, f(u, p)[0])
    assert_close(matrix.todense(), np.diag(4.0 * u))
    assert_close(matrix_too.todense(), np.diag(4.0 * u))
    assert_close(aux["sum"], np.sum(u))
    assert aux_too["p"] == 2.0 and aux["name"] == 3.0
