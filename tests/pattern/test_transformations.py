"""Detection while outer transformations are active: closures over tracers are unknown but not dependent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AbstractMesh, AxisType, PartitionSpec as P

from sparsesolve.pattern import detect_sparsity

X = jnp.arange(1.0, 7.0)
EXPECTED = np.eye(5, 6, dtype=int)
EXPECTED[:3] += np.eye(3, 6, k=1, dtype=int)


def residual(x, y):
    """A function that gathers, masks with known arrays, and uses `y`."""
    order = (jnp.arange(5) * 6) // 6
    return x[order] * y[:5] + jnp.where(jnp.arange(5) > 2, 0.0, x[1:]) * y[0]


def record(y, found):
    found.append(detect_sparsity(lambda x: residual(x, y), X).to_scipy().toarray())
    return (y**2).sum()


OUTER = {
    "none": lambda g: g(X),
    "jit": lambda g: jax.jit(g)(X),
    "vmap": lambda g: jax.vmap(g)(jnp.ones((2, 6))),
    "grad": lambda g: jax.grad(g)(X),
    "jvp": lambda g: jax.jvp(g, (X,), (X,)),
    "jit of vmap of grad": lambda g: jax.jit(jax.vmap(jax.grad(g)))(jnp.ones((2, 6))),
    "hessian": lambda g: jax.hessian(g)(X),
    "scan": lambda g: lax.scan(lambda c, y: (c, g(y)), 0.0, jnp.ones((2, 6))),
    "cond": lambda g: lax.cond(X[0] > 0, g, lambda y: y.sum(), X),
    "checkpoint": lambda g: jax.grad(jax.checkpoint(g))(X),
    "eval_shape": lambda g: jax.eval_shape(g, X),
}


@pytest.mark.parametrize("name", OUTER)
def test_closure_over_outer_tracers(name):
    found = []
    OUTER[name](lambda y: record(y, found))
    assert found
    for pattern in found:
        np.testing.assert_array_equal(pattern, EXPECTED)


def test_unknowns_may_be_tracers():
    found = []

    def g(x, y):
        found.append(detect_sparsity(residual, x, y).to_scipy().toarray())
        return x.sum()

    jax.jit(jax.vmap(jax.grad(g), (0, None)))(jnp.ones((2, 6)), X)
    np.testing.assert_array_equal(found[0], EXPECTED)


def test_detection_without_x64():
    with jax.enable_x64(False):
        order = jnp.array([2, 0, 1])
        pattern = detect_sparsity(
            lambda x: x[order] * jnp.where(jnp.arange(3) % 2 == 0, 1.0, 0.0), np.ones(3, np.float32)
        )
    np.testing.assert_array_equal(pattern.to_scipy().toarray(), [[0, 0, 1], [0, 0, 0], [0, 1, 0]])


MESH = AbstractMesh((3,), ("i",), axis_types=(AxisType.Auto,))
GRID = AbstractMesh((2, 3), ("i", "j"), axis_types=(AxisType.Auto, AxisType.Auto))


def shard(body, in_specs, out_specs, mesh=MESH):
    return jax.shard_map(body, mesh=mesh, in_specs=in_specs, out_specs=out_specs)


def pattern_of(f, shape):
    return detect_sparsity(f, jax.ShapeDtypeStruct(shape, jnp.float64)).to_scipy().toarray()


def test_shard_map_permutation_and_index():
    def body(a):
        left = lax.ppermute(a, "i", [(0, 1), (1, 2), (2, 0)])
        return left * jnp.where(lax.axis_index("i") == 0, 0.0, 1.0) + a

    expected = np.eye(6, dtype=int)
    for row in range(2, 6):
        expected[row, row - 2] = 1
    np.testing.assert_array_equal(pattern_of(shard(body, P("i"), P("i")), (6,)), expected)


def test_shard_map_sums_and_gathers():
    def total(a):
        return lax.psum(a, "i")

    np.testing.assert_array_equal(pattern_of(shard(total, P("i"), P()), (6,)), np.tile(np.eye(2), (1, 3)))

    def in_loop(a):
        return lax.scan(lambda c, y: (c, lax.pmean(y, "i") * y), 0.0, a)[1]

    blocks = np.tile(np.eye(2, dtype=int), (3, 3))
    np.testing.assert_array_equal(pattern_of(shard(in_loop, P("i"), P("i")), (6,)), blocks)

    def gathered(a):
        return lax.all_gather(a, "i", tiled=True)[:2] * a

    expected = np.eye(6, dtype=int)
    expected[range(6), [0, 1] * 3] = 1
    np.testing.assert_array_equal(pattern_of(shard(gathered, P("i"), P("i")), (6,)), expected)


def test_shard_map_two_axes():
    def body(a):
        return a * lax.psum(a.sum(), "j")

    f = shard(body, P("i", "j"), P("i", "j"), GRID)
    expected = np.kron(np.eye(2), np.ones((2 * 3, 2 * 3)))
    np.testing.assert_array_equal(pattern_of(f, (4, 3)), expected)


def test_inside_named_axis():
    def g(x):
        pattern = detect_sparsity(lambda x: lax.psum(x[1:], "batch") * x[:-1], x)
        assert pattern.nnz == 10
        return x

    jax.vmap(g, axis_name="batch")(jnp.ones((2, 6)))
