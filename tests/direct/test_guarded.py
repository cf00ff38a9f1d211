"""Factors in single precision where a trial finds them good enough, in double where not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.direct import plan_direct
from sparsesolve.direct._guarded import GuardedPlan
from sparsesolve.pattern import SparsityPattern


def pairs(rate, n=40):
    """`I + rate [[1, -1], [-1, 1]]` on neighbours, and a weak chain between the pairs."""
    A = np.eye(n) - 0.1 * np.eye(n, k=2)
    for k in range(0, n, 2):
        A[k : k + 2, k : k + 2] += rate * np.array([[1.0, -1.0], [-1.0, 1.0]])
    return A


def prepared(A):
    pattern = SparsityPattern.from_dense(A)
    return GuardedPlan(plan_direct(pattern, method="multifrontal")), jnp.asarray(A[pattern.rows, pattern.indices])


@pytest.mark.parametrize(("rate", "refused", "digits"), [(1e2, False, 4), (1e6, True, 4)])
def test_precision_follows_the_trial(rate, refused, digits):
    A = pairs(rate)
    plan, data = prepared(A)
    factors = jax.jit(plan.factor)(data)
    assert bool(factors.refused) is refused
    x = np.random.default_rng(0).normal(size=A.shape[0])
    for transpose, rhs in ((False, A @ x), (True, A.T @ x)):
        solution = jax.jit(lambda f, b, t=transpose: plan.solve(f, b, transpose=t))(factors, jnp.asarray(rhs))
        assert solution.dtype == jnp.float64
        np.testing.assert_allclose(solution, x, atol=10.0**-digits)


def test_weights_and_force_decide():
    A = pairs(1e2)
    plan, data = prepared(A)
    old = plan.factor(data)
    ones = jnp.ones(A.shape[0])
    assert not bool(plan.refactor(data, old.full, ones).refused)
    assert bool(plan.refactor(data, old.full, ones, True).refused)
    uneven = ones.at[::2].set(1e-9)  # errors of large components, seen from tiny ones
    assert bool(plan.refactor(data, old.full, uneven).refused)


def test_lanes_have_their_own_precision():
    plan, data = prepared(pairs(1e2))
    _, hard = prepared(pairs(1e6))
    both = jnp.stack([data, hard])
    rhs = jnp.stack([pairs(1e2) @ np.ones(40), pairs(1e6) @ np.ones(40)])
    factors = jax.vmap(plan.factor)(both)
    assert factors.refused.tolist() == [False, True]
    np.testing.assert_allclose(jax.vmap(plan.solve)(factors, rhs), 1.0, atol=1e-4)


def test_not_a_number_is_refused():
    plan, data = prepared(pairs(1e2))
    assert bool(plan.factor(data.at[3].set(jnp.nan)).refused)
