"""`solve_ensemble`: means what `vmap` means, with less work; failures, derivatives, devices, bad input."""

import itertools
import os
import subprocess
import sys
import textwrap

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import sparsesolve as ss
from sparsesolve._lanes import keep_ended, loop_in_chunks
from sparsesolve.ensemble._batched_loops import has_loop
from sparsesolve.ensemble._solve_ensemble import call_cache

MUS = jnp.asarray(10.0 ** np.random.default_rng(0).uniform(-1, 3, 20))


def van_der_pol(t, y, mu):
    return {"x": y["v"], "v": mu * (1 - y["x"] ** 2) * y["v"] - y["x"]}


def end(mu, **options):
    start = {"x": jnp.asarray(2.0), "v": jnp.asarray(0.0)}
    return ss.solve_ode(van_der_pol, 0.0, 5.0, start, mu, rtol=1e-5, atol=1e-7, throw=False, **options)


def test_it_means_what_vmap_means():
    solve = lambda mu: (lambda sol: (sol.ys["x"][0], sol.stats["num_steps"]))(end(mu))  # noqa: E731
    x, steps = ss.solve_ensemble(solve, MUS, chunk_size=4)
    plain, plain_steps = jax.vmap(solve)(MUS)
    np.testing.assert_allclose(x, plain, atol=1e-9)
    np.testing.assert_array_equal(steps, plain_steps)
    assert int(steps.max()) > 2 * float(steps.mean())


def test_a_loop_takes_about_as_many_lane_steps_as_are_needed():
    lengths = np.concatenate([np.full(95, 4), np.full(5, 100)])
    widths = []

    def advance(consts, lanes, alive):
        jax.debug.callback(lambda a: widths.append(a.shape[0]), alive)
        return keep_ended(lambda c, n: n + 1)(consts, lanes, alive)

    out = loop_in_chunks(lambda c, n: n < c, advance, jnp.asarray(lengths), 0, jnp.zeros(100, int), (32, 8))
    jax.effects_barrier()
    np.testing.assert_array_equal(out, lengths)
    assert sum(widths) < 2.5 * lengths.sum() < 10_000  # which is what 100 lanes until the slowest ends take


