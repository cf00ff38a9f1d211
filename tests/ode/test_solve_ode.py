"""`solve_ode`: choices, statistics, what is reused, and what it says about bad input and failures."""

import itertools

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve import gallery
from sparsesolve.ode import BDF, RadauIIA5, Rodas5P, solve_ode
from sparsesolve.ode.solve._call import call_cache, problem_cache
from sparsesolve.ode.solve._choice import choose_solver
from sparsesolve.pattern import SparsityPattern


def relax(t, y, args):
    return {"fast": -args * (y["fast"] - jnp.cos(t)), "slow": -y["slow"] * y["fast"][:1]}


START = {"fast": jnp.zeros(2), "slow": jnp.ones(1)}


def run(problem, rtol, **options):
    size = jax.tree.map(lambda y: np.broadcast_to(problem.scale, y.shape) * rtol, problem.y0)
    jumps = problem.jump_ts or None
    return solve_ode(
        problem.rhs, problem.t0, problem.t1, problem.y0, problem.args,
        rtol=rtol, atol=size, mass=problem.mass, jump_ts=jumps, **options,
    )  # fmt: skip


SMALL = ["hires", "rober", "orego", "e5", "pollu", "van_der_pol", "chemical_akzo", "transistor_amplifier"]


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) for n in SMALL if n != "orego"] + ["orego"])
def test_gallery_from_the_default_first_step(name):
    problem = getattr(gallery, name)()
    for rtol in (1e-4, 1e-6, 1e-9):
        sol = run(problem, rtol)
        digits = problem.digits(jax.tree.map(lambda y: y[0], sol.ys))
        assert digits >= -np.log10(rtol) - 1, (rtol, digits)


def test_statistics_add_up():
    sol = solve_ode(relax, 0.0, 2.0, START, 1e4)
    stats = {name: int(value) for name, value in sol.stats.items()}
    assert stats["num_steps"] == stats["num_accepted_steps"] + stats["num_rejected_steps"]
    assert stats["num_rejected_steps"] == stats["num_error_rejections"] + stats["num_newton_rejections"]
    assert stats["num_jacobians"] == stats["num_accepted_steps"]
    assert stats["num_factorizations"] == stats["num_steps"]
    assert sol.solver_state is None and sol.controller_state is None
    np.testing.assert_allclose(sol.ys["fast"][0], np.cos(2.0), atol=1e-3)


def test_a_second_call_reuses_plan_and_code_also_with_other_numbers():
    traces = itertools.count()

    def counted(t, y, args):
        next(traces)
        return relax(t, y, args)

    solve_ode(counted, 0.0, 1.0, START, 100.0)
    before = next(traces)
    other = jax.tree.map(lambda y: y + 0.5, START)
    sol = solve_ode(counted, 0.5, 2.0, other, 200.0, rtol=1e-5, atol=1e-7)
    assert next(traces) == before + 1
    np.testing.assert_allclose(sol.ys["fast"][0], np.cos(2.0), atol=1e-2)
    entries = len(problem_cache)
    for _ in range(2):  # a lambda written anew
        solve_ode(lambda t, y, args: relax(t, y, args), 0.0, 1.0, START, 100.0)
    assert len(problem_cache) <= entries + 1
    assert call_cache.hits > 0


def test_a_changed_closure_is_noticed():
    for rate in (1.0, 2.0):
        sol = solve_ode(lambda t, y, args: -rate * y, 0.0, 1.0, jnp.ones(1))  # noqa: B023
        np.testing.assert_allclose(sol.ys[0], np.exp(-rate), rtol=1e-4)


def test_an_array_written_to_in_place_is_noticed():
    rate = np.ones(1)
    f = lambda t, y, args: -rate[0] * y  # noqa: E731
    for value in (1.0, 2.0):
        rate[0] = value
        np.testing.assert_allclose(solve_ode(f, 0.0, 1.0, jnp.ones(1)).ys[0], np.exp(-value), rtol=1e-4)


