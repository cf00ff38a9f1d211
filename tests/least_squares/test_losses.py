"""Robust losses: their values are SciPy's, their fits agree with SciPy's, and outliers are told apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import sparsesolve as ss
from sparsesolve import gallery
from sparsesolve.least_squares._graduated import Surrogate
from sparsesolve.least_squares.objective._losses import LOSSES

X = jnp.linspace(0.0, 10.0, 40)
_RNG = np.random.default_rng(0)
BAD = np.sort(_RNG.choice(40, 14, replace=False))
GOOD = 2.0 * X + 1.0 + 0.1 * _RNG.standard_normal(40)
DATA = GOOD.at[BAD].set(_RNG.uniform(-60.0, 60.0, 14))


def line(y, data):
    return y[0] * X + y[1] - data


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_smooth_and_like_the_square_at_zero(name):
    rho = ss.Loss(name)
    s = jnp.array([0.0, 1e-12, 1e-3, 0.999999, 1.000001, 3.0, 1e4])
    values, slopes = jax.vmap(jax.value_and_grad(rho))(s)
    np.testing.assert_allclose(values[:2], s[:2], rtol=1e-11)
    assert slopes[0] == 1.0
    assert np.all(np.diff(values) >= -1e-15) and np.all(np.diff(slopes) <= 1e-12) and np.all(slopes >= 0)
    assert float(slopes[3]) == pytest.approx(float(slopes[4]), abs=1e-5)


@pytest.mark.parametrize("name", ["huber", "arctan"])
def test_fits_agree_with_scipy(name):
    sol = ss.least_squares(line, None, jnp.array([2.0, 1.0]), DATA, loss=ss.Loss(name, scale=0.3))
    residual = jax.jit(lambda y: line(y, DATA))
    reference = scipy.optimize.least_squares(
        residual, [2.0, 1.0], loss=name, f_scale=0.3, xtol=1e-14, ftol=1e-14, gtol=1e-12
    )
    np.testing.assert_allclose(sol.value, reference.x, rtol=1e-6)
    assert float(sol.stats["cost"]) == pytest.approx(reference.cost, rel=1e-10)


def test_tukey_forgets_outliers_and_the_name_alone_has_scale_one():
    sol = ss.least_squares(line, None, jnp.array([2.0, 1.0]), DATA, loss=ss.Loss("tukey", scale=1))
    same = ss.least_squares(line, None, jnp.array([2.0, 1.0]), DATA, loss="tukey")
    np.testing.assert_array_equal(sol.value, same.value)
    clean = np.delete(np.arange(40), BAD)
    expected = np.polyfit(X[clean], GOOD[clean], 1)
    np.testing.assert_allclose(sol.value, expected, atol=5e-3)


def test_the_scale_is_a_value_with_a_derivative():
    def fitted(scale):
        return ss.least_squares(line, None, jnp.array([2.0, 1.0]), DATA, loss=ss.Loss("cauchy", scale)).value

    slope = jax.jit(jax.jacfwd(fitted))(0.3)
    np.testing.assert_allclose(slope, (fitted(0.31) - fitted(0.29)) / 0.02, rtol=1e-2)


def test_blocks_count_as_one():
    """Two coordinates of each point: the loss of a block is that of its length, whatever its direction."""
    target = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [30.0, 40.0]])

    def fitted(turn):
        rotation = jnp.array([[jnp.cos(turn), -jnp.sin(turn)], [jnp.sin(turn), jnp.cos(turn)]])
        sol = ss.least_squares(
            lambda y, t: y[None] - t, None, jnp.ones(2), target @ rotation.T, loss=ss.Loss("cauchy", 1.0, 2)
        )
        return sol.value @ rotation

    np.testing.assert_allclose(fitted(0.0), fitted(0.7), rtol=1e-8)
    assert float(jnp.linalg.norm(fitted(0.0))) < 1.0


def test_a_loss_for_each_part_of_the_residual():
    def parts(y, data):
        return {"line": line(y, data), "prior": y - jnp.array([2.0, 1.0])}

    sol = ss.least_squares(parts, None, jnp.zeros(2), DATA, loss={"line": ss.Loss("cauchy", 0.3), "prior": None})
    s = line(sol.value, DATA) ** 2 / 0.09
    cost = 0.5 * 0.09 * np.sum(np.log1p(s)) + 0.5 * np.sum((sol.value - np.array([2.0, 1.0])) ** 2)
    assert float(sol.stats["cost"]) == pytest.approx(float(cost), rel=1e-12)


@pytest.mark.parametrize("loss", ["truncated", "geman_mcclure"])
def test_graduated_non_convexity_tells_outliers_apart_from_anywhere(loss):
    sol = ss.graduated_non_convexity(line, None, jnp.array([-50.0, 300.0]), DATA, scale=0.5, loss=loss)
    np.testing.assert_allclose(sol.value, [2.0, 1.0], atol=0.1)
    bad = np.flatnonzero(np.asarray(sol.stats["weights"]) < 0.3)
    assert set(BAD) <= set(bad) and len(bad) <= len(BAD) + 1
    assert int(sol.stats["num_levels"]) > 5
    assert int(sol.stats["num_steps"]) >= int(sol.stats["num_levels"])


def test_graduated_truncated_squares_are_the_fit_of_the_rest():
    sol = ss.graduated_non_convexity(line, None, jnp.zeros(2), DATA, scale=0.5)
    kept = np.asarray(sol.stats["weights"]) > 0.5
    np.testing.assert_allclose(sol.value, np.polyfit(X[kept], DATA[kept], 1), rtol=1e-9)
    slope = jax.jit(jax.jacrev(lambda d: ss.graduated_non_convexity(line, None, jnp.zeros(2), d, scale=0.5).value))(
        DATA
    )
    np.testing.assert_allclose(slope[0] @ DATA, sol.value[0], rtol=1e-9)  # linear in the data that are kept
    assert np.all(slope[:, BAD] == 0)


def test_surrogates_are_nearly_convex_at_first_and_the_loss_at_last():
    for name, first, last, concave in (("truncated", 1 / 199.0, 1e9, 1 / 199.0), ("geman_mcclure", 300.0, 1.0, 0.0)):
        r = np.linspace(0.0, 10.0, 2001)
        rho = jax.vmap(Surrogate(name, first, 1.0, 1))(jnp.asarray(r**2))
        assert np.min(np.diff(rho, 2)) > -(2 * concave + 1e-6) * 0.005**2
        final = jax.vmap(Surrogate(name, last, 1.0, 1))(jnp.asarray(r**2))
        expected = np.minimum(r**2, 1.0) if name == "truncated" else r**2 / (1 + r**2)
        np.testing.assert_allclose(final, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: ss.Loss("hubert"), ValueError, "there are 'linear'"),
        (lambda: ss.Loss("huber", scale=0.0), ValueError, "a positive number"),
        (lambda: ss.Loss("huber", block=0), ValueError, "1 or more"),
        (lambda: ss.least_squares(line, None, jnp.zeros(2), DATA, loss="hubert"), ValueError, "there are 'linear'"),
        (lambda: ss.graduated_non_convexity(line, None, jnp.zeros(2), DATA, scale=-1.0), ValueError, "positive"),
        (
            lambda: ss.graduated_non_convexity(line, None, jnp.zeros(2), DATA, scale=1.0, loss="tukey"),
            ValueError,
            "'truncated' or",
        ),
        (
            lambda: ss.graduated_non_convexity(line, None, jnp.zeros(2), DATA, scale=1.0, jac=None),
            TypeError,
            "got jac",
        ),
    ],
)
def test_bad_losses_are_refused(build, error, words):
    with pytest.raises(error, match=words):
        build()


def test_outliers_are_looked_for_in_the_leaves_that_have_a_scale():
    """A line through pairs that may be wrong together, and a prior that is right whatever it costs."""

    def both(y, data):
        pairs = jnp.stack([line(y, data), line(y, data)], axis=1)
        return {"data": pairs, "prior": 0.1 * (y - jnp.array([2.5, 1.0]))}

    scale, block = {"data": 0.5, "prior": None}, {"data": 2, "prior": None}
    sol = ss.graduated_non_convexity(both, None, jnp.zeros(2), DATA, scale=scale, block=block)
    weights = np.asarray(sol.stats["weights"])
    assert weights.shape == (40,) and np.all(weights[BAD] < 0.1) and np.all(np.delete(weights, BAD) > 0.9)
    keep = np.delete(np.arange(40), BAD)
    A = np.concatenate([np.repeat(np.stack([X[keep], np.ones(26)], 1), 2, 0), 0.1 * np.eye(2)])
    b = np.concatenate([np.repeat(np.asarray(DATA)[keep], 2), [0.25, 0.1]])
    np.testing.assert_allclose(sol.value, np.linalg.lstsq(A, b)[0], rtol=1e-6)
    with pytest.raises(ValueError, match="one for each leaf of scale"):
        ss.graduated_non_convexity(both, None, jnp.zeros(2), DATA, scale=scale, block=[2])


def test_correction_of_a_convex_loss_is_that_of_ceres():
    """Its corrector: D = 1 + 2 s rho'' / rho', a = 1 - sqrt(D), residual times sqrt(rho') / (1 - a), Jacobian times
    sqrt(rho') (1 - a r r^T / s); of a concave loss, here where 1 - a is below a half, sqrt(rho') alone."""

    def fit(loss, r):
        sol = ss.least_squares(
            lambda y, data: y * jnp.array([1.0, 2.0]) + data,
            None,
            jnp.array([0.0, 0.0]),
            r,
            loss=loss,
            max_steps=1,
            throw=False,
        )
        at = sol.state.__class__(jnp.zeros(2), sol.state.operands, sol.state.problem)
        lin = at.linearise()
        return np.asarray(lin.residual), np.asarray(at.jacobian().todense())

    class Convex:
        block = 2

        def __call__(self, s):
            return s + 0.1 * s**2

    r = np.array([0.3, -0.7])
    s = r @ r
    slope, bend = 1 + 0.2 * s, 0.2
    keep = np.sqrt(1 + 2 * s * bend / slope)
    residual, J = fit(Convex(), jnp.asarray(r))
    np.testing.assert_allclose(residual, np.sqrt(slope) / keep * r, rtol=1e-12)
    expected = np.sqrt(slope) * (np.eye(2) - (1 - keep) * np.outer(r, r) / s) @ np.diag([1.0, 2.0])
    np.testing.assert_allclose(J, expected, rtol=1e-12)
    far = np.array([3.0, -7.0])
    residual, J = fit(ss.Loss("cauchy", 1.0, 2), jnp.asarray(far))
    weight = 1 / np.sqrt(1 + far @ far)
    np.testing.assert_allclose(residual, weight * far, rtol=1e-12)
    np.testing.assert_allclose(J, weight * np.diag([1.0, 2.0]), rtol=1e-12)


def ramp(y, data):
    return y[0] + y[1] * jnp.linspace(0.0, 4.0, data.size) - data


def straggling(share):
    rng = np.random.default_rng(3)
    noise = 0.1 * rng.standard_normal(1000)
    wild = rng.random(1000) < share
    return jnp.asarray(1 + 2 * np.linspace(0, 4, 1000) + np.where(wild, rng.uniform(-2, 8, 1000), noise))


@pytest.mark.parametrize("name", ["huber", "soft_l1"])
def test_losses_whose_pull_is_constant_converge_with_most_data_in_that_zone(name):
    """The weight of an outlier is no curvature: taken for one, convergence is linear, 130 steps for 70 %."""
    loss = ss.Loss(name, scale=0.05)
    for share in (0.4, 0.7):
        data = straggling(share)
        sol = ss.least_squares(ramp, None, jnp.zeros(2), data, loss=loss)

        def cost(y, data=data):
            return 0.5 * loss.scale**2 * jnp.sum(loss((ramp(y, data) / loss.scale) ** 2))

        gradient, hessian = jax.grad(cost)(sol.value), jax.hessian(cost)(sol.value)
        assert int(sol.stats["num_steps"]) <= 25
        assert float(gradient @ jnp.linalg.solve(hessian, gradient)) <= 1e-15 * float(sol.stats["cost"])


def test_a_start_where_hardly_any_residual_has_weight_is_left():
    """The linear model promises next to nothing there, and its undamped step still gains a fifth of the cost."""
    loss, data = ss.Loss("tukey", scale=0.5), straggling(0.1)
    sol = ss.least_squares(ramp, None, jnp.zeros(2), data, loss=loss)
    gradient = jax.grad(lambda y: jnp.sum(loss((ramp(y, data) / loss.scale) ** 2)))(sol.value)
    assert float(jnp.max(jnp.abs(gradient))) <= 1e-4


def test_a_loss_of_constant_pull_in_bundle_adjustment():
    """With outliers either stiff or soft a step in three failed: 37 steps here, 171 with 300 points."""
    problem = gallery.bundle_adjustment(8, 60, noise=0.5, perturbation=2e-3)
    rng = np.random.default_rng(0)
    observed = np.array(problem.args["observed"])
    wild = rng.random(len(observed)) < 0.05
    observed[wild] += 50 * rng.standard_normal((int(wild.sum()), 2))
    loss = ss.Loss("huber", block=2)
    args = {**problem.args, "observed": jnp.asarray(observed)}
    sol = ss.least_squares(problem.residual, None, problem.y0, args, loss=loss)
    assert int(sol.stats["num_steps"]) <= 30
