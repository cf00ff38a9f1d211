"""`SparsityPattern` and `as_pattern`."""

import jax.experimental.sparse as jsparse
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from sparsesolve.pattern import SparsityPattern, as_pattern

DENSE = np.array([[1.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0], [3.0, 4.0, 0.0, 5.0]])


def test_constructors_agree():
    rows, cols = np.nonzero(DENSE)
    patterns = [
        SparsityPattern.from_dense(DENSE),
        SparsityPattern.from_coo(rows[::-1], cols[::-1], DENSE.shape),
        SparsityPattern.from_coo([*rows, 0], [*cols, 0], DENSE.shape),
        SparsityPattern.from_scipy(scipy.sparse.coo_array(DENSE)),
    ]
    assert len(set(patterns)) == 1
    pattern = patterns[0]
    assert pattern.shape == (3, 4) and pattern.nnz == 5 and pattern.density == 5 / 12
    np.testing.assert_array_equal(pattern.rows, rows)
    np.testing.assert_array_equal(pattern.to_scipy().toarray(), DENSE != 0)
    assert pattern.indptr.dtype == pattern.indices.dtype == np.int32


def test_immutable():
    pattern = SparsityPattern.from_dense(DENSE)
    with pytest.raises(ValueError, match="read-only"):
        pattern.indices[0] = 1


def test_transpose_order_positions():
    pattern = SparsityPattern.from_dense(DENSE)
    data = DENSE[pattern.rows, pattern.indices]
    transposed = scipy.sparse.csr_matrix(
        (data[pattern.transpose_order], pattern.T.indices, pattern.T.indptr), shape=(4, 3)
    )
    np.testing.assert_array_equal(transposed.toarray(), DENSE.T)
    np.testing.assert_array_equal(pattern.positions([0, 1, 2], [2, 1, 3]), [1, -1, 4])
    np.testing.assert_array_equal(pattern.diagonal_positions, [0, -1, -1])
    assert pattern.with_diagonal().nnz == 7
    assert pattern.union(SparsityPattern.from_dense(np.eye(3, 4))) == pattern.with_diagonal()


def test_empty_patterns():
    empty = SparsityPattern.from_coo([], [], (0, 3))
    assert empty.nnz == 0 and empty.T.shape == (3, 0) and hash(empty) == hash(SparsityPattern.from_coo([], [], (0, 3)))
    assert "0 x 3" in repr(empty)


def test_repr_has_a_picture():
    text = repr(SparsityPattern.from_dense(np.eye(8)))
    assert text.splitlines()[0] == "SparsityPattern(8 x 8, nnz=8, density=0.12)"
    assert text.splitlines()[1:] == ["⠑⢄⠀⠀", "⠀⠀⠑⢄"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(([0], [0, 1], (2, 2)), "one of each"), (([0], [2], (2, 2)), "outside a matrix")],
)
def test_bad_coordinates(arguments, words):
    with pytest.raises(ValueError, match=words):
        SparsityPattern.from_coo(*arguments)


class Holder:
    def __init__(self, pattern):
        self.pattern = pattern


def test_as_pattern_takes_what_users_have():
    pattern = SparsityPattern.from_dense(DENSE)
    given = [
        pattern,
        Holder(pattern),
        scipy.sparse.csr_matrix(DENSE),
        scipy.sparse.coo_array(DENSE),
        jsparse.BCOO.fromdense(jnp.array(DENSE)),
        jsparse.BCOO.fromdense(jnp.array(DENSE), nse=9),  # with padding
        jsparse.BCSR.fromdense(jnp.array(DENSE)),
        DENSE,
        jnp.array(DENSE) != 0,
        DENSE.tolist(),
    ]
    for sparsity in given:
        assert as_pattern(sparsity, (3, 4)) == pattern


def test_as_pattern_complains():
    with pytest.raises(ValueError, match=r"shape \(3, 4\), but the matrix is \(4, 3\)"):
        as_pattern(DENSE, (4, 3))
    with pytest.raises(ValueError, match="two sparse dimensions"):
        as_pattern(jsparse.BCOO.fromdense(jnp.ones((2, 3, 4)), n_batch=1))
    with pytest.raises(TypeError, match="is a str"):
        as_pattern("tridiagonal")
