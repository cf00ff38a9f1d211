"""`throw=True` inside transformations: raises while running, and lowers for platforms that this host does not have."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from sparsesolve.least_squares import least_squares


def misfit(y, target):
    return {"fit": jnp.exp(y) - target, "slope": y[1:] - y[:-1]}


def solve(target, max_steps=50):
    return least_squares(misfit, None, jnp.zeros(60), target, max_steps=max_steps).value


def test_programs_that_may_raise_lower_for_cuda():
    lowered = jax.jit(solve).trace(jnp.ones(60)).lower(lowering_platforms=("cuda",))
    assert "callback" not in lowered.as_text()


def test_compiled_programs_raise():
    assert bool(jnp.all(jnp.isfinite(jax.jit(solve)(jnp.full(60, 2.0)))))
    with pytest.raises(Exception, match="maximum number of steps"):
        eqx.filter_jit(solve)(jnp.linspace(1.0, 9.0, 60), 2).block_until_ready()


def test_derivatives_and_batches_of_programs_that_may_raise():
    total = jax.jit(jax.vmap(jax.grad(lambda t: jnp.sum(solve(t)))))(jnp.ones((2, 60)))
    assert total.shape == (2, 60) and bool(jnp.all(jnp.isfinite(total)))
