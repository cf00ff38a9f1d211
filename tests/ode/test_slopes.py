"""Derivatives by the times that a solution is saved at: those of the values returned, on stiff problems."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.ode import BDF, Kvaerno5, RadauIIA5, Rodas5P, solve_ode
from tests.ode.problems import ROBERTSON_START, robertson

METHODS = [BDF, Rodas5P, *(pytest.param(method, marks=pytest.mark.slow) for method in (Kvaerno5, RadauIIA5))]
TS = jnp.array([1e-3, 0.1, 3.0, 20.0])


@pytest.mark.parametrize("method", METHODS)
def test_slopes_are_those_of_the_values(method):
    def values(ts, t1):
        saveat = dfx.SaveAt(ts=ts, t1=True)
        return solve_ode(
            robertson, 0.0, t1, ROBERTSON_START, solver=method(), rtol=1e-4, atol=1e-8, saveat=saveat, max_steps=300
        ).ys

    @jax.jit
    def both(ts, weights):
        made, slopes = jax.jvp(values, (ts, 40.0), (jnp.ones_like(ts), 1.0))
        return made, slopes, jax.vjp(values, ts, 40.0)[1](weights)

    weights = jnp.cos(jnp.arange(15.0)).reshape(5, 3)
    _, slopes, (by_ts, by_t1) = both(TS, weights)
    h = 1e-5 * TS
    differences = (both(TS + h, weights)[0] - both(TS - h, weights)[0])[:-1] / (2 * h[:, None])
    np.testing.assert_allclose(slopes[:-1], differences, rtol=1e-5)
    # f at these states is off by up to a factor of two in the second component, which is stiff.
    np.testing.assert_allclose(slopes[-1], [-2.5311252e-03, -9.837235e-08, 2.5312236e-03], rtol=3e-2)
    np.testing.assert_allclose(jnp.append(by_ts, by_t1), jnp.sum(weights * slopes, axis=1), rtol=1e-9)
