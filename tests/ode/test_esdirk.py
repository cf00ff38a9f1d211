"""ESDIRK methods in diffrax: order, dense output, stiff accuracy, counts of work, and what else diffrax offers."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

from sparsesolve.ode import TRBDF2, KenCarp47, Kvaerno5
from sparsesolve.ode.runge_kutta._tableau import EsdirkTableau
from tests.ode.problems import (
    EXACT_STAGES,
    ROBERTSON_40,
    ROBERTSON_START,
    SMOOTH_START,
    diffusion,
    last,
    parameters,
    ring,
    robertson,
    smooth,
    smooth_explicit,
    smooth_implicit,
    solve,
)

SPLIT = dfx.MultiTerm(dfx.ODETerm(smooth_explicit), dfx.ODETerm(smooth_implicit))
WHOLE = dfx.ODETerm(smooth)


@pytest.fixture(scope="module")
def exact():
    saveat = dfx.SaveAt(ts=jnp.array([1.03, 2.0]))
    return dfx.diffeqsolve(WHOLE, dfx.Dopri8(), 0.0, 2.0, 1.03 / 400, SMOOTH_START, saveat=saveat).ys


@pytest.mark.parametrize(
    ("method", "terms", "order", "dense_order"),
    [(Kvaerno5, WHOLE, 5, 4), (KenCarp47, WHOLE, 4, 3), (KenCarp47, SPLIT, 4, 3), (TRBDF2, WHOLE, 2, 2)],
    ids=["Kvaerno5", "KenCarp47", "KenCarp47-split", "TRBDF2"],
)
def test_order_with_fixed_steps_at_the_end_and_between(method, terms, order, dense_order, exact):
    saveat = dfx.SaveAt(ts=jnp.array([1.03, 2.0]))
    errors = []
    for steps in (10, 20, 40):
        sol = dfx.diffeqsolve(
            terms, method(root_finder=EXACT_STAGES), 0.0, 2.0, 2.0 / steps, SMOOTH_START, saveat=saveat
        )
        errors.append(np.abs(sol.ys - exact).max(axis=1))
    between, end = np.log2(errors[1] / errors[2])
    assert end > order - 0.2
    assert between > min(order, dense_order + 1) - 0.4
    assert method().order(terms) == order


@pytest.mark.parametrize("method", [Kvaerno5, KenCarp47, TRBDF2])
def test_tableau_conditions(method):
    tableau: EsdirkTableau = method.tableau
    b, c, a = tableau.b, tableau.c, tableau.a
    assert abs(b.sum() - 1) < 1e-13 and abs(tableau.b_error.sum()) < 1e-13
    np.testing.assert_allclose(a @ c, c**2 / 2, atol=1e-11)  # stage order 2
    if tableau.explicit is not None:
        np.testing.assert_allclose(tableau.explicit.sum(axis=1), c, atol=1e-11)
    np.testing.assert_allclose(tableau.dense.sum(axis=1), b, atol=1e-9)


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("method", [Kvaerno5, KenCarp47])
def test_robertson_to_the_digits_asked_for(method, rtol):
    sol = solve(robertson, method(), 40.0, ROBERTSON_START, rtol=rtol, atol=rtol * 1e-6, dt0=None)
    error = np.abs(last(sol) / ROBERTSON_40 - 1).max()
    assert error < 10 * rtol
    assert sol.result == dfx.RESULTS.successful


def test_counts_of_work_on_robertson_over_eleven_decades():
    sol = solve(robertson, Kvaerno5(), 1e11, ROBERTSON_START, rtol=1e-6, atol=1e-12)
    counts = {name: int(value) for name, value in sol.solver_state.counts.items()}
    steps = int(sol.stats["num_steps"])
    assert steps < 260 and sol.stats["num_rejected_steps"] < 30
    assert counts["num_jacobians"] < steps / 2
    assert counts["num_factorizations"] < steps
    assert counts["num_residuals"] < 30 * steps
    stock = solve(robertson, dfx.Kvaerno5(), 1e11, ROBERTSON_START, rtol=1e-6, atol=1e-12, saveat=dfx.SaveAt(t1=True))
    assert stock.stats["num_steps"] > 5 * steps


def test_a_jacobian_serves_many_steps():
    sol = solve(diffusion, Kvaerno5(), 2.0, ring(30), parameters(30), rtol=1e-9, atol=1e-11)
    counts = sol.solver_state.counts
    assert counts["num_jacobians"] <= 3
    assert counts["num_factorizations"] < 0.8 * sol.stats["num_steps"]
    assert sol.result == dfx.RESULTS.successful


def test_everything_diffrax_saves():
    ts = jnp.linspace(0.0, 2.0, 7)
    saveat = dfx.SaveAt(
        subs=[
            dfx.SubSaveAt(ts=ts),
            dfx.SubSaveAt(steps=True, fn=lambda t, y, args: y[0]),
            dfx.SubSaveAt(t0=True, t1=True),
        ],
        dense=True,
    )
    sol = solve(smooth, Kvaerno5(), 2.0, SMOOTH_START, saveat=saveat, max_steps=256)
    dense = jax.vmap(sol.evaluate)(ts)
    np.testing.assert_allclose(dense, sol.ys[0], atol=1e-12)
    tight = solve(smooth, Kvaerno5(), 2.0, SMOOTH_START, rtol=1e-10, atol=1e-12, saveat=dfx.SaveAt(ts=ts))
    np.testing.assert_allclose(sol.ys[0], tight.ys, atol=1e-5)
    np.testing.assert_allclose(sol.ys[2][0], SMOOTH_START)


def test_event_on_a_stiff_problem():
    condition = dfx.Event(lambda t, y, args, **kw: y[0] - 0.8, optx.Newton(1e-10, 1e-10))
    sol = solve(robertson, Kvaerno5(), 40.0, ROBERTSON_START, rtol=1e-8, atol=1e-14, event=condition)
    assert sol.result == dfx.RESULTS.event_occurred
    assert abs(last(sol)[0] - 0.8) < 1e-7


def test_backward_in_time_returns():
    there = solve(smooth, Kvaerno5(), 1.0, SMOOTH_START, rtol=1e-9, atol=1e-11)
    back = solve(smooth, Kvaerno5(), 0.0, last(there), rtol=1e-9, atol=1e-11, t0=1.0, dt0=-1e-4)
    np.testing.assert_allclose(last(back), SMOOTH_START, atol=1e-7)


@pytest.mark.filterwarnings("ignore:Complex dtype support in Diffrax")
def test_complex_state_without_a_complex_derivative():
    def f(t, z, args):
        return (1j - 100 * (jnp.abs(z) ** 2 - 1)) * z

    sol = solve(f, KenCarp47(), 3.0, jnp.array([0.5 + 0j, 2.0]), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(last(sol), jnp.exp(3j) * jnp.ones(2), atol=1e-5)


def test_a_split_problem_with_a_pytree_state():
    def advect(t, y, p):
        return {"u": jnp.roll(y["u"], 1) - y["u"]}

    both = dfx.MultiTerm(dfx.ODETerm(advect), dfx.ODETerm(diffusion))

    def whole(t, y, p):
        return jax.tree.map(jnp.add, advect(t, y, p), diffusion(t, y, p))

    split = solve(both, KenCarp47(), 0.5, ring(20), parameters(20), rtol=1e-8, atol=1e-10)
    one = solve(whole, Kvaerno5(), 0.5, ring(20), parameters(20), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(split.ys["u"], one.ys["u"], atol=1e-7)


def test_lanes_of_vmap_do_not_disturb_each_other():
    scales = jnp.array([1.0, 100.0, 1e4])

    def f(t, y, scale):
        return scale * robertson(t, y, None)

    def one(scale):
        sol = solve(f, Kvaerno5(), 40.0 / scale, ROBERTSON_START, scale, atol=1e-12, throw=False)
        return sol.ys[-1], sol.stats["num_steps"], sol.solver_state.counts["num_newton_failures"]

    together, steps, _ = jax.vmap(one)(scales)
    np.testing.assert_allclose(together, jnp.broadcast_to(ROBERTSON_40, (3, 3)), rtol=1e-5)
    assert len(set(steps.tolist())) > 1


def test_a_step_that_cannot_be_made_is_rejected_with_finite_values():
    def f(t, y, args):
        return jnp.where(y > 1.0, jnp.nan, 1.0) * jnp.ones_like(y)

    solver = Kvaerno5(root_finder=EXACT_STAGES)
    terms, y0 = dfx.ODETerm(f), jnp.zeros(2)
    state = solver.init(terms, 0.0, 3.0, y0, None)
    y1, error, _, _, result = solver.step(terms, jnp.asarray(0.0), jnp.asarray(3.0), y0, None, state, False)
    np.testing.assert_array_equal(y1, y0)
    assert jnp.all(jnp.isinf(error)) and result == dfx.RESULTS.nonlinear_divergence


def test_float32_stays_float32():
    t0, t1, dt0 = (jnp.asarray(t, jnp.float32) for t in (0.0, 40.0, 1e-4))
    y0 = ROBERTSON_START.astype(jnp.float32)
    sol = solve(robertson, Kvaerno5(), t1, y0, rtol=1e-3, atol=1e-7, dt0=dt0, t0=t0)
    assert last(sol).dtype == jnp.float32
    assert abs(last(sol)[0] - ROBERTSON_40[0]) < 2e-3


def test_jump_in_the_right_hand_side():
    def f(t, y, args):
        return jnp.where(t < 1.0, 1.0, -1000.0 * (y - 3.0)) * jnp.ones_like(y)

    controller = dfx.ClipStepSizeController(dfx.PIDController(rtol=1e-6, atol=1e-8), jump_ts=jnp.array([1.0]))
    sol = dfx.diffeqsolve(
        dfx.ODETerm(f),
        KenCarp47(),
        0.0,
        2.0,
        0.1,
        jnp.zeros(2),
        stepsize_controller=controller,
        saveat=dfx.SaveAt(ts=jnp.array([1.0, 2.0])),
    )
    np.testing.assert_allclose(sol.ys, [[1.0, 1.0], [3.0, 3.0]], atol=1e-5)


def test_a_step_lowers_for_cuda():
    solver, terms = Kvaerno5(root_finder=EXACT_STAGES), dfx.ODETerm(diffusion)

    def step(u, h):
        state = solver.init(terms, 0.0 * h, h, {"u": u}, parameters(6))
        return solver.step(terms, 0.0 * h, h, {"u": u}, parameters(6), state, False)[0]["u"]

    text = jax.jit(step).trace(jnp.ones(6), 0.1).lower(lowering_platforms=("cuda",)).as_text()
    assert "callback" not in text and "lapack" not in text
