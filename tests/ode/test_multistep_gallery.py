"""BDF and RadauIIA5 on the gallery's stiff problems: digits from 1e-4 to 1e-9, pinned counts, other linear solvers."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve import gallery
from sparsesolve.linear import GMRES, AutoSparse
from sparsesolve.ode import BDF, RadauIIA5, StiffController
from sparsesolve.ode.system import _system
from sparsesolve.ode.system._system import prepare_system
from sparsesolve.precond import LaggedLU

SMALL = ["hires", "orego"]
OTHERS = ["rober", "van_der_pol", "e5", "pollu", "medical_akzo", "transistor_amplifier", "chemical_akzo"]


def integrator(problem, solver, throw=True):
    """`run(rtol)`, compiled once for all tolerances."""

    @jax.jit
    def run(rtol):
        atol = jax.tree.map(lambda size: jnp.asarray(size) * rtol, problem.scale)
        controller = StiffController(rtol, atol)
        if problem.jump_ts:
            controller = dfx.ClipStepSizeController(controller, jump_ts=list(problem.jump_ts))
        sol = dfx.diffeqsolve(
            dfx.ODETerm(problem.rhs),
            solver,
            problem.t0,
            problem.t1,
            None,
            problem.y0,
            problem.args,
            stepsize_controller=controller,
            saveat=dfx.SaveAt(t1=True, solver_state=True),
            max_steps=100_000,
            throw=throw,
        )
        return jax.tree.map(lambda leaf: leaf[0], sol.ys), sol.stats, sol.solver_state.counts

    return run


@pytest.mark.parametrize("solver", [BDF, RadauIIA5])
@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_digits_follow_the_tolerance(name, solver):
    problem = getattr(gallery, name)()
    run = integrator(problem, solver(mass=problem.mass))
    for rtol in (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9):
        y, _, _ = run(rtol)
        assert problem.digits(y) >= -np.log10(rtol) - 1, f"at rtol={rtol:g}"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("brusselator_ode", 8), ("burgers", 32), ("allen_cahn", 8)])
def test_digits_follow_the_tolerance_on_fields(name, size):
    # Largest difference from a tight solution by another method, relative to the largest value.
    problem = getattr(gallery, name)(size)
    exact, _, _ = integrator(problem, RadauIIA5())(1e-12)
    run = integrator(problem, BDF())
    for rtol in (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9):
        y, _, _ = run(rtol)
        pairs = zip(jax.tree.leaves(y), jax.tree.leaves(exact), strict=True)
        error = max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in pairs)
        assert error <= 10 * rtol, f"at rtol={rtol:g}"


def test_counts_on_the_brusselator():
    y, stats, counts = integrator(gallery.brusselator_ode(16), BDF())(1e-6)
    assert int(counts["num_factorizations"]) <= 60
    assert int(counts["num_jacobians"]) <= 4
    assert int(counts["num_residuals"]) <= 2 * int(stats["num_steps"])
    assert int(stats["num_rejected_steps"]) <= 0.08 * int(stats["num_steps"])
    assert jax.tree.all(jax.tree.map(lambda leaf: bool(jnp.all(jnp.isfinite(leaf))), y))


def test_large_factors_are_in_single_precision(monkeypatch):
    problem = gallery.brusselator_ode(18)
    _, stats, counts = integrator(problem, BDF(linear_solver=AutoSparse()))(1e-6)
    monkeypatch.setattr(_system, "_LARGE", 1000)
    low, low_stats, low_counts = integrator(problem, BDF())(1e-6)
    assert int(low_stats["num_steps"]) <= 1.05 * int(stats["num_steps"])
    assert int(low_counts["num_solves"]) <= 1.1 * int(counts["num_solves"])
    full, _, _ = integrator(problem, BDF(linear_solver=AutoSparse()))(1e-8)
    for name in low:
        np.testing.assert_allclose(low[name], full[name], rtol=1e-5)
    system = prepare_system(dfx.ODETerm(problem.rhs), 0.0, problem.y0, problem.args, guarded=True)
    assert jnp.dtype("float32") in {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(system.no_factors))}


def test_preconditioned_gmres_takes_the_place_of_the_factorization():
    problem = gallery.burgers(64)
    exact, stats, _ = integrator(problem, BDF())(1e-6)
    krylov = BDF(linear_solver=GMRES(preconditioner=LaggedLU()))
    y, krylov_stats, counts = integrator(problem, krylov)(1e-6)
    np.testing.assert_allclose(y, exact, atol=1e-5)
    assert int(counts["num_linear_iterations"]) >= int(counts["num_solves"])
    assert int(krylov_stats["num_steps"]) <= 1.1 * int(stats["num_steps"])


def test_mass_matrix_as_a_function_of_time_and_state_backward_in_time():
    # (1 + t) y' = -y, so y = 1 / (1 + t); the second equation is algebraic.
    def f(t, y, args):
        return jnp.stack([-y[0], y[1] - y[0] ** 2])

    def mass(t, y, args):
        return jnp.array([[1.0, 0.0], [0.0, 0.0]]) * (1 + t)

    for t0, t1 in ((0.0, 2.0), (2.0, 0.0)):
        y0 = jnp.array([1 / (1 + t0), 1 / (1 + t0) ** 2])
        sol = dfx.diffeqsolve(
            dfx.ODETerm(f), BDF(mass=mass), t0, t1, None, y0, stepsize_controller=StiffController(1e-7, 1e-9)
        )
        np.testing.assert_allclose(sol.ys[0], [1 / (1 + t1), 1 / (1 + t1) ** 2], rtol=1e-5)


@pytest.mark.parametrize("solver", [BDF, RadauIIA5])
def test_lowers_for_cuda(solver):
    problem = gallery.hires()
    integrator(problem, solver(), throw=False).trace(1e-6).lower(lowering_platforms=("cuda",))
