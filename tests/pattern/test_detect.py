"""The public interface: arguments, pytrees, messages, shapes of leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial

from sparsesolve.pattern import detect_sparsity, jaxpr_sparsity


def dense(*args, **kwargs):
    return detect_sparsity(*args, **kwargs).to_scipy().toarray()


def test_pytrees_and_leaf_shapes():
    unknowns = {"u": jnp.ones((2, 3)), "v": jnp.ones(4)}
    pattern = detect_sparsity(lambda p: {"a": p["u"][:, 0] * p["v"][:2], "b": p["v"].sum()}, unknowns)
    assert pattern.shape == (3, 10)
    assert pattern.column_shapes == ((2, 3), (4,))
    assert pattern.row_shapes == ((2,), ())
    expected = np.zeros((3, 10), int)
    expected[0, [0, 6]] = expected[1, [3, 7]] = expected[2, 6:] = 1
    np.testing.assert_array_equal(pattern.to_scipy().toarray(), expected)


def test_argnums_has_aux_and_keywords():
    def f(a, count, b, *, scale, flip):
        return (a[:count] * b[::-1] * scale if flip else b), {"note": "aux", "n": 3}

    pattern = detect_sparsity(f, jnp.ones(4), 3, jnp.ones(3), argnums=(2, 0), has_aux=True, scale=2.0, flip=True)
    np.testing.assert_array_equal(pattern.to_scipy().toarray(), np.hstack([np.eye(3, 4), np.fliplr(np.eye(3))]))
    only_b = detect_sparsity(f, jnp.ones(4), 3, jnp.ones(3), argnums=-1, has_aux=True, scale=2.0, flip=False)
    np.testing.assert_array_equal(only_b.to_scipy().toarray(), np.eye(3))


def test_abstract_and_python_arguments():
    struct = jax.ShapeDtypeStruct((3,), jnp.float32)
    assert detect_sparsity(lambda x, y: x * y, struct, struct).nnz == 3
    assert detect_sparsity(lambda x: 2 * x, 1.5).shape == (1, 1)
    assert detect_sparsity(lambda x: x**2, np.ones(2, np.float32)).nnz == 2


def test_values_of_other_arguments_are_not_used():
    x, zeros, index = jnp.ones(3), jnp.zeros(3), jnp.array([0, 1, 2])
    assert detect_sparsity(lambda x, w: x * w, x, zeros).nnz == 3
    assert detect_sparsity(lambda x: x * zeros, x).nnz == 0
    assert detect_sparsity(lambda x, i: x[i], x, index).nnz == 9
    assert detect_sparsity(lambda x: x[index], x).nnz == 3


def test_integer_output_and_empty_arrays():
    assert detect_sparsity(lambda x: jnp.argsort(x), jnp.ones(3)).shape == (3, 3)
    assert detect_sparsity(lambda x: jnp.argsort(x), jnp.ones(3)).nnz == 0
    assert detect_sparsity(lambda x: x[:0], jnp.ones(3)).shape == (0, 3)
    assert detect_sparsity(lambda x: jnp.concatenate([x, x]), jnp.ones((0, 2))).shape == (0, 0)
    assert detect_sparsity(lambda x: {}, jnp.ones(2)).shape == (0, 2)


@pytest.mark.parametrize(
    ("bad", "words"), [(jnp.arange(3), "int"), (3, "type int"), (True, "type bool"), ("s", "type str")]
)
def test_unknowns_must_be_inexact(bad, words):
    with pytest.raises(ValueError, match=words):
        detect_sparsity(lambda x: x, bad)
    with pytest.raises(ValueError, match=r"argument 1\['k'\]"):
        detect_sparsity(lambda x, y: x, jnp.ones(2), {"k": bad}, argnums=1)


def test_argnums_out_of_range():
    with pytest.raises(ValueError, match="argnums=1 does not exist"):
        detect_sparsity(lambda x: x, jnp.ones(2), argnums=1)


def test_too_dense_says_how_large_and_why():
    big = jax.ShapeDtypeStruct((200_000,), jnp.float64)
    with pytest.raises(ValueError, match=r"4\.0e\+10 entries .* 298 GiB"):
        detect_sparsity(lambda x: x / jnp.linalg.norm(x), big)
    with pytest.raises(ValueError, match=r"'gather' at .*test_detect.py.* depend on arguments"):
        detect_sparsity(lambda x, i: x[i], big, jax.ShapeDtypeStruct((200_000,), jnp.int32))


def test_large_dense_dependence_that_cancels_out_is_cheap():
    big = jax.ShapeDtypeStruct((200_000,), jnp.float64)
    assert detect_sparsity(lambda x: ((x - x.mean()) ** 2).sum(), big).nnz == 200_000
    assert (
        detect_sparsity(lambda x: jnp.cumsum(x / x.sum())[:1], jax.ShapeDtypeStruct((2000,), jnp.float64)).nnz == 2000
    )


def test_jaxpr_sparsity_with_known_inputs():
    jaxpr = jax.make_jaxpr(lambda i, x, y: (x[i] * y, x.sum()))(jnp.array([2, 0]), jnp.ones(3), jnp.ones(2))
    unknown = jaxpr_sparsity(jaxpr, [False, True, True])
    assert unknown.shape == (3, 5)
    assert unknown.nnz == 2 * 4 + 3
    known = jaxpr_sparsity(jaxpr, [False, True, True], [np.array([2, 0]), None, None])
    np.testing.assert_array_equal(known.to_scipy().toarray(), [[0, 0, 1, 1, 0], [1, 0, 0, 0, 1], [1, 1, 1, 0, 0]])


def test_ragged_product_keeps_rows_and_columns():
    sizes = jnp.array([2, 1])
    rows = detect_sparsity(lambda x: jax.lax.ragged_dot(x, jnp.ones((2, 4, 2)), sizes), jnp.ones((3, 4)))
    np.testing.assert_array_equal(rows.to_scipy().toarray(), np.kron(np.eye(3), np.ones((2, 4))))
    groups = detect_sparsity(lambda g: jax.lax.ragged_dot(jnp.ones((3, 4)), g, sizes), jnp.ones((2, 4, 2)))
    # Group sizes are not looked at: every row may belong to any group.
    np.testing.assert_array_equal(groups.to_scipy().toarray(), np.tile(np.eye(2), (3, 8)))


def brusselator(size):
    def laplacian(a):
        return jnp.roll(a, 1, 0) + jnp.roll(a, -1, 0) + jnp.roll(a, 1, 1) + jnp.roll(a, -1, 1) - 4 * a

    def f(y):
        u, v = y
        return jnp.stack([1 + u * u * v - 4.4 * u + laplacian(u), 3.4 * u - u * u * v + laplacian(v)])

    return f, jax.ShapeDtypeStruct((2, size, size + 1), jnp.float64)


def test_brusselator_has_six_entries_a_row():
    f, y = brusselator(40)
    pattern = detect_sparsity(f, y)
    assert pattern.nnz == 6 * 2 * 40 * 41
    assert (np.diff(pattern.indptr) == 6).all()
    assert pattern.column_shapes == ((2, 40, 41),)


def test_mesh_assembly_counts_edges():
    triangles = scipy.spatial.Delaunay(np.random.default_rng(0).random((300, 2))).simplices

    def residual(u):
        local = u[triangles]
        return jnp.zeros_like(u).at[triangles].add(local**3 - local.mean(1)[:, None])

    edges = {tuple(sorted((int(t[i]), int(t[j])))) for t in triangles for i, j in ((0, 1), (1, 2), (0, 2))}
    assert detect_sparsity(residual, jnp.ones(300)).nnz == 300 + 2 * len(edges)
