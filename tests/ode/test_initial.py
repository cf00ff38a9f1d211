"""Starts that do not solve the equations without derivatives: corrected and told, in transformations too."""

import warnings

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from sparsesolve import gallery
from sparsesolve.ode import BDF, RadauIIA5, Rodas5P, solve_ode

MASS = np.diag([1.0, 0.0])


def circuit(t, y, a):
    """`x' = -x`, `0 = z + z^3 - a x`; `z` is a branch current that follows."""
    return {"x": -y["x"], "z": y["z"] + y["z"] ** 3 - a * y["x"]}


START = {"x": jnp.asarray(1.0), "z": jnp.asarray(5.0)}
Z = 0.6823278038280194  # z + z^3 = 1


def test_a_wrong_guess_is_corrected_and_told():
    with pytest.warns(UserWarning, match=r"y0\['z'\] changed from 5 to 0\.682328.*inconsistent='refuse'"):
        sol = solve_ode(circuit, 0.0, 1.0, START, 1.0, mass=MASS, saveat=dfx.SaveAt(t0=True, t1=True))
    np.testing.assert_allclose(sol.ys["z"][0], Z, rtol=1e-12)
    assert int(sol.stats["num_corrected_components"]) == 1
    np.testing.assert_allclose(sol.stats["largest_correction"], 5 - Z, rtol=1e-12)
    z = float(sol.ys["z"][1])
    np.testing.assert_allclose(z + z**3, np.exp(-1.0), rtol=1e-5)


def test_a_consistent_start_is_not_touched():
    right = {"x": jnp.asarray(1.0), "z": jnp.asarray(Z * (1 + 1e-9))}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sol = solve_ode(circuit, 0.0, 1.0, right, 1.0, mass=MASS, saveat=dfx.SaveAt(t0=True))
    assert float(sol.ys["z"][0]) == float(right["z"]) and int(sol.stats["num_corrected_components"]) == 0


def test_small_components_are_looked_at_in_units_of_their_tolerance():
    f = lambda t, y, a: jnp.stack([-y[0], 1e12 * y[1] - y[0] ** 2])  # noqa: E731
    start, options = jnp.asarray([1.0, 5e-12]), {"mass": MASS, "atol": np.asarray([1e-8, 1e-20])}
    with pytest.warns(UserWarning, match=r"y0\[1\] changed from 5e-12 to 1e-12"):
        sol = solve_ode(f, 0.0, 1.0, start, solver=BDF(), **options)
    np.testing.assert_allclose(sol.ys[0, 1], 1e-12 * np.exp(-2.0), rtol=1e-5)


def test_tolerances_may_be_traced():
    right = {"x": jnp.asarray(1.0), "z": jnp.asarray(Z)}
    steps = jax.vmap(lambda rtol: solve_ode(circuit, 0.0, 1.0, right, 1.0, mass=MASS, rtol=rtol).stats["num_steps"])
    assert np.all(np.diff(steps(jnp.asarray([1e-8, 1e-6, 1e-4]))) < 0)


@pytest.mark.parametrize("solver", [BDF(mass=MASS), Rodas5P(mass=MASS)])
def test_a_mass_matrix_of_the_solver_is_as_good(solver):
    with pytest.warns(UserWarning, match=r"y0\['z'\] changed from 5 to 0\.682328"):
        sol = solve_ode(circuit, 0.0, 1.0, START, 1.0, solver=solver, saveat=dfx.SaveAt(t0=True))
    np.testing.assert_allclose(sol.ys["z"][0], Z, rtol=1e-12)


def test_refused_or_kept_where_wanted():
    with pytest.raises(ValueError, match=r"not consistent.*move y0\['z'\].*inconsistent='correct'"):
        solve_ode(circuit, 0.0, 1.0, START, 1.0, mass=MASS, inconsistent="refuse")
    near = {"x": jnp.asarray(1.0), "z": jnp.asarray(Z + 1e-3)}
    kept = solve_ode(circuit, 0.0, 1.0, near, 1.0, mass=MASS, inconsistent="keep", saveat=dfx.SaveAt(t0=True))
    assert float(kept.ys["z"][0]) == Z + 1e-3
    with pytest.raises(ValueError, match="'correct', 'refuse' or 'keep'"):
        solve_ode(circuit, 0.0, 1.0, START, 1.0, mass=MASS, inconsistent="mend")
    with pytest.raises(ValueError, match="not consistent, and found no values"):
        solve_ode(lambda t, y, a: jnp.stack([-y[0], y[1] ** 2 + 1]), 0.0, 1.0, jnp.asarray([1.0, 0.3]), mass=MASS)


