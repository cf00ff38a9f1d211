"""Every problem of the gallery has the answer it claims: its Newton solution converges at the stated order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve import gallery
from tests.gallery.reference import bratu_maximum, dense_newton

PROBLEMS = {
    "bratu_1d": (gallery.bratu_1d, 12),
    "bratu_2d": (gallery.bratu_2d, 8),
    "bratu_3d": (gallery.bratu_3d, 5),
    "bratu_2d_manufactured": (gallery.bratu_2d_manufactured, 8),
    "brusselator": (gallery.brusselator, 8),
    "p_laplacian": (gallery.p_laplacian, 8),
    "cavity": (gallery.cavity, 9),
    "fem_diffusion": (gallery.fem_diffusion, 9),
    "reaction_diffusion": (gallery.reaction_diffusion, 6),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_residual_has_the_structure_of_the_unknowns_in_both_precisions(name):
    build, n = PROBLEMS[name]
    problem = build(n)
    for dtype in (jnp.float64, jnp.float32):
        y, args = jax.tree.map(lambda leaf, dtype=dtype: jnp.asarray(leaf, dtype), (problem.y0, problem.args))
        out = jax.eval_shape(problem.residual, y, args)
        assert jax.tree.structure(out) == jax.tree.structure(y)
        assert [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(out)] == [
            (leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(y)
        ]
    assert problem.num_unknowns == sum(leaf.size for leaf in jax.tree.leaves(problem.y0))
    assert str(problem.num_unknowns) in repr(problem)


@pytest.mark.parametrize(
    ("build", "sizes", "spacing"),
    [
        (gallery.bratu_1d, (15, 31), lambda n: 1 / (n + 1)),
        (gallery.bratu_2d, (11, 23), lambda n: 1 / (n + 1)),
        (gallery.bratu_3d, (5, 11), lambda n: 1 / (n + 1)),
        (gallery.bratu_2d_manufactured, (11, 23), lambda n: 1 / (n + 1)),
        (gallery.p_laplacian, (7, 15), lambda n: 1 / (n + 1)),
        (lambda n: gallery.p_laplacian(n, p=1.5), (7, 15), lambda n: 1 / (n + 1)),
        (gallery.fem_diffusion, (11, 21), lambda n: 1 / (n - 1)),
    ],
    ids=["bratu_1d", "bratu_2d", "bratu_3d", "manufactured", "p=4", "p=1.5", "fem"],
)
def test_the_error_is_of_second_order(build, sizes, spacing):
    errors = []
    for n in sizes:
        problem = build(n)
        y, _ = dense_newton(problem)
        errors.append(problem.error(y))
    order = np.log(errors[0] / errors[1]) / np.log(spacing(sizes[0]) / spacing(sizes[1]))
    assert 1.8 < order < 2.4


@pytest.mark.parametrize(("dimension", "table", "degree"), [(2, "LOWER_MAXIMUM_2D", 24), (3, "LOWER_MAXIMUM_3D", 16)])
def test_tabulated_bratu_maxima_agree_with_collocation(dimension, table, degree):
    from sparsesolve.gallery import _bratu

    for lam, maximum in getattr(_bratu, table).items():
        assert bratu_maximum(dimension, lam, degree) == pytest.approx(maximum, abs=2e-9)


def test_near_the_fold_newton_needs_more_steps():
    _, easy = dense_newton(gallery.bratu_2d(23, lam=1.0))
    y, hard = dense_newton(gallery.bratu_2d(23, lam=6.8))
    assert easy < hard
    assert gallery.bratu_2d(23, lam=6.8).error(y) < 0.02


def test_brusselator_without_forcing_is_homogeneous():
    problem = gallery.brusselator(6, forcing=0.0)
    y, _ = dense_newton(problem)
    assert problem.error(y) < 1e-11
    assert problem.error(problem.solution) == 0.0


def test_brusselator_balances_its_feed():
    problem = gallery.brusselator(12)
    y, _ = dense_newton(problem)
    assert problem.error(y) < 1e-12
    assert np.ptp(y["u"]) > 0.3  # far from homogeneous


def test_reaction_diffusion_conserves_and_reacts():
    problem = gallery.reaction_diffusion(8)
    y, _ = dense_newton(problem)
    assert problem.error(y) < 1e-12
    assert min(float(field.min()) for field in y.values()) > 0
    assert y["P"].max() > 0.02


def test_cavity_turns_clockwise_and_has_the_velocity_of_the_lid():
    problem = gallery.cavity(15)
    y, _ = dense_newton(problem)
    heights, velocity = gallery.centreline(y)
    assert heights[0] == 0 and heights[-1] == 1 and velocity[-1] == 1
    assert y["psi"].min() > -0.12 and y["psi"].max() <= 1e-4
    assert problem.error(y) < 0.05


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: gallery.bratu_2d(8, lam=5.0), "no reference is tabulated"),
        (lambda: gallery.bratu_1d(8, lam=4.0), "there are solutions only for"),
        (lambda: gallery.cavity(10), "write n=11"),
        (lambda: gallery.cavity(11, reynolds=10.0), "no reference is tabulated"),
        (lambda: gallery.p_laplacian(8, p=1.0), "convex only for p > 1"),
        (lambda: gallery.brusselator(2), "too few points"),
    ],
)
def test_problems_without_an_answer_are_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()
