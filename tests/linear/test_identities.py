"""Identity calls with identity rules vanish from traced functions; all others stay."""

import jax
import jax.numpy as jnp
from optimistix._misc import inexact_asarray  # what its `root_find` puts around every result

from sparsesolve.linear._pure import purify


@jax.custom_jvp
def halved_gradient(x):
    """The identity, but not its derivative."""
    return x


@halved_gradient.defjvp
def _(primals, tangents):
    return primals[0], 0.5 * tangents[0]


def _primitives(fn):
    pure, _, _ = purify(fn, jnp.ones(3), None)
    closed = jax.make_jaxpr(lambda y: pure(y, (), ()))(jnp.ones(3))
    return [eqn.primitive.name for eqn in closed.jaxpr.eqns], pure


def test_lineax_wrapper_is_dropped_and_keys_agree():
    names, pure = _primitives(lambda y, _: inexact_asarray(2.0 * inexact_asarray(y)))
    assert names == ["mul"]
    assert pure == _primitives(lambda y, _: inexact_asarray(2.0 * y))[1]


def test_an_identity_with_another_derivative_stays():
    names, pure = _primitives(lambda y, _: halved_gradient(y) * 3.0)
    assert "custom_jvp_call" in names
    assert float(jax.jvp(lambda y: pure(y, (), ()), (jnp.ones(3),), (jnp.ones(3),))[1][0]) == 1.5


def test_keys_tell_functions_apart():
    a = _primitives(lambda y, _: jnp.sin(y) * 2.0)[1]
    assert a == _primitives(lambda y, _: jnp.sin(y) * 2.0)[1]
    assert a != _primitives(lambda y, _: jnp.sin(y) * 3.0)[1]
    assert a != _primitives(lambda y, _: jnp.cos(y) * 2.0)[1]
    table = jnp.arange(3.0)
    b = _primitives(lambda y, _: y * table)[1]
    other = table.at[1].set(7.0)
    assert b != _primitives(lambda y, _: y * other)[1]
