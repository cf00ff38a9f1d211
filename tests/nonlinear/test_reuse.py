"""A second call reuses plan and compilation; a changed function never does."""

import gc

import jax
import jax.numpy as jnp
import numpy as np

from sparsesolve.linear import caches, clear_caches
from sparsesolve.nonlinear import root_find
from tests.nonlinear.problems import bratu

SCALE = 1.0


def counted(fn):
    """The function, counting its traces in an attribute of its own (what it closes over stays the same)."""

    def wrapped(y, args):
        wrapped.calls += 1
        return fn(y, args)

    wrapped.calls = 0
    return wrapped


def test_second_call_does_not_trace():
    fn = counted(bratu)
    first = root_find(fn, None, jnp.zeros(10), 1.0)
    traced = fn.calls
    second = root_find(fn, None, jnp.full(10, 0.1), 2.0)
    assert fn.calls == traced
    assert float(second.value.max()) > float(first.value.max())
    root_find(fn, None, jnp.zeros(11), 1.0)  # another shape
    assert fn.calls > traced


def test_gradients_reuse_too():
    fn = counted(bratu)
    gradient = jax.grad(lambda lam: root_find(fn, None, jnp.zeros(10), lam).value.sum())
    gradient(1.0)
    traced = fn.calls
    gradient(2.0)
    assert fn.calls == traced


def test_the_same_lambda_written_anew_compiles_once():
    clear_caches()
    for lam in (1.0, 2.0, 3.0):
        root_find(lambda u, p: bratu(u, p) * 1.5, None, jnp.zeros(10), lam)
    table = caches()["nonlinear problems"]
    assert (table.misses, table.hits) == (1, 2)


def test_a_rebound_closure_is_noticed():
    lam = 1.0

    def fn(u, _):
        return bratu(u, lam)

    low = root_find(fn, None, jnp.zeros(10)).value
    lam = 3.0
    assert float(root_find(fn, None, jnp.zeros(10)).value.max()) > 2 * float(low.max())


def test_a_changed_attribute_is_noticed():
    class Model:
        def __init__(self):
            self.lam = 1.0

        def residual(self, u, _):
            return bratu(u, self.lam)

    model = Model()
    low = root_find(model.residual, None, jnp.zeros(10)).value
    model.lam = 3.0
    assert float(root_find(model.residual, None, jnp.zeros(10)).value.max()) > 2 * float(low.max())

    def loss(lam):
        model.lam = lam
        return root_find(model.residual, None, jnp.zeros(10)).value.max()

    assert float(jax.grad(loss)(1.0)) > 0


def test_a_changed_global_is_noticed(monkeypatch):
    def fn(u, _):
        return bratu(u, SCALE)

    low = root_find(fn, None, jnp.zeros(10)).value
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert float(root_find(fn, None, jnp.zeros(10)).value.max()) > 2 * float(low.max())


def test_configuration_in_args_is_part_of_the_plan():
    def fn(u, args):
        return bratu(u, args["lam"]) if args["kind"] == "bratu" else u - args["lam"]

    y0 = jnp.zeros(6)
    linear = root_find(fn, None, y0, {"kind": "linear", "lam": 2.0}).value
    np.testing.assert_allclose(linear, 2.0)
    assert float(root_find(fn, None, y0, {"kind": "bratu", "lam": 2.0}).value.max()) < 1.0


def test_the_tables_are_bounded_and_forget_dead_functions():
    clear_caches()
    table = caches()["root_find calls"]
    fn = counted(bratu)
    root_find(fn, None, jnp.zeros(5), 1.0)
    assert len(table) == 1
    del fn
    gc.collect()
    assert len(table) == 0
    assert all(len(cache) <= cache.maxsize for cache in caches().values())
