"""Nothing dense is formed: neither the solve nor its gradient holds an n x n array or a dense factorization."""

import math

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import pytest

from sparsesolve import gallery
from sparsesolve.nonlinear import root_find
from tests.nonlinear.problems import bratu

DENSE = {"lu", "lu_pivots_to_permutation", "cholesky", "qr", "geqrf", "householder_product", "svd", "eig", "eigh"}


def equations(jaxpr):
    """All equations, through every nested jaxpr."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if isinstance(inner, jex.ClosedJaxpr):
                    yield from equations(inner.jaxpr)
                elif isinstance(inner, jex.Jaxpr):
                    yield from equations(inner)


def _check(function, n, *args):
    closed = jax.make_jaxpr(function)(*args)
    found = list(equations(closed.jaxpr))
    assert len(found) > 100
    for eqn in found:
        for variable in (*eqn.invars, *eqn.outvars):
            assert math.prod(variable.aval.shape) < n * n, eqn
        if eqn.primitive.name in DENSE:  # small fronts may use them; nothing of the size of the problem may
            assert all(max(v.aval.shape, default=0) < n // 2 for v in eqn.invars), eqn
    return {eqn.primitive.name for eqn in found}


@pytest.mark.parametrize("grid", [False, True], ids=["1-D", "2-D"])
def test_no_dense_operation(grid):
    if grid:
        problem = gallery.bratu_2d(12)
        residual, y0, args, n = problem.residual, problem.y0, problem.args, 144
    else:
        residual, y0, args, n = bratu, jnp.zeros(200), 1.0, 200

    def solve(args):
        return jnp.sum(jax.tree.leaves(root_find(residual, None, y0, args).value)[0] ** 2)

    forward = _check(solve, n, args)
    gradient = _check(jax.grad(solve), n, args)
    assert "while" in forward and "while" in gradient


def test_the_walk_sees_nested_equations():
    closed = jax.make_jaxpr(lambda x: jax.lax.cond(x[0] > 0, jax.jit(jnp.linalg.inv), jnp.transpose, jnp.outer(x, x)))(
        jnp.ones(3)
    )
    assert "lu" in {eqn.primitive.name for eqn in equations(closed.jaxpr)}
