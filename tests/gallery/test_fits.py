"""Every fitting problem has the answer it claims."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from jax.flatten_util import ravel_pytree

from sparsesolve import gallery

MADE = {
    "bundle_adjustment": gallery.bundle_adjustment(5, 30),
    "coefficient_calibration": gallery.coefficient_calibration(6),
    "spectral_peaks": gallery.spectral_peaks(6),
    "exponential_fits": gallery.exponential_fits(4),
    "manhattan_walk": gallery.manhattan_walk(30, noise=0.0),
    "sphere_walk": gallery.sphere_walk(3, 6, noise=0.0),
}


def reference_fit(problem, start):
    """SciPy's dense Levenberg-Marquardt over the tangent space at `start`: `(y, cost)`."""
    retract = problem.retract or (lambda y, delta: jax.tree.map(jnp.add, y, delta))
    tangent = problem.retract.tangent(start) if problem.retract else jax.tree.map(jnp.zeros_like, start)
    zero, unravel = ravel_pytree(tangent)

    def residual(delta):
        return ravel_pytree(problem.residual(retract(start, unravel(delta)), problem.args))[0]

    fit = scipy.optimize.least_squares(
        jax.jit(residual), zero, jax.jit(jax.jacfwd(residual)), method="lm", x_scale="jac", ftol=1e-12, xtol=1e-12
    )
    return retract(start, unravel(jnp.asarray(fit.x))), 2 * fit.cost


@pytest.mark.parametrize("name", gallery.NIST_SETS)
def test_certified_parameters_have_the_certified_cost(name):
    problem = gallery.nist(name)
    assert problem.sum_of_squares(jnp.asarray(problem.solution)) == pytest.approx(problem.cost, rel=1e-9)
    assert problem.error(problem.solution) == 0.0
    assert problem.error(problem.y0) > 0.01


@pytest.mark.parametrize("name", gallery.NIST_SETS)
def test_certified_values_are_the_minimum_and_its_standard_errors(name):
    problem = gallery.nist(name, start=2)
    J = np.asarray(jax.jacfwd(problem.residual)(jnp.asarray(problem.solution), problem.args))
    scale = np.linalg.norm(J, axis=0)
    inverse = np.linalg.pinv(J / scale)
    residual = np.asarray(problem.residual(jnp.asarray(problem.solution), problem.args))
    assert np.max(np.abs(inverse @ residual / scale / problem.solution)) < 1e-9  # the Gauss-Newton step from there
    variance = problem.cost / (J.shape[0] - J.shape[1])
    errors = np.sqrt(variance * np.sum(inverse**2, axis=1)) / scale
    np.testing.assert_allclose(errors, problem.standard_errors, rtol=1e-6)


@pytest.mark.parametrize("name", MADE)
def test_made_problems_have_no_cost_at_the_truth_and_some_at_the_start(name):
    problem = MADE[name]
    assert problem.sum_of_squares(problem.solution) < 1e-20
    assert problem.error(problem.solution) == pytest.approx(0.0, abs=1e-12)
    assert problem.cost == 0.0
    assert str(problem.num_unknowns) in repr(problem)
    assert jax.tree.structure(problem.y0) == jax.tree.structure(problem.solution)
    if "walk" not in name:  # which start from their odometry, exact without noise
        assert problem.sum_of_squares(problem.y0) > 1e-3


@pytest.mark.parametrize("name", MADE)
def test_residuals_keep_single_precision(name):
    problem = MADE[name]
    y, args = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (problem.y0, problem.args))
    assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(problem.residual, y, args))} == {np.dtype("float32")}


@pytest.mark.parametrize(
    ("problem", "bound"),
    [
        (gallery.exponential_fits(3), 1e-9),
        (gallery.spectral_peaks(5), 1e-9),
        (gallery.coefficient_calibration(5), 1e-5),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_fit_finds_the_truth(problem, bound):
    y, cost = reference_fit(problem, problem.y0)
    assert cost < 1e-12
    assert problem.error(y) < bound


@pytest.mark.parametrize("problem", [gallery.manhattan_walk(40), gallery.sphere_walk(3, 6)], ids=lambda p: p.name)
def test_chi_squared_of_a_noisy_walk_is_its_degrees_of_freedom(problem):
    y, cost = reference_fit(problem, problem.y0)
    assert abs(cost - problem.cost) < 5 * np.sqrt(2 * problem.cost)
    assert cost < problem.sum_of_squares(problem.solution) < problem.sum_of_squares(problem.y0)
    assert problem.error(y) < problem.error(problem.y0)


def test_cost_of_noisy_images_is_their_degrees_of_freedom():
    problem = gallery.bundle_adjustment(4, 20, noise=0.5)
    _, cost = reference_fit(problem, problem.y0)
    freedom = problem.cost / 0.25
    assert abs(cost / 0.25 - freedom) < 5 * np.sqrt(2 * freedom)


def test_a_batch_of_decays_is_block_diagonal_and_maps_to_single_fits():
    problem = gallery.exponential_fits(3, points=5, noise=0.1)
    args = problem.args
    whole = problem.residual(problem.solution, args)
    single = jax.vmap(lambda y, data: problem.residual(y, {"t": args["t"], "y": data}))(problem.solution, args["y"])
    np.testing.assert_array_equal(whole, single)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: gallery.nist("Misra9"), "download its .dat file"),
        (lambda: gallery.nist("Rat42", start=3), "write start=1 or start=2"),
        (lambda: gallery.bundle_adjustment(3, 10, views=5), "two views or more"),
        (lambda: gallery.spectral_peaks(3), "5 peaks or more"),
        (lambda: gallery.exponential_fits(3, points=3), "write points=4"),
        (lambda: gallery.manhattan_walk(2), "three poses or more"),
        (lambda: gallery.sphere_walk(1, 9), "three poses or more"),
        (lambda: gallery.coefficient_calibration(1), "too few points"),
    ],
)
def test_problems_that_make_no_sense_are_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()
