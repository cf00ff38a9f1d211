"""RadauIIA9: its table, order, steps and digits, a DAE of index 1, rounding errors, gradients."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

from sparsesolve import gallery
from sparsesolve.ode import RadauIIA5, RadauIIA9, StiffController, solve_ode
from sparsesolve.ode.runge_kutta._radau9 import RADAU9

TIGHT = dfx.VeryChord(rtol=1e-14, atol=1e-15, norm=optx.rms_norm)


def fixed_steps(f, y0, t1, h, args=None, **kwargs):
    return dfx.diffeqsolve(dfx.ODETerm(f), RadauIIA9(root_finder=TIGHT), 0.0, t1, h, y0, args, **kwargs).ys


def run(problem, solver, throw=True):
    """`solve(rtol)`, compiled once."""

    @jax.jit
    def solve(rtol):
        controller = StiffController(rtol, jax.tree.map(lambda size: jnp.asarray(size) * rtol, problem.scale))
        term, saveat = dfx.ODETerm(problem.rhs), dfx.SaveAt(t1=True, solver_state=True)
        interval = problem.t0, problem.t1, None
        kwargs = {"stepsize_controller": controller, "saveat": saveat, "throw": throw}
        sol = dfx.diffeqsolve(term, solver, *interval, problem.y0, problem.args, **kwargs)
        return jax.tree.map(lambda leaf: leaf[0], sol.ys), sol.stats["num_steps"], sol.solver_state.counts

    return solve


def test_table():
    c, a = RADAU9.nodes, np.linalg.inv(RADAU9.inverse)
    for k in range(1, 10):
        np.testing.assert_allclose(a[-1] @ c ** (k - 1), 1 / k, rtol=1e-13)  # order 9
    for k in range(1, 6):
        np.testing.assert_allclose(a @ c ** (k - 1), c**k / k, rtol=1e-9)  # stage order 5
    block = np.zeros((5, 5))
    block[0, 0] = RADAU9.real
    for k, nu in enumerate(RADAU9.pairs):
        at = slice(1 + 2 * k, 3 + 2 * k)
        block[at, at] = [[nu.real, -nu.imag], [nu.imag, nu.real]]
    np.testing.assert_allclose(RADAU9.transform_inverse @ RADAU9.inverse @ RADAU9.transform, block, atol=1e-11)
    # The error estimate is 0 for polynomials up to the fifth degree but for their slope at the start.
    np.testing.assert_allclose(RADAU9.error @ c, -1.0, rtol=1e-13)
    np.testing.assert_allclose([RADAU9.error @ c**k for k in range(2, 6)], 0.0, atol=1e-12)


def test_order_nine_at_the_end_and_six_between_steps():
    # A rotation, and a stiff component far from its smooth solution, which L-stability brings there in a few steps.
    def f(t, y, args):
        turning = jnp.stack([y[1], -y[0]]) * jnp.cos(t)
        return jnp.append(turning, -1e6 * (y[2] - jnp.cos(t)) - jnp.sin(t))

    ts = np.linspace(0.0, 6.0, 601)
    exact = np.stack([np.cos(np.sin(ts)), -np.sin(np.sin(ts))], axis=1)

    @jax.jit
    def errors(h):
        ys = fixed_steps(f, jnp.array([1.0, 0.0, 2.0]), 6.0, h, saveat=dfx.SaveAt(ts=ts))
        return jnp.max(jnp.abs(ys[:, :2] - exact), axis=1), jnp.abs(ys[-1, 2] - np.cos(6.0))

    (coarse, coarse_stiff), (fine, fine_stiff) = errors(0.75), errors(0.375)
    assert 8.6 < np.log2(coarse[-1] / fine[-1]) < 9.4
    assert 5.5 < np.log2(coarse.max() / fine.max()) < 6.4
    assert max(coarse_stiff, fine_stiff) < 1e-9


def test_hires_with_few_steps():
    problem = gallery.hires()
    solve = run(problem, RadauIIA9())
    most = {1e-4: 60, 1e-5: 70, 1e-6: 85, 1e-7: 100, 1e-8: 115, 1e-9: 130}  # RadauIIA5: 79, 104, 133, 192, 276, 403
    for rtol, steps in most.items():
        y, num_steps, _ = solve(rtol)
        assert problem.digits(y) >= -np.log10(rtol) - 1, f"at rtol={rtol:g}"
        assert int(num_steps) <= steps, f"at rtol={rtol:g}"


def test_rounding_errors_do_not_reject_steps():
    # Late on steps of 1e10 multiply the rounding errors of the right-hand side.
    problem = gallery.rober()
    y, num_steps, counts = run(problem, RadauIIA9())(1e-8)
    assert problem.digits(y) >= 7
    assert int(num_steps) <= 320
    assert int(counts["num_newton_failures"]) <= 20


def test_index_one_and_its_gradient():
    def end(p):
        def f(t, y, p):
            return jnp.stack([-p * y[1], y[1] - y[0] ** 2])  # y = 1 / (1 + p t), z = y^2

        solver = RadauIIA9(mass=np.diag([1.0, 0.0]), root_finder=TIGHT)
        return dfx.diffeqsolve(dfx.ODETerm(f), solver, 0.0, 2.0, 0.25, jnp.ones(2), p, max_steps=16).ys[0, 1]

    value, slope = jax.jit(jax.value_and_grad(end))(1.5)
    np.testing.assert_allclose(value, 1 / 16, rtol=1e-9)
    np.testing.assert_allclose(slope, -2 * 2.0 / 64, rtol=1e-9)


def test_lowers_for_cuda():
    run(gallery.hires(), RadauIIA9(), throw=False).trace(1e-6).lower(lowering_platforms=("cuda",))


def test_an_index_above_three_is_refused():
    with pytest.raises(ValueError, match="RadauIIA9 got index"):
        RadauIIA9(index=jnp.array([1, 4]))


@pytest.mark.parametrize("method", [RadauIIA5, RadauIIA9])
def test_stiff_components_follow_a_forcing(method):
    """Prothero and Robinson's problem after its transient: errors at all steps."""
    rate = 1e4

    def f(t, y, args):
        return -rate * (y - jnp.cos(t))

    saveat = dfx.SaveAt(steps=True)
    sol = solve_ode(f, 0.0, 10.0, jnp.zeros(1), solver=method(), rtol=1e-9, atol=1e-9, saveat=saveat, max_steps=300)
    made = int(sol.stats["num_accepted_steps"])
    t, y = np.asarray(sol.ts[:made]), np.asarray(sol.ys[:made, 0])
    exact = rate * (rate * np.cos(t) + np.sin(t) - rate * np.exp(-rate * t)) / (rate**2 + 1)
    assert np.abs(y - exact).max() < 3e-6
    assert int(sol.stats["num_rejected_steps"]) < 12
