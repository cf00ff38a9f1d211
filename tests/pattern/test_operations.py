"""Operations on dependence against the same operations on dense boolean matrices."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from sparsesolve.pattern import _dependence as dep, _operations as ops
from sparsesolve.pattern._closure import closure

N = 7
SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)


def dense(d, size):
    indptr, indices = dep.to_csr(d, size, N)
    out = np.zeros((size, N), bool)
    out[np.repeat(np.arange(size), np.diff(indptr)), indices] = True
    return out


@st.composite
def dependences(draw, shape=(3, 4)):
    """Some identity terms and some table terms of the given shape."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    terms = [dep.Term(rng.integers(-1, N, size=shape).astype(np.int32)) for _ in range(draw(st.integers(0, 3)))]
    for _ in range(draw(st.integers(0, 2))):
        rows, cols = np.nonzero(rng.random((5, N)) < 0.3)
        terms.append(dep.Term(rng.integers(-1, 5, size=shape).astype(np.int32), dep.selection(rows, cols, (5, N))))
    return dep.simplify(shape, terms, N)


@SETTINGS
@given(dependences(), dependences())
def test_union_concatenate_overlay(a, b):
    left, right = dense(a, 12), dense(b, 12)
    np.testing.assert_array_equal(dense(ops.union([a, b], (3, 4)), 12), left | right)
    joined = ops.concatenate([a, None, b], [(3, 4), (1, 4), (3, 4)], 0)
    np.testing.assert_array_equal(dense(joined, 28), np.vstack([left, np.zeros((4, N), bool), right]))
    covered = np.arange(12).reshape(3, 4) % 3 == 0
    expected = np.where(covered.reshape(-1, 1), right, left)
    np.testing.assert_array_equal(dense(ops.overlay(a, b, covered), 12), expected)


@SETTINGS
@given(dependences(), st.integers(0, 10**6))
def test_movement_and_products(a, seed):
    rng = np.random.default_rng(seed)
    full = dense(a, 12)
    moved = ops.move(a, lambda m: np.swapaxes(m, 0, 1))
    np.testing.assert_array_equal(dense(moved, 12), full.reshape(3, 4, N).swapaxes(0, 1).reshape(12, N))
    positions = rng.integers(-1, 12, size=9)
    np.testing.assert_array_equal(
        dense(ops.take(a, positions), 9), np.where((positions < 0)[:, None], False, full[positions])
    )
    matrix = rng.random((6, 12)) < rng.choice([0.1, 0.9])
    product = ops.apply(a, dep.selection(*np.nonzero(matrix), (6, 12)), (2, 3))
    np.testing.assert_array_equal(dense(product, 6), (matrix.astype(int) @ full.astype(int)) > 0)
    groups = rng.integers(-1, 5, size=12)
    grouped = dense(ops.group_union(a, groups, (5,)), 5)
    np.testing.assert_array_equal(grouped, np.stack([full[groups == g].any(0) for g in range(5)]))
    row = dense(dep.shared_row([a], (4,)), 4)
    np.testing.assert_array_equal(row, np.broadcast_to(full.any(0), (4, N)))


@pytest.mark.parametrize("limit", ["MAX_TERMS", "COMPACT_TERMS", "MAX_SPREAD"])
def test_long_lists_become_tables(monkeypatch, limit):
    monkeypatch.setattr(dep, limit, 2)
    monkeypatch.setattr(ops, "MAX_SPREAD", dep.MAX_SPREAD)
    parts = [ops.take(dep.columns((N,), 0, N), (np.arange(N) + k) % N) for k in range(6)]
    united = ops.union(parts, (N,))
    assert dense(united, N).sum() == 6 * N
    assert dense(ops.group_union(united, np.arange(N) // 2, (4,)), 4).sum() == 3 * N + 6


def test_products_too_large_become_one_shared_row(monkeypatch):
    monkeypatch.setattr(ops, "MAX_PRODUCT", 1)
    monkeypatch.setattr(ops, "MAX_SPREAD", 1)
    d = dep.columns((N,), 0, N)
    out = ops.apply(d, dep.selection(np.arange(6) // 2, np.arange(6), (3, N)), (3,))
    np.testing.assert_array_equal(dense(out, 3), np.ones((3, N)))


@SETTINGS
@given(st.integers(0, 10**6), st.floats(0.02, 0.4))
def test_closure_is_transitive(seed, density):
    step = np.random.default_rng(seed).random((N, N)) < density
    reach = np.eye(N, dtype=bool)
    for _ in range(N):
        reach = reach | ((step.astype(int) @ reach.astype(int)) > 0)
    found = closure(dep.selection(*np.nonzero(step), (N, N)), dep.columns((N,), 0, N))
    np.testing.assert_array_equal(dense(found, N), reach)