def test_loops_of_other_kinds_and_what_lanes_share():
    shared = jnp.arange(3.0)

    def newton(c):
        root = ss.root_find(lambda x, a: x**3 - a, None, jnp.full(2, 5.0), c, throw=False)
        return root.value[0], root.stats["num_steps"]

    def by_hand(c):
        return jax.lax.while_loop(lambda s: s[0] < c, lambda s: (s[0] * 2, s[1] + shared.sum(), s[2]), (1.0, 0.0, c))

    c = jnp.asarray([1.0, 8.0, 1e9, 27.0])
    root, steps = ss.solve_ensemble(newton, c, chunk_size=2)
    np.testing.assert_allclose(root, np.cbrt(c), rtol=1e-9)
    assert len(set(np.asarray(steps).tolist())) > 2
    for got, wanted in zip(ss.solve_ensemble(by_hand, c, chunk_size=2), jax.vmap(by_hand)(c), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_loops_of_optimistix_and_diffrax():
    def bisect(c):
        solver = optx.Bisection(rtol=0.0, atol=1e-9)
        options = {"lower": 0.0, "upper": c + 1.0}
        return optx.root_find(lambda x, a: x**2 - a, solver, c, c, options=options, throw=False).value

    def tsit(rate):
        sol = dfx.diffeqsolve(
            dfx.ODETerm(lambda t, y, a: -a * y), dfx.Tsit5(), 0.0, 1.0, None, jnp.ones(1), rate,
            stepsize_controller=dfx.PIDController(1e-6, 1e-8), saveat=dfx.SaveAt(steps=True), max_steps=200,
        )  # fmt: skip
        return sol

    c = jnp.asarray([1e-3, 2.0, 1e6])
    np.testing.assert_allclose(ss.solve_ensemble(bisect, c, chunk_size=2), np.sqrt(c), atol=1e-7)
    rates = jnp.asarray([0.1, 1.0, 100.0, 5.0])
    sol, plain = ss.solve_ensemble(tsit, rates, chunk_size=2), jax.vmap(tsit)(rates)
    np.testing.assert_allclose(sol.ts, plain.ts)
    np.testing.assert_allclose(sol.ys, plain.ys, rtol=1e-8)
    assert isinstance(sol, dfx.Solution) and sol.stats["num_steps"].shape == (4,)


def test_lanes_that_fail_or_run_out_of_steps_leave_the_others_alone():
    def solve(y0):
        return ss.solve_ode(lambda t, y, a: y**2, 0.0, 1.0, y0[None], throw=False, max_steps=60)

    starts = jnp.asarray([0.5, 5.0, jnp.nan, 0.1, -1.0])
    sol = ss.solve_ensemble(solve, starts, chunk_size=2)
    good = np.asarray([True, False, False, True, True])
    np.testing.assert_array_equal(sol.result == dfx.RESULTS.successful, good)
    np.testing.assert_allclose(sol.ys[good, 0, 0], (starts / (1 - starts))[good], rtol=1e-5)
    assert int(sol.stats["num_steps"].max()) <= 60


def test_reverse_mode_reaches_inputs_and_what_is_closed_over():
    def total(rates, scale):
        def solve(rate):
            decay = lambda t, y, k: -k * y  # noqa: E731
            return ss.solve_ode(decay, 0.0, 1.0, jnp.ones(()), scale * rate, solver=ss.Rosenbrock23(), rtol=1e-4).ys[0]

        return ss.solve_ensemble(solve, rates, chunk_size=2).sum()

    rates = jnp.asarray([0.5, 1.0, 3.0])
    by_rates, by_scale = jax.grad(total, (0, 1))(rates, 2.0)
    np.testing.assert_allclose(by_rates, -2 * np.exp(-2 * rates), rtol=2e-3)
    np.testing.assert_allclose(by_scale, np.sum(-rates * np.exp(-2 * rates)), rtol=2e-3)


def test_forward_mode():
    cube = lambda c: ss.root_find(lambda x, a: x**3 - a, None, jnp.full(1, 5.0), c).value[0]  # noqa: E731
    c = jnp.asarray([1.0, 8.0, 27.0])
    _, tangent = jax.jvp(lambda v: ss.solve_ensemble(cube, v, chunk_size=2), (c,), (jnp.ones(3),))
    np.testing.assert_allclose(tangent, np.cbrt(c) / (3 * c), rtol=1e-9)


def test_a_second_call_traces_nothing():
    traces = itertools.count()

    def solve(mu):
        next(traces)
        return {"mu": mu, "label": "a lane"}

    out = ss.solve_ensemble(solve, MUS)
    before, hits = next(traces), call_cache.hits
    np.testing.assert_array_equal(ss.solve_ensemble(solve, MUS + 1)["mu"], MUS + 1)
    assert out["label"] == "a lane" and next(traces) == before + 1 and call_cache.hits == hits + 1


def test_progress_is_told(capsys):
    heard = []
    count = lambda n: jax.lax.fori_loop(0, n, lambda i, s: s + i, 0)  # noqa: E731
    out = ss.solve_ensemble(count, jnp.asarray([3, 1, 10]), chunk_size=1, progress=lambda *args: heard.append(args))
    jax.effects_barrier()
    np.testing.assert_array_equal(out, [3, 0, 45])
    assert heard == [(1, 3), (2, 3), (3, 3)]
    ss.solve_ensemble(count, jnp.asarray([3, 1]), progress=True)
    jax.effects_barrier()
    assert "2 of 2 lanes have ended" in capsys.readouterr().out


def test_lanes_are_divided_among_devices():
    program = """
        import jax, jax.numpy as jnp, numpy as np
        jax.config.update("jax_enable_x64", True)
        import sparsesolve as ss
        def solve(c):
            sol = ss.root_find(lambda x, a: x**3 - a, None, jnp.full(2, 5.0), c, throw=False)
            return sol.value[0], sol.stats["num_steps"]
        c = jnp.asarray([1.0, 8.0, 1e9, 27.0, 64.0])
        root, steps = ss.solve_ensemble(solve, c)
        np.testing.assert_allclose(root, np.cbrt(c), rtol=1e-9)
        assert len(root.sharding.device_set) > 1, root.sharding
        one = ss.solve_ensemble(solve, c, devices=jax.devices()[:1])
        np.testing.assert_allclose(root, one[0], rtol=1e-12)
    """
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, env=environment, timeout=300)


def test_bad_input():
    with pytest.raises(ValueError, match="holds no arrays"):
        ss.solve_ensemble(lambda x: x, {})
    with pytest.raises(ValueError, match=r"inputs\['a'\] has 3, inputs\['b'\] has no axis.*refer directly"):
        ss.solve_ensemble(lambda x: x, {"a": jnp.ones(3), "b": 1.0})
    with pytest.raises(ValueError, match="chunk_size=0"):
        ss.solve_ensemble(lambda x: x, jnp.ones(3), chunk_size=0)


def test_it_lowers_for_cuda():
    jitted = jax.jit(lambda m: ss.solve_ensemble(lambda mu: end(mu, solver=ss.Rosenbrock23()).ys["x"][0], m))
    assert "while" in jitted.trace(MUS).lower(lowering_platforms=("cuda",)).as_text()


def test_loops_are_found_through_calls():
    inner = jax.jit(lambda x: jax.lax.while_loop(lambda s: s < 3, lambda s: s + 1, x))
    assert has_loop(jax.make_jaxpr(lambda x: inner(x) + 1)(0).jaxpr)
    assert not has_loop(jax.make_jaxpr(lambda x: x + 1)(0).jaxpr)
