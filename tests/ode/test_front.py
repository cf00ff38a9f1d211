"""What users ask of `solve_ode` together: events, outputs, meters, complex states, jumps, tolerances, bad DAEs."""

import functools
import re

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

from sparsesolve.ode import BDF, RadauIIA5, Rodas5P, solve_ode

MASS = np.diag([1.0, 0.0])


def slow_and_fast(t, y, rate):
    """`slow` decays, `fast` follows it within `1 / rate`."""
    return {"slow": -y["slow"], "fast": -rate * (y["fast"] - y["slow"])}


START = {"slow": jnp.asarray([1.0, 2.0]), "fast": jnp.asarray([0.0, 0.0])}


@pytest.mark.parametrize("solver", [Rodas5P(), BDF()])
def test_an_event_of_a_stiff_problem_is_located(solver):
    event = dfx.Event(lambda t, y, args, **_: y["fast"][0] - 0.5, optx.Newton(1e-9, 1e-9), direction=False)
    sol = solve_ode(
        slow_and_fast, 0.0, 5.0, START, 1e5, solver=solver, event=event, rtol=1e-8, atol=1e-10,
        saveat=dfx.SaveAt(t1=True),
    )  # fmt: skip
    assert bool(sol.event_mask)
    np.testing.assert_allclose(sol.ts[-1], np.log(2.0), atol=2e-5)
    np.testing.assert_allclose(sol.ys["fast"][-1, 0], 0.5, atol=1e-6)


@pytest.mark.parametrize(("condition", "end"), [
    (lambda t, y, args, **others: t - 0.25, 0.25),
    (lambda t, y, args, *, terms, **others: terms.vf(t, y, args)[0] - 2 * y[0] * 0.5 - 0.3, 0.3),
    (lambda t, y, args, *, t1, **others: t - 0.5 - t1, 0.5),
])  # fmt: skip
def test_conditions_of_events_see_times_terms_and_arguments_of_the_user_also_backward(condition, end):
    event = dfx.Event(condition, optx.Newton(1e-10, 1e-10))
    f = lambda t, y, args: args["one"] * y + t  # noqa: E731
    sol = solve_ode(f, 1.0, 0.0, jnp.ones(1), {"one": 1.0}, event=event)
    np.testing.assert_allclose(sol.ts[0], end, rtol=1e-9)


def test_a_steady_state_is_an_event():
    event = dfx.Event(dfx.steady_state_event())
    sol = solve_ode(lambda t, y, rate: rate * (1 - y), 0.0, 1e3, jnp.zeros(1), 10.0, mass=np.eye(1), event=event)
    assert 1.0 < float(sol.ts[0]) < 3.0 and abs(float(sol.ys[0, 0]) - 1) < 1e-5


def test_loops_of_unknown_length_random_keys_and_a_dense_sparsity():
    def f(t, y, key):  # a loop without a transpose
        _, y = jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 2.0), (0, y))
        return -y / 8 + 0.0 * jax.random.normal(key, y.shape)

    def end(scale, solver):
        start, key = scale * jnp.ones(2), jax.random.key(0)
        return solve_ode(f, 0.0, 1.0, start, key, sparsity=np.eye(2), solver=solver).ys[0, 0]

    for solver in (None, BDF()):
        made = jax.jvp(functools.partial(end, solver=solver), (1.0,), (1.0,))
        np.testing.assert_allclose(made, np.exp([-1.0, -1.0]), rtol=1e-4)


def test_far_from_time_zero_the_first_step_moves_time():
    f = lambda t, y, a: jnp.stack([-y[0], y[1] - y[0]])  # noqa: E731
    for t0, t1 in ((1e12, 1e12 + 1), (1e12 + 1, 1e12)):
        sol = solve_ode(f, t0, t1, jnp.ones(2), mass=MASS)
        np.testing.assert_allclose(sol.ys[0], np.exp(t0 - t1), rtol=1e-6)


