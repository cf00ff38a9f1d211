"""Roots of plain functions: structures, dtypes, statistics, history, verbosity."""

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
import scipy.sparse

from sparsesolve import gallery
from sparsesolve.jacobian import jacobian
from sparsesolve.nonlinear import RESULTS, Newton, root_find
from sparsesolve.pattern import detect_sparsity
from tests.nonlinear.problems import COUPLED_ARGS, COUPLED_Y0, bratu, coupled, norm


def test_bratu_converges_quadratically_with_one_colour():
    sol = root_find(bratu, None, jnp.zeros(30), 1.0, history=True)
    # u(1/2) of the continuous problem is 0.14053921440; second order on 31 intervals.
    assert abs(float(sol.value.max()) - 0.14053921440) < 2e-4
    assert bool(sol.result == RESULTS.successful)
    norms = np.asarray(sol.stats["residual_norms"])
    assert norms.shape == (int(sol.stats["num_steps"]) + 1,)
    assert np.all(norms[1:3] < 1e-2 * norms[:2]) and norms[-1] < 1e-10
    np.testing.assert_array_equal(sol.stats["step_lengths"], 1.0)
    assert float(sol.stats["residual_norm"]) == norms[-1]
    counts = {k: int(sol.stats[k]) for k in ("num_steps", "num_jacobians", "num_factorizations", "num_residuals")}
    assert counts == {"num_steps": 3, "num_jacobians": 3, "num_factorizations": 3, "num_residuals": 6}
    assert (sol.stats["num_colors"], sol.stats["nnz"]) == (1, 88)
    assert int(sol.stats["nnz_factor"]) >= 88


@pytest.mark.parametrize("solver", [None, Newton()])
def test_pytrees_with_scalars_and_mixed_shapes(solver):
    sol = root_find(coupled, solver, COUPLED_Y0, COUPLED_ARGS)
    assert jax.tree.structure(sol.value) == jax.tree.structure(COUPLED_Y0)
    assert norm(coupled(sol.value, COUPLED_ARGS)) < 1e-14


def test_scalars_and_python_floats():
    sol = root_find(lambda y, a: y**2 - a, None, 1.0, 2.0)
    assert sol.value.shape == () and float(sol.value) == pytest.approx(2**0.5, rel=1e-15)


def test_float32_reaches_its_own_resolution():
    sol = root_find(bratu, None, jnp.zeros(30, jnp.float32), jnp.asarray(1.0, jnp.float32))
    assert sol.value.dtype == jnp.float32
    exact = root_find(bratu, None, jnp.zeros(30), 1.0).value
    np.testing.assert_allclose(sol.value, exact, rtol=2e-4)


def test_mixed_dtypes_keep_their_own():
    y0 = (jnp.ones(3, jnp.float32), jnp.ones(2))
    sol = root_find(lambda y, _: (y[0] ** 2 - 2.0, y[1] ** 3 - jnp.mean(y[0]).astype(jnp.float64)), None, y0)
    assert [leaf.dtype for leaf in sol.value] == [jnp.float32, jnp.float64]
    np.testing.assert_allclose(sol.value[1], 2 ** (1 / 6), rtol=1e-6)


def test_holomorphic_complex():
    roots = root_find(lambda z, a: z**3 - a, None, jnp.array([1.0 + 0.5j, -1.0 + 1j]), 1.0j).value
    np.testing.assert_allclose(roots**3, 1j, atol=1e-14)


def test_linear_system_takes_one_step():
    rng = np.random.default_rng(0)
    b = jnp.asarray(rng.standard_normal(20))
    sol = root_find(lambda y, _: 3 * y - jnp.roll(y, 1) - b, None, jnp.zeros(20))
    assert int(sol.stats["num_steps"]) == 1 and sol.stats["num_colors"] == 0


def test_start_at_the_root():
    sol = root_find(bratu, None, root_find(bratu, None, jnp.zeros(30), 1.0).value, 1.0)
    assert int(sol.stats["num_steps"]) == 1


def test_root_at_zero_needs_no_absolute_tolerance():
    sol = root_find(lambda y, _: jnp.sin(y), None, jnp.array([0.7, 0.2]))
    np.testing.assert_allclose(sol.value, 0.0, atol=1e-15)


def test_structurally_zero_diagonal():
    # Each equation determines the other unknown: no diagonal entry at all.
    sol = root_find(lambda y, _: jnp.stack([y[1] ** 2 - 4.0, y[0] - y[1], y[2] ** 3 - 8.0]), None, jnp.ones(3))
    np.testing.assert_allclose(sol.value, 2.0, rtol=1e-14)


def test_vanishing_diagonal_values():
    # A saddle point with stored but zero diagonal: the plan from the pattern alone fails, values repair it.
    rng = np.random.default_rng(1)
    b = rng.standard_normal((40, 90)) * (rng.random((40, 90)) < 0.08) + np.eye(40, 90)
    rows, cols = np.nonzero(b)

    def stokes(y, c):
        u, p = y["u"], y["p"]
        gradient = jnp.zeros(90).at[cols].add(b[rows, cols] * p[rows])
        divergence = jnp.zeros(40).at[rows].add(b[rows, cols] * u[cols])
        return {"u": 1e-3 * (u + u**3) + gradient - 1.0, "p": divergence - c + 0.0 * p * p}

    y0 = {"u": jnp.zeros(90), "p": jnp.zeros(40)}
    sol = root_find(stokes, None, y0, 0.5)
    assert norm(stokes(sol.value, 0.5)) < 1e-11


@pytest.mark.parametrize("kind", ["pattern", "scipy", "jacobian"])
def test_sparsity_argument(kind):
    pattern = detect_sparsity(bratu, jnp.zeros(12), 1.0)
    sparsity = {
        "pattern": pattern,
        "scipy": scipy.sparse.csc_matrix(pattern.to_scipy()),
        "jacobian": jacobian(bratu, jnp.zeros(12), 1.0),
    }[kind]
    sol = root_find(bratu, None, jnp.zeros(12), 1.0, sparsity=sparsity)
    np.testing.assert_allclose(sol.value, root_find(bratu, None, jnp.zeros(12), 1.0).value, rtol=1e-12)


def test_verbose_prints_a_line_per_iteration(capsys):
    sol = root_find(bratu, None, jnp.zeros(9), 1.0, verbose=True)
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == int(sol.stats["num_steps"]) + 1
    assert "|F|" in lines[0] and lines[1].split()[0] == "1"


def test_line_search_rescues_a_far_start():
    # Full Newton steps on arctan diverge from here.
    sol = root_find(lambda y, _: jnp.arctan(y), None, jnp.array([20.0]), history=True)
    np.testing.assert_allclose(sol.value, 0.0, atol=1e-14)
    assert float(np.min(sol.stats["step_lengths"])) < 0.5


def test_nonfinite_trials_are_rejected():
    # The full step from 4 leaves the domain of the logarithm.
    sol = root_find(lambda y, _: jnp.log(y), None, jnp.array([4.0]))
    np.testing.assert_allclose(sol.value, 1.0, rtol=1e-14)


@pytest.mark.parametrize("make", [gallery.brusselator, gallery.fem_diffusion], ids=["brusselator", "fem"])
def test_gallery(make):
    problem = make(8)
    sol = root_find(problem.residual, None, problem.y0, problem.args)
    assert isinstance(sol, optx.Solution)
    scale = norm(problem.residual(problem.y0, problem.args))
    assert norm(problem.residual(sol.value, problem.args)) < 1e-10 * max(scale, 1.0)
