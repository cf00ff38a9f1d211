"""Steps without a stored Jacobian: same answers, nothing of its size in the program, chosen where it has to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr

from sparsesolve import clear_caches, gallery
from sparsesolve.least_squares import Dogleg, LevenbergMarquardt, Loss, covariance, least_squares
from sparsesolve.least_squares.iteration import _formation
from sparsesolve.least_squares.linear_step._choose_linear import choose_damped_solver
from sparsesolve.pattern import SparsityPattern

LSMR, CGLS = LevenbergMarquardt(linear_solver="lsmr"), LevenbergMarquardt(linear_solver="cgls")
N = 120
TARGET = jnp.sin(jnp.linspace(0.0, 6.0, N))


def smooth(y, target):
    return {"fit": y - target, "slope": 2.0 * (y[1:] - y[:-1]) * (1 + y[1:] ** 2)}


def largest_array(function, *args):
    """Elements of the largest floating array that the compiled program of a call computes, loops included."""

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            for variable in equation.outvars:
                if jnp.issubdtype(variable.aval.dtype, jnp.floating):
                    yield int(np.prod(variable.aval.shape))
            for value in jax.tree.leaves(equation.params, is_leaf=lambda x: isinstance(x, Jaxpr | ClosedJaxpr)):
                if isinstance(value, ClosedJaxpr):
                    yield from walk(value.jaxpr)
                elif isinstance(value, Jaxpr):
                    yield from walk(value)

    return max(walk(jax.make_jaxpr(function)(*args).jaxpr))


@pytest.mark.parametrize("solver", [LSMR, CGLS, Dogleg(linear_solver="lsmr")], ids=["lsmr", "cgls", "dogleg"])
def test_the_minimum_is_the_same(solver):
    exact = least_squares(smooth, None, jnp.zeros(N), TARGET)
    sol = least_squares(smooth, solver, jnp.zeros(N), TARGET)
    np.testing.assert_allclose(sol.value, exact.value, rtol=1e-7, atol=1e-9)
    assert (int(sol.stats["nnz"]), int(sol.stats["num_colors"]), int(sol.stats["num_factorizations"])) == (0, 0, 0)
    assert int(sol.stats["num_linear_iterations"]) > int(sol.stats["num_steps"])
    assert int(sol.stats["num_steps"]) <= 2 * int(exact.stats["num_steps"]) + 4


def test_bounds_and_losses_of_blocks():
    loss = {"fit": Loss("cauchy", 1.0, block=2), "slope": None}
    options = {"loss": loss, "bounds": (-0.3, 0.5)}
    exact = least_squares(smooth, None, jnp.zeros(N), TARGET, **options)
    sol = least_squares(smooth, LSMR, jnp.zeros(N), TARGET, **options)
    assert float(sol.stats["cost"]) == pytest.approx(float(exact.stats["cost"]), rel=1e-10)
    np.testing.assert_allclose(sol.value, exact.value, atol=1e-6)


def test_steps_on_manifolds_are_products_too():
    def turned(y, target):
        return jnp.stack([jnp.cos(y) - target, jnp.sin(y) - target], axis=1)

    def turn(y, d):
        return jnp.mod(y + d, 2 * jnp.pi)

    sol = least_squares(turned, LSMR, jnp.full(60, 6.0), jnp.full(60, 0.5), retract=turn)
    np.testing.assert_allclose(sol.value, jnp.pi / 4, rtol=1e-9)


def test_the_program_holds_no_jacobian():
    problem = gallery.spectral_peaks(60, noise=0.02)  # a residual has few, overlapping peaks: nnz is several m

    def solve(solver):
        return lambda y0, args: least_squares(problem.residual, solver, y0, args, throw=False).value

    stored = LevenbergMarquardt(linear_solver="cholesky")
    nnz = int(least_squares(problem.residual, stored, problem.y0, problem.args).stats["nnz"])
    assert largest_array(solve(stored), problem.y0, problem.args) >= nnz
    m = problem.args["y"].size
    assert nnz > 3 * m

    n = 3000

    def blurred(y, target):  # a full Jacobian of 9 million entries, by FFT
        return jnp.fft.irfft(jnp.fft.rfft(jnp.tanh(y)) * jnp.exp(-0.1 * jnp.arange(n // 2 + 1)), n) - target + 0.3 * y

    def solve_blurred(y0, target):
        return least_squares(blurred, LSMR, y0, target, throw=False).value

    assert largest_array(solve_blurred, jnp.zeros(n), jnp.ones(n)) <= 32 * n


def test_large_full_jacobians_are_not_stored():
    n = 6000
    kernel = 1 / (1 + jnp.arange(n // 2 + 1) ** 2)
    wanted = jnp.sin(jnp.arange(n) / 50.0)

    def blur(y):
        return jnp.fft.irfft(jnp.fft.rfft(y) * kernel, n)

    def residual(y, data):
        return {"data": blur(y + 0.1 * y**3) - data, "prior": 0.3 * y}

    data = blur(wanted + 0.1 * wanted**3)
    sol = least_squares(residual, None, jnp.zeros(n), data)
    assert sol.state.problem.linear.name.startswith("LSMR") and int(sol.stats["nnz"]) == 0
    gradient = jax.grad(lambda y: 0.5 * sum(jnp.sum(r**2) for r in residual(y, data).values()))
    assert float(jnp.linalg.norm(gradient(sol.value))) <= 1e-8 * float(jnp.linalg.norm(gradient(jnp.zeros(n))))


def test_jacobians_beyond_the_memory_are_not_stored(monkeypatch):
    def residual(y, target):
        return smooth(y, target)

    assert int(least_squares(residual, None, jnp.zeros(N), TARGET).stats["nnz"]) == 3 * N - 2
    clear_caches()
    monkeypatch.setattr(_formation, "physical_memory", lambda: 96 * 200)
    sol = least_squares(residual, None, jnp.zeros(N), TARGET)
    assert sol.state.problem.linear.name.startswith("LSMR")
    clear_caches()


def test_conjugate_gradients_where_one_residual_couples_everything():
    n = 10_500

    def residual(y, target):
        return {"fit": jnp.exp(y) - target, "sum": 0.01 * (jnp.sum(y) - 1.0)}

    sol = least_squares(residual, None, jnp.zeros(n), jnp.linspace(0.5, 2.0, n))
    assert sol.state.problem.linear.name == "conjugate gradients"
    gradient = jax.grad(lambda y: sum(jnp.sum(r**2) for r in residual(y, jnp.linspace(0.5, 2.0, n)).values()))(
        sol.value
    )
    assert float(jnp.max(jnp.abs(gradient))) < 1e-8
    rows = np.concatenate([np.arange(200), np.full(200, 200)])
    narrow = SparsityPattern.from_coo(rows, np.tile(np.arange(200), 2), (201, 200))
    assert choose_damped_solver(narrow).name != "conjugate gradients"


CASES = [("cholesky", "full"), ("schur", "gauss_newton"), ("cg", "full"), ("lsmr", "full"), ("cgls", "gauss_newton")]


@pytest.mark.parametrize(("method", "hessian"), CASES)
def test_derivatives_with_respect_to_data(method, hessian):
    n = 60
    target = 0.3 * jnp.sin(jnp.linspace(0.0, 6.0, n))

    def fit(target, solver, kind):
        return least_squares(smooth, solver, jnp.zeros(n), target, hessian=kind).value

    direction = jnp.cos(jnp.arange(n))
    solver = LevenbergMarquardt(linear_solver=method)

    def gradient(y, t):
        return jax.grad(lambda y: 0.5 * sum(jnp.sum(r**2) for r in smooth(y, t).values()))(y)

    y = fit(target, None, "full")
    J = jnp.concatenate(list(jax.jacobian(smooth)(y, target).values()))
    H = jax.jacobian(gradient)(y, target) if hessian == "full" else J.T @ J
    exact = jnp.linalg.solve(H, direction)  # the gradient depends on the data by minus the identity
    back = jax.grad(lambda t: fit(t, solver, hessian) @ direction)(target)
    np.testing.assert_allclose(back, exact, rtol=1e-6, atol=1e-7)


def test_covariances_of_fits_without_a_jacobian():
    x = jnp.linspace(0.0, 1.0, 40)

    def line(y, data):
        return y["a"] + y["b"] * x - data

    start, data = {"a": 0.0, "b": 0.0}, jnp.sin(9 * x)
    exact = covariance(least_squares(line, None, start, data))
    np.testing.assert_allclose(covariance(least_squares(line, LSMR, start, data)), exact, rtol=1e-6)