def test_dense_output_steps_and_functions_of_the_state():
    whole = lambda t, y, rate: y["slow"].sum()  # noqa: E731
    at = dfx.SaveAt(subs=[dfx.SubSaveAt(steps=True, fn=whole), dfx.SubSaveAt(ts=jnp.asarray([0.3, 0.7]))])
    sol = solve_ode(slow_and_fast, 0.0, 1.0, START, 1e4, saveat=at, max_steps=300)
    count = int(sol.stats["num_accepted_steps"])
    np.testing.assert_allclose(sol.ys[0][:count], 3 * np.exp(-sol.ts[0][:count]), rtol=1e-5)
    np.testing.assert_allclose(sol.ys[1]["slow"][:, 0], np.exp([-0.3, -0.7]), rtol=1e-5)
    dense = solve_ode(slow_and_fast, 0.0, 1.0, START, 1e4, saveat=dfx.SaveAt(dense=True), max_steps=300)
    t = jnp.linspace(0.01, 1.0, 50)
    slow = jax.vmap(dense.evaluate)(t)["slow"][:, 1]
    np.testing.assert_allclose(slow, 2 * np.exp(-t), rtol=1e-5)


def test_a_progress_meter_is_shown(capsys):
    solve_ode(slow_and_fast, 0.0, 1.0, START, 1e3, progress_meter=dfx.TextProgressMeter(minimum_increase=0.2))
    jax.effects_barrier()
    assert re.search(r"100(\.0*)?%", capsys.readouterr().out)


@pytest.mark.parametrize("solver", [Rodas5P(), BDF()])
@pytest.mark.filterwarnings("ignore:Complex dtype")
def test_complex_states(solver):
    f = lambda t, z, a: (1j * a - 50.0) * (z - jnp.exp(1j * t)) + 1j * jnp.exp(1j * t)  # noqa: E731
    sol = solve_ode(f, 0.0, 2.0, jnp.asarray([1.0 + 0.5j]), 3.0, solver=solver)
    np.testing.assert_allclose(sol.ys[0], np.exp(2j), atol=1e-5)


def test_a_train_of_jumps():
    pulses = np.arange(1.0, 6.0)
    f = lambda t, y, a: -100 * (y - jnp.floor(t))  # noqa: E731
    sol = solve_ode(f, 0.0, 5.5, jnp.zeros(1), jump_ts=pulses, rtol=1e-5, saveat=dfx.SaveAt(ts=pulses - 0.1, t1=True))
    np.testing.assert_allclose(sol.ys[:, 0], [0, 1, 2, 3, 4, 5], atol=1e-3)
    assert int(sol.stats["num_rejected_steps"]) <= 5 * pulses.size