def first(a, x):
    at = dfx.SaveAt(t0=True)
    return solve_ode(circuit, 0.0, 0.1, {"x": x, "z": x * 0 + 5.0}, a, mass=MASS, saveat=at, throw=False)


def test_inside_transformations():
    a, x = jnp.asarray([0.5, 1.0, 2.0]), jnp.ones(3)
    sol = jax.jit(jax.vmap(first))(a, x)
    z = sol.ys["z"][:, 0]
    np.testing.assert_allclose(z + z**3, a, rtol=1e-12)
    np.testing.assert_array_equal(sol.stats["num_corrected_components"], 1)
    gradients = jax.grad(lambda a, x: first(a, x).ys["z"][0], (0, 1))(2.0, 3.0)
    z = 1.6343652930135437  # z + z^3 = 6
    np.testing.assert_allclose(gradients, [3.0 / (1 + 3 * z**2), 2.0 / (1 + 3 * z**2)], rtol=1e-9)


def test_no_start_found_inside_jit_is_no_answer():
    f = lambda t, y, a: jnp.stack([-y[0], y[1] ** 2 + a])  # noqa: E731
    y0 = jnp.asarray([1.0, 0.3])
    solve = jax.jit(lambda a: solve_ode(f, 0.0, 1.0, y0, a, mass=MASS, solver=Rodas5P(), throw=False))
    sol = solve(1.0)
    assert bool(sol.result != dfx.RESULTS.successful)


def test_equations_that_are_combinations_of_rows():
    """A capacitor between two nodes: both rows of M are filled, their sum is the equation `0 = 2 - y0 - y1 + y2`."""
    mass = np.asarray([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    f = lambda t, y, a: jnp.stack([1 - y[0], 1 - y[1] + y[2], -y[2]])  # noqa: E731
    with pytest.warns(UserWarning, match=r"y0\[0\] changed from 0 to 1\.5; y0\[1\] changed from 0 to 1\.5"):
        sol = solve_ode(f, 0.0, 1.0, jnp.asarray([0.0, 0.0, 1.0]), mass=mass, saveat=dfx.SaveAt(t0=True))
    np.testing.assert_allclose(sol.ys[0], [1.5, 1.5, 1.0], rtol=1e-12)


def test_large_sparse_systems():
    n = 300
    f = lambda t, y, a: jnp.concatenate([-y[:n], y[n:] - y[:n] ** 2])  # noqa: E731
    mass = scipy.sparse.diags_array(np.r_[np.ones(n), np.zeros(n)]).tocsr()
    x = jnp.linspace(1.0, 2.0, n)
    with pytest.warns(UserWarning, match="and 295 more components"):
        sol = solve_ode(f, 0.0, 1.0, jnp.concatenate([x, 0 * x]), mass=mass, solver=BDF())
    np.testing.assert_allclose(sol.ys[0, n:], (x * np.exp(-1)) ** 2, rtol=1e-4)
    assert int(sol.stats["num_corrected_components"]) == n


def test_the_gallery_starts_as_published():
    for name in ("transistor_amplifier", "chemical_akzo"):
        p = getattr(gallery, name)()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sol = solve_ode(p.rhs, p.t0, p.t0 + 1e-3, p.y0, p.args, mass=p.mass)
        assert int(sol.stats["num_corrected_components"]) == 0


def test_radau_with_indices_is_left_alone():
    f = lambda t, y, args: jnp.stack([y[1], y[0] - jnp.sin(t)])  # noqa: E731
    solver = RadauIIA5(index=jnp.asarray([1.0, 2.0]))
    sol = solve_ode(f, 0.0, 0.1, jnp.asarray([0.0, 1.0]), mass=MASS, solver=solver, rtol=1e-4, atol=1e-6)
    assert "num_corrected_components" not in sol.stats
    with pytest.raises(ValueError, match="index is above 1"):
        solve_ode(f, 0.0, 0.1, jnp.asarray([0.0, 1.0]), mass=MASS, solver=RadauIIA5())
