"""Loops beyond the unrolling budget, long chains of known values, and random programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jax import lax

from sparsesolve.pattern import _interpret, detect_sparsity
from tests.pattern.test_table import Case, dense_pattern


def found(f, shape):
    return detect_sparsity(f, jax.ShapeDtypeStruct(shape, jnp.float64)).to_scipy().toarray() != 0


@pytest.fixture
def no_budget(monkeypatch):
    plain = _interpret.Analysis.__init__
    monkeypatch.setattr(
        _interpret.Analysis, "__init__", lambda self, n, notes=None, budget=0: plain(self, n, notes, budget)
    )


LOOPS = {
    "scan_recurrence": lambda x: lax.scan(lambda c, a: (c * a, c + a), x[0], x[1:])[1],
    "fori_scatter": lambda x: lax.fori_loop(1, 5, lambda i, y: y.at[i].set(x[i - 1] * x[i + 1]), x),
    "while_known": lambda x: lax.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, s[1] * s[1][::-1]), (0, x))[1],
    "two_carries": lambda x: lax.fori_loop(0, 3, lambda i, s: (s[1] * 2, s[0] + s[1]), (x[:3], x[3:])),
}


@pytest.mark.parametrize("name", LOOPS)
def test_without_budget_nothing_is_missed(no_budget, name):
    def f(x):
        return jnp.ravel(jnp.asarray(LOOPS[name](x)))

    assert not (dense_pattern(Case(name, f, (6,))) & ~found(f, (6,))).any()


def test_closed_loops_keep_what_stays_apart(no_budget):
    def f(x):
        return lax.fori_loop(0, 3, lambda i, y: y * y[:, ::-1], x)

    np.testing.assert_array_equal(found(f, (3, 2)), np.kron(np.eye(3), np.ones((2, 2))))


def test_long_map_is_exact():
    def f(x):
        return lax.map(lambda i: x[i] * x[(i + 1) % 300], jnp.arange(300))

    expected = np.eye(300) + np.roll(np.eye(300), 1, axis=1)
    np.testing.assert_array_equal(found(f, (300,)), expected)


def test_long_chain_of_known_values():
    def f(x):
        index = jnp.arange(3)
        for _ in range(1500):
            index = (index * 2 + 1) - index - 1
        return x[index]

    np.testing.assert_array_equal(found(f, (4,)), np.eye(3, 4))


def test_counter_of_long_loop():
    def f(x):
        return lax.fori_loop(1, 199, lambda i, y: y.at[i].set(x[i - 1] * x[i + 1]), x)

    expected = np.eye(200, k=1) + np.eye(200, k=-1)
    expected[0], expected[-1] = np.eye(200)[0], np.eye(200)[-1]
    np.testing.assert_array_equal(found(f, (200,)), expected)


INDEX = np.array([3, 0, 2, 2, 5, 1])
MASK = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
STEPS = [
    lambda x: x * x[::-1],
    lambda x: jnp.roll(x, 1) - x,
    lambda x: x[INDEX] + 1.0,
    lambda x: x * MASK,
    lambda x: jnp.zeros(6).at[INDEX].add(x),
    lambda x: x.at[2].set(x[4] * x[5]),
    lambda x: jnp.where(np.arange(6) < 3, x, jnp.flip(x)),
    lambda x: jnp.concatenate([x[3:], jnp.sin(x[:3])]),
    lambda x: jnp.cumsum(x.reshape(2, 3), 1).ravel(),
    lambda x: x.reshape(3, 2).T.ravel(),
    lambda x: jnp.pad(x[1:-1], 1),
    lambda x: jnp.repeat(x.reshape(2, 3).sum(0), 2),
    lambda x: lax.fori_loop(0, 2, lambda i, y: y.at[i].mul(x[i + 1]), x),
]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(range(len(STEPS))), min_size=2, max_size=5))
def test_random_programs_miss_nothing(steps):
    def f(x):
        for step in steps:
            x = STEPS[step](x)
        return x

    case = Case("program", f, (6,))
    assert not (dense_pattern(case, points=2) & ~found(f, (6,))).any()
