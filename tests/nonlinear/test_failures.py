"""Every way to fail has a result and a sentence; nothing returns a wrong answer silently."""

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

from sparsesolve.nonlinear import RESULTS, Newton, root_find
from sparsesolve.pattern import SparsityPattern
from tests.nonlinear.problems import bratu


def _result(*args, **kwargs):
    return root_find(*args, throw=False, **kwargs).result


def test_singular_jacobian():
    def no_gauge(p, _):  # a periodic potential, known up to a constant
        return 2 * p - jnp.roll(p, 1) - jnp.roll(p, -1) - jnp.arange(8.0)

    assert bool(_result(no_gauge, None, jnp.zeros(8)) == RESULTS.singular_jacobian)
    with pytest.raises(RuntimeError, match=r"singular.*do not determine all unknowns.*After 1 step"):
        root_find(no_gauge, None, jnp.zeros(8))


def test_structurally_singular_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="singular"):
        root_find(lambda y, _: jnp.stack([y[0] + y[1], y[0] ** 2 + y[1], y[0] * y[1]]), None, jnp.ones(3))


@pytest.mark.parametrize("start", [3.0, 0.1, -7.0])
def test_local_minimum_of_the_norm(start):
    sol = root_find(lambda y, _: y**2 + 1.0, None, jnp.array([start]), throw=False)
    stalled = (RESULTS.line_search_failed, RESULTS.newton_stagnated)
    assert any(bool(sol.result == r) for r in stalled)
    assert int(sol.stats["num_steps"]) < 100 and float(sol.stats["residual_norm"]) >= 1.0


def test_nonfinite_start_names_the_leaf():
    def fn(y, _):
        return {"good": y["good"] - 1, "bad": jnp.log(y["bad"])}

    y0 = {"good": jnp.ones(2), "bad": jnp.array([1.0, -1.0])}
    with pytest.raises(RuntimeError, match=r"initial guess.*Not finite: residual\['bad'\]\."):
        root_find(fn, None, y0)
    assert bool(_result(fn, None, y0) == RESULTS.nonfinite_start)


def test_nonfinite_jacobian():
    assert bool(_result(lambda y, _: jnp.sqrt(y) - 1, None, jnp.zeros(2)) == RESULTS.nonfinite_jacobian)


def test_too_many_steps():
    with pytest.raises(RuntimeError, match=r"maximum number of steps.*After 2 steps"):
        root_find(bratu, None, jnp.zeros(9), 3.0, max_steps=2)
    result = _result(bratu, None, jnp.zeros(9), 3.0, max_steps=2)
    assert bool(result == RESULTS.promote(optx.RESULTS.nonlinear_max_steps_reached))


def test_failure_inside_jit():
    f = jax.jit(lambda lam: root_find(bratu, None, jnp.zeros(9), lam, throw=False))
    sol = f(100.0)  # beyond the fold there is no solution
    assert not bool(sol.result == RESULTS.successful)
    with pytest.raises(Exception, match=r"residual norm cannot be decreased|stagnated|singular|maximum number"):
        jax.block_until_ready(jax.jit(lambda lam: root_find(bratu, None, jnp.zeros(9), lam).value)(100.0))


def test_one_bad_lane_does_not_spoil_the_others():
    sol = jax.vmap(lambda lam: root_find(bratu, None, jnp.zeros(9), lam, throw=False))(jnp.array([1.0, 100.0, 2.0]))
    good = np.asarray(sol.result._value) == 0
    np.testing.assert_array_equal(good, [True, False, True])
    np.testing.assert_allclose(sol.value[2], root_find(bratu, None, jnp.zeros(9), 2.0).value, rtol=1e-10)


def test_not_square_names_least_squares():
    with pytest.raises(ValueError, match=r"3 residuals for 2 unknowns.*\n.*\n.*\n.*least_squares"):
        root_find(lambda y, _: jnp.concatenate([y, y[:1]]), None, jnp.ones(2))


def test_wrong_structure_shows_both():
    with pytest.raises(ValueError, match=r"(?s)unknowns:  \{'a': float64\[2\]\}.*residuals: \[float64\[2\]\]"):
        root_find(lambda y, _: [y["a"]], None, {"a": jnp.ones(2)})


def test_integer_unknowns():
    with pytest.raises(TypeError, match=r"y0\['n'\] of dtype int.*as floats"):
        root_find(lambda y, _: y, None, {"n": jnp.arange(3)})
    with pytest.raises(TypeError, match=r"y0 of dtype int"):
        root_find(lambda y, _: y, None, 3)


def test_unknowns_that_are_not_numbers():
    with pytest.raises(TypeError, match=r"y0\['name'\] of type str.*into args"):
        root_find(lambda y, _: y, None, {"name": "u"})
    with pytest.raises(ValueError, match="no unknowns"):
        root_find(lambda y, _: y, None, {})


def test_integer_residual():
    with pytest.raises(TypeError, match="int64 residual"):
        root_find(lambda y, _: jnp.round(y).astype(int), None, jnp.ones(2))


def test_complex_residual_of_real_unknowns():
    with pytest.raises(TypeError, match="holomorphic"):
        root_find(lambda y, _: y * 1j, None, jnp.ones(2))


def test_tolerance_below_the_resolution_names_x64():
    with pytest.raises(ValueError, match=r"rtol=1e-10 is below the resolution of float32.*jax_enable_x64"):
        root_find(bratu, Newton(rtol=1e-10), jnp.zeros(5, jnp.float32), 1.0)
    with pytest.raises(ValueError, match="below the resolution of float64") as caught:
        root_find(bratu, Newton(rtol=1e-17), jnp.zeros(5), 1.0)
    assert "jax_enable_x64" not in str(caught.value)


def test_arguments_in_the_wrong_places():
    with pytest.raises(TypeError, match=r"y0 is the third"):
        root_find(bratu, jnp.zeros(5), 1.0)
    with pytest.raises(TypeError, match="AutoSparse"):
        root_find(bratu, optx.Newton(1e-8, 1e-8), jnp.zeros(5), 1.0)
    with pytest.raises(TypeError, match="cannot be called"):
        root_find(jnp.zeros(5), None, jnp.zeros(5))
    with pytest.raises(ValueError, match="max_steps=0"):
        root_find(bratu, None, jnp.zeros(5), 1.0, max_steps=0)


def test_a_given_pattern_that_misses_an_entry():
    diagonal = SparsityPattern.from_dense(np.eye(6))
    with pytest.raises(ValueError, match="misses the entry"):
        root_find(bratu, None, jnp.zeros(6), 1.0, sparsity=diagonal)

    def loss(lam):  # traced: no values to verify with; the tangent must not look right
        return root_find(bratu, None, jnp.zeros(6), lam, sparsity=diagonal, max_steps=2000, throw=False).value.sum()

    assert np.isnan(float(jax.jit(jax.grad(loss))(0.3)))


def test_a_stiff_small_equation_is_not_forgotten():
    # The second equation is 14 orders of magnitude smaller than the first; its unknown must still be found.
    sol = root_find(lambda y, _: jnp.stack([y[0] ** 2 - 2.0, 1e-14 * (y[1] ** 2 - 3.0)]), None, jnp.array([1.0, 50.0]))
    np.testing.assert_allclose(sol.value, [2**0.5, 3**0.5], rtol=1e-14)
