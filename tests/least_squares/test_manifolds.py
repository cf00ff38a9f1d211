"""Group operations against matrix exponentials, near zero, near half a turn, and through derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve.least_squares.manifolds._manifolds import ProductManifold
from sparsesolve.least_squares.manifolds._poses import SE2, SE3
from sparsesolve.least_squares.manifolds._rotations import SO2, SO3

GROUPS = [SO2(), SO3(), SE2(), SE3()]
DIRECTION = np.array([0.48, -0.6, 0.64])


def skew(w):
    return np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])


def generator(group, d):
    """The matrix of a tangent vector, in homogeneous coordinates for motions."""
    d = np.asarray(d)
    if isinstance(group, SO2):
        return d[0] * np.array([[0.0, -1.0], [1.0, 0.0]])
    if isinstance(group, SO3):
        return skew(d)
    k = 2 if isinstance(group, SE2) else 3
    out = np.zeros((k + 1, k + 1))
    out[:k, :k] = d[2] * np.array([[0.0, -1.0], [1.0, 0.0]]) if k == 2 else skew(d[3:])
    out[:k, k] = d[:k]
    return out


def matrix(group, a):
    """The same for an element, column by column from `act`."""
    k = 2 if isinstance(group, SO2 | SE2) else 3
    moved = np.stack([np.asarray(group.act(a, x)) for x in np.eye(k)], axis=1)
    if isinstance(group, SO2 | SO3):
        return moved
    origin = np.asarray(group.act(a, jnp.zeros(k)))
    return np.block([[moved - origin[:, None], origin[:, None]], [np.zeros((1, k)), np.ones((1, 1))]])


def tangent(group, angle):
    turn = {SO2: [1.0], SE2: [1.0]}.get(type(group), DIRECTION)
    shift = [] if isinstance(group, SO2 | SO3) else [0.7, -0.2, 1.1][: 2 if isinstance(group, SE2) else 3]
    return jnp.asarray(np.concatenate([shift, angle * np.asarray(turn)]))


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: type(g).__name__)
@pytest.mark.parametrize("angle", [0.0, 1e-3, 0.0317, np.pi - 1e-6])
def test_exponential_and_logarithm(group, angle):
    d = tangent(group, angle)
    a = group.exp(d)
    np.testing.assert_allclose(matrix(group, a), jax.scipy.linalg.expm(generator(group, d)), atol=2e-14)
    np.testing.assert_allclose(group.log(a), d, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(group.log(group.compose(group.inverse(a), a)), 0 * d, atol=1e-14)


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: type(g).__name__)
def test_products_are_those_of_matrices(group):
    a, b = group.exp(tangent(group, 0.8)), group.exp(-0.5 * tangent(group, 2.0))
    product = matrix(group, a) @ matrix(group, b)
    np.testing.assert_allclose(matrix(group, group.compose(a, b)), product, atol=1e-14)
    np.testing.assert_allclose(matrix(group, group.between(a, group.compose(a, b))), matrix(group, b), atol=1e-14)
    np.testing.assert_allclose(
        matrix(group, group(a, tangent(group, 0.3))),
        matrix(group, a) @ matrix(group, group.exp(tangent(group, 0.3))),
        atol=1e-14,
    )


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: type(g).__name__)
def test_derivatives_at_the_identity_of_first_and_second_order(group):
    zero = jnp.zeros(group.dimension, jnp.float32)
    identity, ones = group.exp(zero), jnp.ones(group.dimension, jnp.float32)

    def there_and_back(d):
        return group.log(group(identity, d))

    first, second = jax.jit(
        lambda d: (
            jax.jacrev(there_and_back)(d),
            jax.jvp(lambda e: jax.jvp(there_and_back, (e,), (ones,))[1], (d,), (ones,))[1],
        )
    )(zero)
    np.testing.assert_allclose(first, np.eye(group.dimension), atol=1e-6)
    assert first.dtype == jnp.float32
    np.testing.assert_allclose(second, 0.0, atol=1e-6)


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: type(g).__name__)
def test_derivatives_across_the_switch_to_series(group):
    """The third derivative along a line is continuous where series end."""

    def along(t):
        return group.act(group.exp(tangent(group, 1.0) * t), jnp.ones(2 if isinstance(group, SO2 | SE2) else 3))

    third = jax.jit(jax.jacfwd(jax.jacfwd(jax.jacfwd(along))))
    switch = 1e-3**0.5
    np.testing.assert_allclose(third(switch * (1 - 1e-9)), third(switch * (1 + 1e-9)), rtol=1e-5, atol=1e-5)


def test_a_batch_along_leading_axes():
    group, d = SE3(), jnp.asarray(np.random.default_rng(0).normal(size=(4, 2, 6)))
    a = group.exp(d)
    assert group.tangent(a).shape == (4, 2, 6)
    np.testing.assert_allclose(group(a, -d)[1, 0], group(a[1, 0], -d[1, 0]), rtol=1e-15)
    np.testing.assert_allclose(group(a, -d)[..., 6], 1.0, rtol=1e-14)
    points = jnp.ones((1, 1, 3))
    assert group.act(a, points).shape == (4, 2, 3)


def test_rotation_matrix_is_orthogonal():
    m = SO3().matrix(SO3().exp(jnp.array([[0.3, -1.0, 2.0], [0.0, 0.0, 0.0]])))
    np.testing.assert_allclose(m @ m.swapaxes(1, 2), np.broadcast_to(np.eye(3), (2, 3, 3)), atol=1e-15)
    np.testing.assert_allclose(np.linalg.det(m), 1.0, rtol=1e-14)


def test_product_of_manifolds():
    product = ProductManifold({"pose": SE3(), "rest": None})
    y = {"pose": SE3().exp(jnp.zeros((5, 6))), "rest": {"a": jnp.ones(2), "b": jnp.ones(())}}
    zero = product.tangent(y)
    assert jax.tree.map(jnp.shape, zero) == {"pose": (5, 6), "rest": {"a": (2,), "b": ()}}
    same = product(y, zero)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(y), strict=True))
    moved = product(y, jax.tree.map(jnp.ones_like, zero))
    np.testing.assert_array_equal(moved["rest"]["a"], [2.0, 2.0])
    assert hash(product) == hash(ProductManifold({"pose": SE3(), "rest": None}))
    assert product == ProductManifold({"pose": SE3(), "rest": None}) != ProductManifold({"pose": None, "rest": None})


def test_wrong_shapes_are_told():
    with pytest.raises(ValueError, match="last axis of length 7"):
        SE3().tangent(jnp.zeros((3, 6)))
    with pytest.raises(ValueError, match="name a retraction, or None, for each part"):
        ProductManifold({"a": SO3()}).tangent({"b": jnp.zeros(4)})
