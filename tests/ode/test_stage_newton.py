"""`StageNewton` in diffrax's own implicit solvers."""

import diffrax as dfx
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.ode import StageNewton
from sparsesolve.ode.newton._stage_newton import _in_states
from tests.ode.problems import (
    ROBERTSON_40,
    ROBERTSON_START,
    SMOOTH_START,
    last,
    robertson,
    smooth,
    smooth_explicit,
    smooth_implicit,
    solve,
)

AT_END = dfx.SaveAt(t1=True)


def test_ends_the_false_failures_of_stock_kvaerno5():
    stock = solve(robertson, dfx.Kvaerno5(), 40.0, ROBERTSON_START, atol=1e-12, saveat=AT_END)
    ours = solve(robertson, dfx.Kvaerno5(root_finder=StageNewton()), 40.0, ROBERTSON_START, atol=1e-12, saveat=AT_END)
    assert ours.stats["num_steps"] * 4 < stock.stats["num_steps"]
    np.testing.assert_allclose(last(ours), ROBERTSON_40, rtol=1e-5)


@pytest.mark.parametrize("method", [dfx.Kvaerno3, dfx.KenCarp4, dfx.Sil3], ids=lambda m: m.__name__)
def test_stages_solved_for_f_and_for_k(method):
    split = dfx.MultiTerm(dfx.ODETerm(smooth_explicit), dfx.ODETerm(smooth_implicit))
    terms = dfx.ODETerm(smooth) if method is dfx.Kvaerno3 else split
    found = solve(terms, method(root_finder=StageNewton()), 1.0, SMOOTH_START, rtol=1e-6, saveat=AT_END)
    exact = solve(smooth, dfx.Dopri8(), 1.0, SMOOTH_START, rtol=1e-10, atol=1e-12, saveat=AT_END)
    np.testing.assert_allclose(last(found), last(exact), atol=2e-5)


def test_an_unknown_layout_is_told():
    with pytest.warns(UserWarning, match="does not know how this version of diffrax lays out its stages"):
        change, value = _in_states(jnp.ones(2), jnp.zeros(2), (1, 2))
    np.testing.assert_array_equal(change, jnp.ones(2))
    np.testing.assert_array_equal(value, jnp.zeros(2))
