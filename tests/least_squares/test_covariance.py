"""Covariances against dense inverses and certified standard errors; what is not determined is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsesolve as ss
from sparsesolve import gallery

X = jnp.linspace(0.0, 3.0, 20)
DECAY = 2.0 * jnp.exp(-1.3 * X) + 0.5 + 0.05 * jnp.sin(9.0 * X)


def decay(y, data):
    return y["a"] * jnp.exp(-y["k"] * X) + y["c"] - data


def fitted(data=DECAY, **options):
    return ss.least_squares(decay, None, {"a": 1.0, "c": 0.0, "k": 1.0}, data, **options)


def dense_covariance(sol):
    J = sol.state.jacobian().todense()
    r = sol.state.residual()
    return np.linalg.inv(J.T @ J) * float(r @ r) / (J.shape[0] - J.shape[1])


@pytest.mark.parametrize("name", ["Misra1a", "Rat43", "MGH10", "Thurber"])
def test_certified_standard_errors(name):
    problem = gallery.nist(name, start=2)
    sol = ss.least_squares(problem.residual, None, problem.y0, problem.args)
    np.testing.assert_allclose(ss.standard_errors(sol), problem.standard_errors, rtol=1e-6)


def test_all_some_and_scaled():
    sol = fitted(sigma=0.1)
    C = ss.covariance(sol)
    np.testing.assert_allclose(C, dense_covariance(sol), rtol=1e-9)
    some = ss.covariance(sol, lambda y: (y["k"], y["a"]))
    np.testing.assert_array_equal(some, C[np.ix_([2, 0], [2, 0])])
    absolute = ss.covariance(sol, absolute_sigma=True)
    chi = 2 * float(sol.stats["cost"])
    np.testing.assert_allclose(absolute * chi / 17, C, rtol=1e-12)
    errors = ss.standard_errors(sol)
    np.testing.assert_allclose([errors["a"], errors["c"], errors["k"]], np.sqrt(np.diag(C)), rtol=1e-12)


def test_many_parameters_are_solved_for_with_sparse_factors():
    problem = gallery.spectral_peaks(140, noise=0.02)
    sol = ss.least_squares(problem.residual, None, problem.y0, problem.args)
    whole = dense_covariance(sol)
    order = np.r_[0, 2 + 21 : 2 + 24]
    both = ss.covariance(sol, lambda y: np.concatenate([y["baseline"][:1], y["peaks"][7]]))
    np.testing.assert_allclose(both, whole[np.ix_(order, order)], rtol=1e-8)
    blocks = ss.covariance(sol, lambda y: y["peaks"][3:5], blocks=True)
    assert blocks.shape == (2, 3, 3)
    np.testing.assert_allclose(blocks[1], whole[14:17, 14:17], rtol=1e-8)


def test_covariance_on_a_manifold_is_that_of_the_tangent_vector():
    problem = gallery.sphere_walk(3, 5)
    sol = ss.least_squares(problem.residual, None, problem.y0, problem.args, retract=problem.retract)
    C = ss.covariance(sol)
    assert C.shape == (84, 84)
    np.testing.assert_allclose(C, dense_covariance(sol), rtol=1e-7, atol=1e-12)
    blocks = ss.covariance(sol, lambda d: np.concatenate([d["position"], d["rotation"]], axis=1), blocks=True)
    np.testing.assert_allclose(blocks[2, :3, :3], C[6:9, 6:9], rtol=1e-10)
    np.testing.assert_allclose(blocks[2, :3, 3:], C[6:9, 42 + 6 : 42 + 9], rtol=1e-10)
    assert "tangent" in sol.report()


def test_monte_carlo_spread_is_the_standard_error():
    rng = np.random.default_rng(1)
    clean = 2.0 * jnp.exp(-1.3 * X) + 0.5
    data = clean[None] + 0.02 * rng.standard_normal((400, 20))
    values, errors = jax.jit(jax.vmap(lambda d: (fitted(d).value, ss.standard_errors(fitted(d)))))(data)
    for name in values:
        assert float(jnp.std(values[name])) == pytest.approx(float(jnp.mean(errors[name])), rel=0.15)


def test_covariance_is_differentiable_under_jit():
    def variance(data):
        return ss.covariance(fitted(data))[2, 2]

    slope = jax.jit(jax.grad(variance))(DECAY)
    step = 1e-3 * jnp.cos(jnp.arange(20.0))
    difference = (variance(DECAY + step) - variance(DECAY - step)) / 2
    assert float(slope @ step) == pytest.approx(float(difference), rel=1e-4)


def test_undetermined_parameters_are_named():
    def sums(y, data):
        return (y["a"] + y["b"]) * X + y["c"] - data

    sol = ss.least_squares(sums, None, {"a": 1.0, "b": 1.0, "c": 0.0}, DECAY)
    with pytest.raises(ValueError, match=r"along 1 direction, in which y\['a'\], y\['b'\] take part"):
        ss.covariance(sol)
    orthogonal = ss.covariance(sol, pseudo_inverse=True)
    J = np.asarray(sol.state.jacobian().todense())
    scale = np.linalg.norm(J, axis=0)
    expected = np.linalg.pinv(J / scale, rcond=1e-10) / scale[:, None]
    variance = 2 * float(sol.stats["cost"]) / 17
    np.testing.assert_allclose(orthogonal, variance * expected @ expected.T, rtol=1e-8, atol=1e-14)
    traced = jax.jit(lambda d: ss.covariance(ss.least_squares(sums, None, {"a": 1.0, "b": 1.0, "c": 0.0}, d)))(DECAY)
    assert np.all(np.isinf(traced))
    assert "along 1 direction" in sol.report()


def scaled_pseudo_inverse(J, open_directions):
    """The pseudo-inverse of `J^T J` in parameters scaled by the columns of `J`."""
    scale = np.linalg.norm(J, axis=0)
    singular, rows = np.linalg.svd(J / scale, full_matrices=False)[1:]
    root = rows[: len(singular) - open_directions].T / singular[: len(singular) - open_directions] / scale[:, None]
    return root @ root.T


def test_gauge_of_a_large_problem_is_found_and_left_open():
    problem = gallery.bundle_adjustment(5, 130, noise=0.3)
    sol = ss.least_squares(problem.residual, None, problem.y0, problem.args)
    with pytest.raises(ValueError, match=r"along 7 directions, in which y\['cameras'\]\[0, 0\].*pseudo_inverse=True"):
        ss.covariance(sol, lambda y: y["cameras"][0])
    expected = scaled_pseudo_inverse(np.asarray(sol.state.jacobian().todense()), 7)
    points = ss.covariance(sol, lambda y: y["points"], blocks=True, absolute_sigma=True, pseudo_inverse=True)
    places = sol.state.positions()["points"]
    np.testing.assert_allclose(points, expected[places[:, :, None], places[:, None]], rtol=1e-5, atol=1e-13)
    camera = sol.state.positions()["cameras"][2]
    few = ss.covariance(sol, lambda y: y["cameras"][2], absolute_sigma=True, pseudo_inverse=True)
    np.testing.assert_allclose(few, expected[np.ix_(camera, camera)], rtol=1e-5, atol=1e-13)


def test_more_open_directions_than_are_looked_for():
    def between(y, data):
        steps = jnp.diff(y.reshape(11, 40), axis=1)
        return jnp.stack([steps, 2.0 * steps]) - data

    sol = ss.least_squares(between, None, jnp.zeros(440), jnp.ones((2, 11, 39)), throw=False)
    with pytest.raises(ValueError, match="along at least 8 directions"):
        ss.covariance(sol, lambda y: y[:1], absolute_sigma=True)
    with pytest.raises(ValueError, match="for 440 parameters fewer than 8 may be open"):
        ss.covariance(sol, lambda y: y[:1], absolute_sigma=True, pseudo_inverse=True)


def test_blocks_of_all_poses_and_links_are_those_of_the_dense_inverse():
    problem = gallery.manhattan_walk(150)
    sol = ss.least_squares(problem.residual, None, problem.y0, problem.args)
    J = np.asarray(sol.state.jacobian().todense())
    whole = np.linalg.inv(J.T @ J)
    errors = ss.standard_errors(sol, absolute_sigma=True)
    np.testing.assert_allclose(errors.ravel(), np.sqrt(np.diag(whole)), rtol=1e-7)
    pairs = ss.covariance(sol, lambda y: np.concatenate([y[:-1], y[1:]], 1), blocks=True, absolute_sigma=True)
    places = np.arange(J.shape[1]).reshape(-1, 3)
    places = np.concatenate([places[:-1], places[1:]], 1)
    expected = whole[places[:, :, None], places[:, None]]
    np.testing.assert_allclose(pairs, expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())
    far = ss.covariance(sol, lambda y: np.stack([y[0], y[100]]).reshape(1, 6), blocks=True, absolute_sigma=True)
    places = np.r_[0:3, 300:303]
    np.testing.assert_allclose(far[0], whole[np.ix_(places, places)], rtol=1e-6, atol=1e-9)


def test_ill_conditioned_problems_are_solved_for_instead():
    """Chains whose ends hardly hold: the smallest singular value is below what the selected inverse bears."""

    def chain(y, weak):
        return {"links": y[1:] - y[:-1], "ends": weak * (y[:1] - 1.0)}

    sol = ss.least_squares(chain, None, jnp.ones(500), 3e-5)
    errors = ss.standard_errors(sol, absolute_sigma=True)
    expected = np.sqrt(3e-5**-2 + np.arange(500.0))
    np.testing.assert_allclose(errors, expected, rtol=1e-9)


@pytest.mark.parametrize("size", [5, 450])
def test_parameters_at_bounds_can_be_held(size):
    """Means of two data each, of which the first is held below its own."""

    def deviations(y, data):
        return y[None] - data

    data = jnp.stack([jnp.arange(1.0, size + 1.0), jnp.arange(1.0, size + 1.0) + 0.5])
    upper = jnp.full(size, jnp.inf).at[0].set(1.0)
    sol = ss.least_squares(deviations, None, jnp.zeros(size), data, bounds=(None, upper))
    free = ss.standard_errors(sol)
    held = ss.standard_errors(sol, hold_bounds=True)
    chi = 0.25 + 2 * (size - 1) * 0.0625
    np.testing.assert_allclose(free, np.sqrt(chi / size / 2), rtol=1e-10)
    assert held[0] == 0
    np.testing.assert_allclose(held[1:], np.sqrt(chi / (size + 1) / 2), rtol=1e-10)


def test_report():
    text = fitted().report()
    assert "Fit of 3 parameters to 20 residuals, converged in" in text
    assert "17 degrees of freedom" in text
    assert "y['a'] and y['k']" in text or "y['c'] and y['k']" in text
    C, sol = ss.covariance(fitted()), fitted()
    assert f"{float(jnp.sqrt(C[2, 2])):.6g}" in text and f"{float(sol.value['k']):.10g}" in text
    held = fitted(bounds=({"a": None, "c": None, "k": None}, {"a": None, "c": None, "k": 1.1})).report()
    assert held.count("at its bound") == 1
    short = fitted(max_steps=1, throw=False).report()
    assert "NOT converged" in short


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ss.covariance(3.0), TypeError, "the solution that least_squares returned"),
        (lambda: ss.covariance(fitted(), lambda y: 1.0), TypeError, "does not return parameters"),
        (lambda: ss.covariance(fitted(), blocks=True), ValueError, "needs one array of parameters"),
        (
            lambda: ss.covariance(ss.least_squares(lambda y, a: y - 1.0, None, jnp.zeros(2))),
            ValueError,
            "none are left",
        ),
    ],
)
def test_bad_requests(call, error, words):
    with pytest.raises(error, match=words):
        call()