def test_backward_in_time_undoes_forward():
    f = lambda t, y, a: jnp.stack([y[1], -a * y[0] * jnp.cos(t)])  # noqa: E731
    y0 = jnp.asarray([1.0, 0.5])
    there = solve_ode(f, 0.5, 2.0, y0, 4.0, rtol=1e-9, atol=1e-11)
    back = solve_ode(f, 2.0, 0.5, there.ys[0], 4.0, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(back.ys[0], y0, atol=1e-7)
    np.testing.assert_allclose(float(back.stats["final_time"]), 0.5)
    assert float(back.stats["final_step"]) < 0 < float(there.stats["final_step"])


def test_where_a_collapsed_step_was_can_be_read_from_the_result():
    f = lambda t, y, a: {"quiet": -y["quiet"], "grows": y["grows"] ** 2}  # noqa: E731
    y0 = {"quiet": jnp.ones(2), "grows": jnp.asarray([0.1, 1.0])}
    solve = jax.jit(lambda y: solve_ode(f, 0.0, 2.0, y, throw=False, saveat=dfx.SaveAt(ts=jnp.asarray([0.5, 1.5]))))
    sol = solve(y0)
    assert bool(sol.result == dfx.RESULTS.dt_min_reached)
    np.testing.assert_allclose(sol.stats["final_time"], 1.0, atol=1e-4)
    assert 0 < float(sol.stats["final_step"]) < 1e-6 and int(sol.stats["worst_component"]) == 1  # ['grows'][1]
    np.testing.assert_allclose(sol.ys["grows"][0, 1], 2.0, rtol=1e-5)


def test_a_mass_matrix_may_be_a_function_of_a_small_system():
    """`(1 + y^2) y' = -y` conserves `log(y) + y^2 / 2 + t`."""
    mass = lambda t, y, a: jnp.diag(1 + y**2)  # noqa: E731
    sol = solve_ode(lambda t, y, a: -y, 0.0, 1.0, jnp.ones(1), mass=mass, rtol=1e-7, atol=1e-9)
    y = float(sol.ys[0, 0])
    np.testing.assert_allclose(np.log(y) + y**2 / 2 + 1, 0.5, atol=1e-5)


SLIDER = lambda t, y, a: jnp.stack([y[1], y[0] - jnp.sin(t)])  # noqa: E731  (index 2)
DRIVEN = lambda t, y, a: jnp.stack([y[1], y[2] - y[0], y[0] - jnp.sin(t)])  # noqa: E731  (index 3)
HIGH = RadauIIA5(index=jnp.asarray([1, 2, 3]))
BAD = {
    "index 4": (
        lambda: solve_ode(SLIDER, 0.0, 1.0, jnp.zeros(2), mass=MASS, solver=RadauIIA5(index=jnp.asarray([1, 4]))),
        r"got index=\[1, 4\]",
    ),
    "index 2, inconsistent": (
        lambda: solve_ode(
            SLIDER, 0.0, 1.0, jnp.asarray([1.0, 1.0]), mass=MASS, solver=RadauIIA5(index=jnp.asarray([1, 2]))
        ),
        r"equation without derivatives f\[1\] is 1 and should be 0",
    ),
    "index 3, velocities leave the constraint": (
        lambda: solve_ode(DRIVEN, 0.0, 1.0, jnp.asarray([0.0, 0.5, 0.0]), mass=np.diag([1.0, 1.0, 0.0]), solver=HIGH),
        r"derivative with respect to time of the equation without derivatives f\[2\] is not 0",
    ),
    "mass": (lambda: solve_ode(SLIDER, 0.0, 1.0, jnp.zeros(2), mass=np.eye(3)), r"shape \(3, 3\).* 2 components"),
    "tolerances": (
        lambda: solve_ode(slow_and_fast, 0.0, 1.0, START, 1.0, atol={"slow": 1e-6}),
        "atol as a pytree of another structure",
    ),
    "tolerance's shape": (
        lambda: solve_ode(slow_and_fast, 0.0, 1.0, START, 1.0, rtol={"slow": np.full(3, 1e-3), "fast": 1e-3}),
        r"rtol of shape \(3,\) for y0\['slow'\] of shape \(2,\)",
    ),
    "keys": (
        lambda: solve_ode(lambda t, y, a: {"slow": y["slow"], "quick": y["fast"]}, 0.0, 1.0, START),
        r"another structure than the state:\n  state: .*'?fast'?.*\n  result: .*'?quick'?",
    ),
    "infinite slope": (
        lambda: solve_ode(lambda t, y, a: {"slow": y["slow"], "fast": y["fast"] / t}, 0.0, 1.0, START),
        r"NaN or infinite values in f at t0=0: in the leaves f\['fast'\]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_a_sentence(name):
    call, words = BAD[name]
    with pytest.raises((ValueError, RuntimeError), match=words):
        call()


@pytest.mark.parametrize("speed", [1.0, 1.0 + 1e-9])
def test_velocities_that_keep_a_constraint_are_taken(speed):
    start, mass = jnp.asarray([0.0, speed, 0.0]), np.diag([1.0, 1.0, 0.0])
    sol = solve_ode(DRIVEN, 0.0, 1.0, start, mass=mass, solver=HIGH)
    np.testing.assert_allclose(sol.ys[0, :2], [np.sin(1.0), np.cos(1.0)], atol=1e-6)


def test_an_index_two_start_may_be_kept():
    solver = RadauIIA5(index=jnp.asarray([1, 2]))
    options = {"mass": MASS, "solver": solver, "rtol": 1e-4, "atol": 1e-6}
    sol = solve_ode(SLIDER, 0.0, 0.2, jnp.asarray([1e-6, 1.0]), inconsistent="keep", **options)
    np.testing.assert_allclose(sol.ys[0, 0], np.sin(0.2), atol=1e-4)