def test_a_single_precision_state_with_tables_of_its_precision():
    table = jnp.asarray([1.0, 2.0], jnp.float32)  # times of float64 make the state float64
    sol = solve_ode(lambda t, y, a: jax.lax.mul(-table.astype(y.dtype), y), 0.0, 1.0, table, rtol=1e-4)
    np.testing.assert_allclose(sol.ys[0], [np.exp(-1.0), 2 * np.exp(-2.0)], rtol=1e-4)


@pytest.mark.parametrize("solver", [None, BDF()])
def test_no_absolute_tolerance_for_a_component_that_stays_zero(solver):
    f = lambda t, y, a: -y  # noqa: E731
    none, some = (solve_ode(f, 0.0, 1.0, jnp.asarray([1.0, 0.0]), solver=solver, atol=atol) for atol in (0.0, 1e-12))
    assert int(none.stats["num_steps"]) == int(some.stats["num_steps"])
    np.testing.assert_allclose(none.ys, some.ys, rtol=1e-9)


def test_tolerances_for_each_component_and_leaf():
    loose = solve_ode(relax, 0.0, 2.0, START, 100.0, rtol=1e-3, atol=1e-5)
    mixed = solve_ode(
        relax, 0.0, 2.0, START, 100.0,
        rtol={"fast": 1e-3, "slow": 1e-8}, atol={"fast": np.asarray([1e-5, 1e-5]), "slow": 1e-10},
    )  # fmt: skip
    tight = solve_ode(relax, 0.0, 2.0, START, 100.0, rtol=1e-10, atol=1e-12)
    error = [abs(float(sol.ys["slow"][0, 0] - tight.ys["slow"][0, 0])) for sol in (loose, mixed)]
    assert error[1] < 1e-6 and error[1] < error[0] / 10
    assert int(loose.stats["num_steps"]) < int(mixed.stats["num_steps"]) < int(tight.stats["num_steps"])


def test_saveat_events_and_functions_see_the_users_arguments():
    at = dfx.SaveAt(ts=jnp.linspace(0.0, 2.0, 5), fn=lambda t, y, args: y["fast"] * args["rate"])
    f = lambda t, y, args: relax(t, y, args["rate"])  # noqa: E731
    sol = solve_ode(f, 0.0, 2.0, START, {"rate": 100.0, "name": "a label"}, saveat=at)
    assert sol.ys.shape == (5, 2)
    np.testing.assert_allclose(sol.ys[2:, 0], 100 * np.cos([1.0, 1.5, 2.0]), atol=2.0)
    event = dfx.Event(lambda t, y, args, **_: y["slow"][0] < 1.0 / args["rate"] * 50)
    sol = solve_ode(f, 0.0, 2.0, START, {"rate": 100.0, "name": "a label"}, event=event)
    assert bool(sol.event_mask) and 0.7 < float(sol.ts[0]) < 1.2


def test_inside_transformations():
    def end(rate):
        return solve_ode(relax, 0.0, 1.0, START, rate, rtol=1e-8, atol=1e-10).ys["slow"][0, 0]

    value, slope = jax.value_and_grad(end)(50.0)
    np.testing.assert_allclose(slope, (end(50.01) - end(49.99)) / 0.02, rtol=1e-3)
    many = jax.vmap(end)(jnp.asarray([20.0, 50.0, 1e4]))
    np.testing.assert_allclose(many[1], value, rtol=1e-12)
    assert many[0] < many[1] < many[2] or many[0] > many[1] > many[2]


def test_jumps_cost_no_rejections():
    f = lambda t, y, args: -y + jnp.where(t < 1.0, 0.0, 1.0)  # noqa: E731
    with_jump = solve_ode(f, 0.0, 2.0, jnp.ones(1), jump_ts=[1.0])
    blind = solve_ode(f, 0.0, 2.0, jnp.ones(1))
    exact = np.exp(-2.0) + 1 - np.exp(-1.0)
    np.testing.assert_allclose(with_jump.ys[0], exact, rtol=1e-6)
    assert int(with_jump.stats["num_rejected_steps"]) < int(blind.stats["num_rejected_steps"])


