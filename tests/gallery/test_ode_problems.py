"""Every problem in time has the end value it claims, by SciPy's Radau on equations of its own making."""

import dataclasses
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve import gallery
from sparsesolve.gallery._ode_problem import error_against, error_at_probes, probes
from tests.gallery.ode_reference import radau, radau_dae

SMALL = {
    "hires": gallery.hires,
    "rober": gallery.rober,
    "orego": gallery.orego,
    "e5": gallery.e5,
    "pollu": gallery.pollu,
    "van_der_pol": gallery.van_der_pol,
    "van_der_pol_unscaled": lambda: gallery.van_der_pol(scaled=False),
}
SINGULAR = {"transistor_amplifier": gallery.transistor_amplifier, "chemical_akzo": gallery.chemical_akzo}
FIELDS = {
    "medical_akzo": gallery.medical_akzo,
    "allen_cahn": lambda: gallery.allen_cahn(24),
    "burgers": lambda: gallery.burgers(128),
    "kuramoto_sivashinsky": lambda: gallery.kuramoto_sivashinsky(64),
    "reaction_diffusion": lambda: gallery.reaction_diffusion_ode(10),
    "brusselator": lambda: gallery.brusselator_ode(32),
}
ALL = SMALL | SINGULAR | FIELDS | {"groups": lambda: gallery.robertson_groups(4)}


@pytest.mark.parametrize("name", ALL)
def test_rhs_has_the_structure_of_the_state_in_both_precisions(name):
    problem = ALL[name]()
    for dtype in (jnp.float64, jnp.float32):
        y, args = jax.tree.map(lambda leaf, dtype=dtype: jnp.asarray(leaf, dtype), (problem.y0, problem.args))
        out = jax.eval_shape(problem.rhs, jnp.asarray(0.0, dtype), y, args)
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), out) == jax.tree.map(
            lambda leaf: (leaf.shape, leaf.dtype), y
        )
    assert str(problem.num_unknowns) in repr(problem) and problem.t1 > problem.t0
    assert all(problem.t0 < t < problem.t1 for t in problem.jump_ts)
    finite = jax.tree.map(lambda leaf: bool(jnp.all(jnp.isfinite(leaf))), problem.rhs(0.0, problem.y0, problem.args))
    assert all(jax.tree.leaves(finite))
    assert problem.mass is None or problem.mass.shape == (problem.num_unknowns,) * 2


@pytest.mark.parametrize("name", SMALL)
def test_published_end_values(name):
    problem = SMALL[name]()
    assert problem.digits(radau(problem, 1e-6)) > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", FIELDS)
def test_end_values_of_fields(name):
    problem = FIELDS[name]()
    assert problem.digits(radau(problem, 1e-7, sparse=True)) > 6


@pytest.mark.slow
@pytest.mark.parametrize("name", SINGULAR)
def test_published_end_values_of_singular_problems(name):
    problem = SINGULAR[name]()
    assert problem.digits(radau_dae(problem, 1e-6)) > 5


@pytest.mark.parametrize("name", SINGULAR)
def test_starts_are_consistent(name):
    """What the mass matrix leaves out of the equations is zero at the start."""
    problem = SINGULAR[name]()
    left, values, _ = np.linalg.svd(problem.mass)
    rank = int(np.sum(values > 1e-12 * values[0]))
    rhs = np.asarray(problem.rhs(0.0, problem.y0, problem.args))
    assert rank < problem.num_unknowns
    assert np.max(np.abs(left[:, rank:].T @ rhs)) < 1e-12


def test_conserved_quantities():
    rober = gallery.robertson_groups(3)
    y = jnp.asarray(np.random.default_rng(0).uniform(size=(3, 3)))
    assert float(jnp.max(jnp.abs(jnp.sum(rober.rhs(0.0, y, rober.args), axis=1)))) < 1e-8
    burgers = gallery.burgers(20)
    inner = jnp.pad(jnp.asarray(np.random.default_rng(1).uniform(size=10)), 5)  # nothing flows through the walls
    assert abs(float(jnp.sum(burgers.rhs(0.0, inner, burgers.args)))) < 1e-10
    waves = gallery.kuramoto_sivashinsky(16)
    assert abs(float(jnp.sum(waves.rhs(0.0, waves.y0, waves.args)))) < 1e-8


def test_jumps_are_where_they_say():
    for problem in (gallery.medical_akzo(10), gallery.brusselator_ode(32)):
        (jump,) = problem.jump_ts
        before, after = (problem.rhs(jump + d, problem.y0, problem.args) for d in (-1e-9, 1e-9))
        difference = jax.tree.map(lambda a, b: float(jnp.max(jnp.abs(a - b))), before, after)
        assert max(jax.tree.leaves(difference)) > 1


def test_brusselator_references_of_the_shared_data():
    folder = pathlib.Path(os.environ.get("SPARSESOLVE_DATA", "../shared/data"))
    for n in (32, 100):
        path = folder / f"brusselator_ref_N{n}.npy"
        if not path.exists():
            pytest.skip(f"{path} is not there")
        u, v = np.load(path).reshape(2, n, n)
        assert gallery.brusselator_ode(n).error({"u": u, "v": v}) == 0.0


def test_errors_are_measured_as_they_say():
    error = error_against([1.0, 1e-6, 0.0], 1e-3)
    assert error([1.0, 1e-6, 0.0]) == 0.0
    assert error(np.asarray([1.0, 2e-6, 1e-9])) == pytest.approx(1e-3)
    where = probes(100, 5)
    assert len(set(where.tolist())) == 5 and where.max() < 100
    vector = np.arange(100.0)
    assert error_at_probes(vector[where], 100, 1.0)(vector) == 0.0
    assert error_at_probes(vector[where], 100, 1.0)(vector + 0.5) > 5e-3
    problem = dataclasses.replace(gallery.hires(), error=lambda y: 0.0)
    assert problem.digits(problem.y0) == 16
    with pytest.raises(ValueError, match="no tabulated reference of this size"):
        gallery.burgers(20).digits(jnp.zeros(20))
    with pytest.raises(ValueError, match="too few points"):
        gallery.brusselator_ode(2)
