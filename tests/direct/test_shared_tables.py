"""Factors renewed under a batched condition: `vmap` of `lax.cond` batches all that a branch uses, tables too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.direct import plan_direct
from tests.direct import problems


@pytest.mark.parametrize("method", ["multifrontal", "simplicial", "banded", "symmetric"])
def test_members_renew_their_factors_each_for_itself(method):
    pattern, values = problems.split(problems.stencil(6, 7))
    options = {"symmetry": "symmetric", "method": "multifrontal"} if method == "symmetric" else {"method": method}
    plan = plan_direct(pattern, **options)
    data, rhs = jnp.asarray(values), jnp.ones(42)
    old = plan.factor(data)

    def solve(data, renew):
        factors = jax.lax.cond(renew, lambda: plan.factor(data), lambda: old)
        return jax.lax.cond(renew, lambda: plan.solve(factors, rhs), lambda: plan.solve(factors, 3 * rhs))

    x = jax.jit(jax.vmap(solve))(jnp.stack([data, 2 * data]), jnp.array([False, True]))
    exact = np.linalg.solve(problems.stencil(6, 7).toarray(), np.ones(42))
    np.testing.assert_allclose(x, [3 * exact, exact / 2], rtol=1e-9)
