"""Constraints, weights, losses and manifolds on problems with answers in closed form; use inside optimistix."""

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
import scipy.sparse

from sparsesolve.least_squares import Dogleg, GaussNewton, LevenbergMarquardt, Loss, least_squares


def misfit(y, target):
    return y - target


TARGET = jnp.array([1.0, 2.0, 3.0])


def test_equality_constraints_and_derivatives_in_their_right_hand_sides():
    A = np.array([[1.0, 1.0, 1.0]])

    def closest(b):
        return least_squares(misfit, None, jnp.zeros(3), TARGET, equality=(A, b)).value

    b = jnp.array([3.0])
    np.testing.assert_allclose(closest(b), [0.0, 1.0, 2.0], atol=1e-12)
    np.testing.assert_allclose(jax.jacfwd(closest)(b), np.full((3, 1), 1 / 3), atol=1e-10)
    np.testing.assert_allclose(jax.jacrev(closest)(b), np.full((3, 1), 1 / 3), atol=1e-10)


def test_nonlinear_fits_with_equality_constraints():
    def residual(y, args):
        return jnp.stack([jnp.exp(y["a"]) - 2.0, y["b"][0] ** 2 - 1.0, y["b"][1] - 5.0])

    sol = least_squares(
        residual, None, {"a": 0.1, "b": jnp.array([1.0, 0.0])}, equality=(np.array([[0.0, 1.0, -1.0]]), jnp.zeros(1))
    )
    a, b = sol.value["a"], sol.value["b"]
    assert float(a) == pytest.approx(np.log(2.0))
    assert float(b[0]) == pytest.approx(float(b[1]))
    stationary = 2 * b[0] * (b[0] ** 2 - 1) + (b[0] - 5)
    assert float(stationary) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize(
    ("equality", "words"),
    [
        ((np.ones((1, 2)), jnp.zeros(1)), "column for each"),
        ((np.ones((2, 3)), jnp.zeros(2)), "only 1 are independent"),
        (np.ones((2, 3)), "write equality"),
    ],
)
def test_equality_constraints_that_do_not_fit(equality, words):
    with pytest.raises(ValueError, match=words):
        least_squares(misfit, None, jnp.zeros(3), TARGET, equality=equality)


def test_covariances_weigh_as_their_factors_do():
    rng = np.random.default_rng(0)
    x = jnp.linspace(0.0, 1.0, 6)
    data = jnp.asarray(rng.standard_normal(6))
    blocks = [np.tril(rng.standard_normal((2, 2))) + 2 * np.eye(2) for _ in range(3)]
    factor = scipy.sparse.block_diag([scipy.sparse.coo_matrix(block) for block in blocks], format="csr")
    covariance = (factor @ factor.T).toarray()

    def line(y, data):
        return y[0] + y[1] * x - data

    by_factor = least_squares(line, None, jnp.zeros(2), data, sigma=factor).value
    by_matrix = least_squares(line, None, jnp.zeros(2), data, sigma=jnp.asarray(covariance)).value
    design, weight = np.stack([np.ones(6), x], 1), np.linalg.inv(covariance)
    exact = np.linalg.solve(design.T @ weight @ design, design.T @ weight @ np.asarray(data))
    np.testing.assert_allclose(by_factor, exact, rtol=1e-9)
    np.testing.assert_allclose(by_matrix, exact, rtol=1e-9)


def test_blocks_of_residuals_share_one_loss_and_its_gradient_is_exact():
    data = jnp.array([[0.0, 0.0], [0.1, -0.1], [8.0, 6.0]])
    loss = Loss("cauchy", scale=0.5, block=2)

    def residual(y, data):
        return jnp.stack([y[0] - data[:, 0], y[1] * y[0] + y[1] - data[:, 1]], axis=1)

    def cost(y):
        s = jnp.sum(residual(y, data) ** 2, axis=1) / 0.25
        return 0.5 * 0.25 * jnp.sum(jnp.log1p(s))

    for solver in (None, LevenbergMarquardt(linear_solver="cholesky")):
        sol = least_squares(residual, solver, jnp.array([0.3, 0.3]), data, loss=loss)
        np.testing.assert_allclose(jax.grad(cost)(sol.value), 0.0, atol=1e-8)
        assert float(sol.stats["cost"]) == pytest.approx(float(cost(sol.value)))
        assert int(sol.stats["num_steps"]) < 30


def test_each_part_of_the_residual_may_have_its_own_loss():
    def residual(y, args):
        return {"data": jnp.array([0.0, 0.0, 10.0]) - y, "prior": y - 1.0}

    sol = least_squares(residual, None, 0.2, loss={"data": Loss("huber", 0.1), "prior": None})
    # 2 y - 0.1 + (y - 1) = 0 while |y| > 0.1 would be 0.1 + 0.1 - 0.1 + y - 1 = 0.
    assert float(sol.value) == pytest.approx(0.9)


def test_bounds_keep_many_unknowns_inside_and_solve_for_the_rest():
    n = 80
    target = jnp.sin(jnp.linspace(0.0, 6.0, n))

    def smooth(y, target):
        return {"fit": y - target, "slope": y[1:] - y[:-1]}

    sol = least_squares(smooth, None, jnp.zeros(n), target, bounds=(-0.5, 0.5))
    gradient = jax.grad(lambda y: 0.5 * sum(jnp.sum(r**2) for r in smooth(y, target).values()))(sol.value)
    free = jnp.abs(sol.value) < 0.5
    assert 0 < int(jnp.sum(free)) < n
    np.testing.assert_allclose(gradient[free], 0.0, atol=1e-8)
    assert bool(jnp.all(jnp.where(sol.value >= 0.5, gradient <= 1e-9, True)))
    assert bool(jnp.all(jnp.where(sol.value <= -0.5, gradient >= -1e-9, True)))
    assert int(sol.stats["num_steps"]) < 40


@pytest.mark.parametrize("solver", [LevenbergMarquardt(), GaussNewton(), Dogleg()], ids=["lm", "gn", "dogleg"])
def test_solvers_run_under_optimistix(solver):
    def residual(y, scale):
        return scale * (y[1:] - y[:-1] ** 2), 1.0 - y

    @jax.jit
    def solve(scale):
        return optx.least_squares(residual, solver, jnp.full(4, 0.8), scale)

    sol = solve(2.0)
    np.testing.assert_allclose(sol.value, 1.0, rtol=1e-8)
    assert int(sol.stats["num_jacobians"]) > 1
