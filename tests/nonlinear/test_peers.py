"""Our parts inside optimistix and diffrax."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx

from sparsesolve.linear import AutoSparse
from sparsesolve.nonlinear import Newton, root_find
from tests.nonlinear.problems import COUPLED_ARGS, COUPLED_Y0, bratu, coupled, norm

Y0 = jnp.zeros(9)


def _reference(lam):
    return root_find(bratu, None, Y0, lam).value


def test_newton_is_an_optimistix_solver():
    sol = optx.root_find(bratu, Newton(), Y0, 1.0)
    np.testing.assert_allclose(sol.value, _reference(1.0), rtol=1e-12)
    assert int(sol.stats["num_factorizations"]) == int(sol.stats["num_steps"]) == 3
    assert sol.stats["num_colors"] == 1
    pytrees = optx.root_find(coupled, Newton(), COUPLED_Y0, COUPLED_ARGS)
    assert norm(coupled(pytrees.value, COUPLED_ARGS)) < 1e-14


def test_newton_returns_aux_under_optimistix():
    sol = optx.root_find(lambda y, a: (y**2 - a, {"twice": 2 * y}), Newton(), jnp.ones(2), 4.0, has_aux=True)
    np.testing.assert_allclose(sol.aux["twice"], 4.0, rtol=1e-9)


def test_newton_fails_in_optimistix_terms():
    sol = optx.root_find(lambda y, _: y**2 + 1.0, Newton(), jnp.array([3.0]), throw=False)
    assert bool(sol.result == optx.RESULTS.nonlinear_divergence)
    nan = optx.root_find(lambda y, _: jnp.log(y), Newton(), jnp.array([-1.0]), throw=False)
    assert bool(nan.result == optx.RESULTS.nonfinite)
    singular = optx.root_find(lambda y, _: y**2 - 1.0, Newton(), jnp.zeros(2), throw=False)
    assert bool(singular.result == optx.RESULTS.promote(lx.RESULTS.singular))


def test_auto_sparse_inside_optimistix_newton_with_gradient():
    solver = optx.Newton(1e-10, 1e-10, linear_solver=AutoSparse())
    adjoint = optx.ImplicitAdjoint(linear_solver=AutoSparse())

    def loss(lam):
        return jnp.sum(optx.root_find(bratu, solver, Y0, lam, adjoint=adjoint).value ** 2)

    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.asarray(1.0))
    expected, slope = jax.value_and_grad(lambda lam: jnp.sum(_reference(lam) ** 2))(1.0)
    np.testing.assert_allclose([value, gradient], [expected, slope], rtol=1e-9)


def test_our_newton_with_our_adjoint_under_vmap():
    adjoint = optx.ImplicitAdjoint(linear_solver=AutoSparse())

    def loss(lam):
        return jnp.sum(optx.root_find(bratu, Newton(), Y0, lam, adjoint=adjoint).value ** 2)

    lams = jnp.array([0.5, 1.0])
    ours = jax.jit(jax.vmap(jax.grad(loss)))(lams)
    expected = jax.jit(jax.vmap(jax.grad(lambda lam: jnp.sum(_reference(lam) ** 2))))(lams)
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


def test_auto_sparse_inside_diffrax():
    def heat(t, u, args):
        padded = jnp.pad(u, 1)
        return args * (padded[:-2] - 2 * u + padded[2:]) - u**3

    def solve(root_finder):
        solver = dfx.Kvaerno3(root_finder=root_finder)
        term = dfx.ODETerm(heat)
        control = dfx.PIDController(rtol=1e-6, atol=1e-8)
        y0 = jnp.sin(jnp.linspace(0.0, 3.0, 11))
        return dfx.diffeqsolve(term, solver, 0.0, 1.0, 0.01, y0, jnp.asarray(50.0), stepsize_controller=control)

    sparse = solve(dfx.VeryChord(rtol=1e-8, atol=1e-10, linear_solver=AutoSparse()))
    dense = solve(dfx.VeryChord(rtol=1e-8, atol=1e-10))
    np.testing.assert_allclose(sparse.ys, dense.ys, rtol=1e-7, atol=1e-12)
    assert int(sparse.stats["num_steps"]) == int(dense.stats["num_steps"])