def test_a_blow_up_says_where_and_keeps_the_solution_up_to_there():
    f = lambda t, y, a: {"grows": y["grows"] ** 2, "quiet": -y["quiet"]}  # noqa: E731
    y0 = {"grows": jnp.asarray([0.1, 1.0]), "quiet": jnp.ones(1)}
    with pytest.raises(RuntimeError, match=r"at t=1\.0.*y\['grows'\]\[1\] changed most.*too small to move time"):
        solve_ode(f, 0.0, 2.0, y0)
    sol = solve_ode(f, 0.0, 2.0, y0, throw=False, saveat=dfx.SaveAt(ts=jnp.asarray([0.5, 1.5]), t1=True))
    np.testing.assert_allclose(sol.ys["grows"][0, 1], 2.0, rtol=1e-5)
    assert abs(float(sol.ts[1]) - 1.0) < 1e-4 and sol.ys["grows"][1, 1] > 1e6  # the last state, then nothing
    assert np.isfinite(sol.ys["quiet"]).sum() == 2
    with pytest.raises(RuntimeError, match=r"most steps allowed \(10\)"):
        solve_ode(f, 0.0, 0.9, y0, max_steps=10)


BAD = {
    "structure": (lambda: solve_ode(lambda t, y, a: y[:1], 0.0, 1.0, jnp.ones(2)), "another structure than the state"),
    "nan": (
        lambda: solve_ode(lambda t, y, a: {"u": jnp.log(y["u"]), "v": y["v"]}, 0.0, 1.0, {"u": -jnp.ones(2), "v": 1.0}),
        r"f at t0=0: in the leaves f\['u'\]",
    ),
    "rtol": (lambda: solve_ode(relax, 0.0, 1.0, START, 1.0, rtol=1e-17), "resolves only 2.2e-16"),
    "rtol32": (
        lambda: solve_ode(lambda t, y, a: -y, 0.0, 1.0, jnp.ones(2, jnp.float32), rtol=1e-7),
        "float32.* resolves only 1.2e-07",
    ),
    "negative": (lambda: solve_ode(relax, 0.0, 1.0, START, 1.0, atol=-1.0), "finite and not negative"),
    "no tolerance": (lambda: solve_ode(relax, 0.0, 1.0, START, 1.0, rtol=0.0, atol=0.0), "rtol = atol = 0"),
    "interval": (lambda: solve_ode(relax, 1.0, 1.0, START, 1.0), "interval of length zero"),
    "infinite": (lambda: solve_ode(relax, 0.0, jnp.inf, START, 1.0), "must be finite"),
    "ts": (
        lambda: solve_ode(relax, 0.0, 1.0, START, 1.0, saveat=dfx.SaveAt(ts=jnp.asarray([0.5, 2.0]))),
        "with 2, outside of the interval",
    ),
    "order of ts": (
        lambda: solve_ode(relax, 1.0, 0.0, START, 1.0, saveat=dfx.SaveAt(ts=jnp.asarray([0.5, 0.7]))),
        r"not sorted from t0=1 to t1=0; .*\[::-1\]",
    ),
    "no time": (
        lambda: solve_ode(relax, 0.0, 1.0, START, 1.0, saveat=dfx.SaveAt(ts=jnp.asarray([0.5, jnp.nan]))),
        "with nan, outside of the interval",
    ),
    "backward step": (lambda: solve_ode(relax, 0.0, 1.0, START, 1.0, dt0=-0.1), "dt0=-0.1 .*sign of t1 - t0"),
    "no step": (lambda: solve_ode(relax, 0.0, 1.0, START, 1.0, dt0=0.0), "dt0=0 .*other than zero"),
    "jump": (lambda: solve_ode(relax, 0.0, 1.0, START, 1.0, jump_ts=[0.5, np.nan]), "jump_ts=.*all of them numbers"),
    "integers": (lambda: solve_ode(relax, 0.0, 1.0, jnp.arange(3)), "dtype int.*write y0 as floats"),
    "text": (lambda: solve_ode(relax, 0.0, 1.0, {"a": "b"}), r"y0\['a'\] of type str"),
    "index": (
        lambda: solve_ode(lambda t, y, a: jnp.stack([y[1], y[0]]), 0.0, 1.0, jnp.zeros(2), mass=np.diag([1.0, 0.0])),
        "the index is above 1",
    ),
    "no mass": (
        lambda: solve_ode(lambda t, y, a: -y, 0.0, 1.0, jnp.ones(2), mass=np.eye(2), solver=dfx.Kvaerno5()),
        "Kvaerno5, which solves y' = f only",
    ),
    "solver": (lambda: solve_ode(relax, 0.0, 1.0, START, 1.0, solver=dfx.Euler()), "type Euler; give one that"),
    "steps": (lambda: solve_ode(relax, 0.0, 1.0, START, 1.0, max_steps=0), "at least one step"),
    "function": (lambda: solve_ode(3.0, 0.0, 1.0, START), "cannot be called"),
    "complex": (lambda: solve_ode(lambda t, y, a: 1j * y, 0.0, 1.0, jnp.ones(2)), "real state y0.*complex slope"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_a_sentence(name):
    call, words = BAD[name]
    with pytest.raises((ValueError, TypeError, RuntimeError), match=words):
        call()


def test_backward_in_time_and_solvers_of_diffrax():
    sol = solve_ode(relax, 1.0, 0.5, {"fast": jnp.ones(2), "slow": jnp.ones(1)}, -100.0, solver=Rodas5P())
    np.testing.assert_allclose(sol.ys["fast"][0], np.cos(0.5), atol=2e-2)
    sol = solve_ode(lambda t, y, a: -y, 0.0, 1.0, jnp.ones(1), solver=dfx.Tsit5())
    np.testing.assert_allclose(sol.ys[0], np.exp(-1.0), rtol=1e-5)


def test_the_method_follows_from_the_system():
    def chosen(problem, mass=None, sparsity=None):
        return type(choose_solver(problem.rhs, problem.t0, problem.y0, problem.args, mass, sparsity))

    assert chosen(gallery.hires()) is Rodas5P
    assert chosen(gallery.hires(), mass=lambda t, y, args: y) is BDF
    assert chosen(gallery.allen_cahn(16)) is BDF  # a field in the plane
    assert chosen(gallery.robertson_groups(100)) is chosen(gallery.medical_akzo(100)) is Rodas5P
    full = SparsityPattern.from_dense(np.ones((300, 300)))
    assert chosen(gallery.robertson_groups(100), sparsity=full) is BDF


def test_large_systems_keep_their_factors():
    problem = gallery.allen_cahn(16)
    sol = solve_ode(problem.rhs, 0.0, 2.0, problem.y0, problem.args)
    tight = solve_ode(problem.rhs, 0.0, 2.0, problem.y0, problem.args, solver=Rodas5P(), rtol=1e-8, atol=1e-10)
    assert float(jnp.max(jnp.abs(sol.ys - tight.ys))) < 1e-4
    assert int(sol.stats["num_factorizations"]) < int(sol.stats["num_steps"]) / 3
    assert int(sol.stats["num_jacobians"]) < 5


def test_index_two_is_left_to_radau():
    """`y' = z, 0 = y - sin(t)`: z is the derivative of what the constraint says."""
    f = lambda t, y, args: jnp.stack([y[1], y[0] - jnp.sin(t)])  # noqa: E731
    solver = RadauIIA5(index=jnp.asarray([1.0, 2.0]))
    options = {"mass": np.diag([1.0, 0.0]), "solver": solver, "rtol": 1e-5, "atol": 1e-7}
    sol = solve_ode(f, 0.0, 1.0, jnp.asarray([0.0, 1.0]), **options)
    np.testing.assert_allclose(sol.ys[0], [np.sin(1.0), np.cos(1.0)], atol=1e-4)
