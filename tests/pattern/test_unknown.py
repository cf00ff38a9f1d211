"""Unknown primitives: dense, named in one warning, and what `register_sparsity_rule` does about them."""

import re
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
import scipy.sparse
from jax import lax
from jax.experimental import pallas as pl
from jax.extend.core import Primitive
from jax.interpreters import ad, batching

from sparsesolve.pattern import SparsityWarning, detect_sparsity, register_sparsity_rule
from sparsesolve.pattern._equation import RULES

X = jnp.arange(1.0, 7.0)


@pytest.fixture
def restore():
    before = dict(RULES)
    yield
    RULES.clear()
    RULES.update(before)


def linear_primitive(name, outputs=1):
    """A primitive that is its own derivative, of which JAX knows the shapes only."""
    primitive = Primitive(name)
    primitive.multiple_results = outputs > 1
    primitive.def_abstract_eval(lambda *xs: xs[0] if outputs == 1 else [xs[0]] * outputs)
    ad.deflinear2(primitive, lambda ct, *xs: [ct])
    return primitive


mystery = linear_primitive("mystery_kernel")


def kernel_call(x):
    return mystery.bind(x)


def test_unknown_primitive_is_dense_with_one_warning():
    def f(x):
        return kernel_call(x[:3]) + kernel_call(x[3:]), x

    with pytest.warns(SparsityWarning) as record:
        pattern = detect_sparsity(f, X)
    assert len(record) == 1
    message = str(record[0].message)
    assert "'mystery_kernel'" in message
    assert re.search(r"test_unknown\.py:\d+.*kernel_call", message)
    assert record[0].filename == __file__
    expected = np.vstack([np.ones((3, 6)), np.eye(6)])
    np.testing.assert_array_equal(pattern.to_scipy().toarray(), expected)


def test_warning_inside_calls_and_loops_names_the_line():
    def f(x):
        return lax.fori_loop(0, 3, lambda i, y: jax.jit(kernel_call)(y) + i, x)

    with pytest.warns(SparsityWarning, match=r"test_unknown\.py") as record:
        assert detect_sparsity(f, X).nnz == 36
    assert len(record) == 1


def test_pallas_and_callbacks_are_dense_without_a_rule():
    @jax.custom_jvp
    def double(x):
        return pl.pallas_call(
            lambda i, o: o.__setitem__(..., 2 * i[...]), out_shape=jax.ShapeDtypeStruct((6,), x.dtype)
        )(x)

    double.defjvp(lambda p, t: (double(*p), double(*t)))

    @jax.custom_jvp
    def callback(x):
        return jax.pure_callback(lambda x: 2 * x, jax.ShapeDtypeStruct((6,), x.dtype), x)

    callback.defjvp(lambda p, t: (callback(*p), callback(*t)))
    with pytest.warns(SparsityWarning, match="'pallas_call'"):
        assert detect_sparsity(double, X).nnz == 36
    with pytest.warns(SparsityWarning, match="'pure_callback'"):
        assert detect_sparsity(callback, X).nnz == 36


BLOCKS = {
    "elementwise": np.eye(6),
    "dense": np.ones((6, 6)),
    "matrix": np.eye(6, k=1) + np.eye(6, k=-1),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_registered_rule(restore, name):
    block = scipy.sparse.csr_matrix(BLOCKS[name]) if name == "matrix" else name

    def rule(inputs, outputs):
        assert [x.shape for x in inputs] == [x.shape for x in outputs] == [(6,)]
        return [[block]]

    register_sparsity_rule(mystery, rule)
    found = detect_sparsity(lambda x: kernel_call(x[::-1]), X).to_scipy().toarray()
    np.testing.assert_array_equal(found, BLOCKS[name][:, ::-1])


def test_rule_by_name_with_several_operands(restore):
    pair = linear_primitive("mystery_pair", outputs=2)
    ad.primitive_jvps[pair] = lambda primals, tangents: (
        pair.bind(*primals),
        pair.bind(*map(ad.instantiate_zeros, tangents)),
    )
    register_sparsity_rule("mystery_pair", lambda i, o: [["elementwise", None], [None, np.eye(6, k=1)]])
    found = detect_sparsity(lambda x: pair.bind(x[:6], x[6:]), jnp.ones(12)).to_scipy().toarray()
    np.testing.assert_array_equal(found, scipy.linalg.block_diag(np.eye(6), np.eye(6, k=1)))


def test_rule_may_decline(restore):
    register_sparsity_rule(mystery, lambda i, o: None)
    with pytest.warns(SparsityWarning, match="declined"):
        assert detect_sparsity(kernel_call, X).nnz == 36


@pytest.mark.parametrize("blocks", [[["diagonal"]], [[np.ones((2, 2))]], [[None, None]], [], 5])
def test_a_broken_rule_is_dense(restore, blocks):
    register_sparsity_rule(mystery, lambda i, o: blocks)
    with pytest.warns(SparsityWarning, match="could not be analysed"):
        assert detect_sparsity(kernel_call, X).nnz == 36


def test_bad_registration():
    with pytest.raises(TypeError, match="give a JAX primitive"):
        register_sparsity_rule(3, lambda i, o: None)
    with pytest.raises(TypeError, match="give a JAX primitive"):
        register_sparsity_rule("name", None)


def test_batched_unknown_primitive_never_misses():
    batched = linear_primitive("mystery_batched")
    batching.defvectorized(batched)
    with pytest.warns(SparsityWarning):
        found = detect_sparsity(lambda x: jax.vmap(batched.bind)(x), jnp.ones((2, 3)))
    assert found.nnz == 36


def test_mutable_references():
    def whole(x):
        ref = jax.new_ref(x)
        ref[...] = ref[...] * x[::-1]
        return ref[...]

    found = detect_sparsity(whole, X).to_scipy().toarray()
    assert (found >= np.eye(6) + np.fliplr(np.eye(6))).all()
    assert found.sum() == 12

    def indexed(x):
        ref = jax.new_ref(jnp.zeros(6))
        ref[1] = x[0]
        return ref[...]

    with pytest.warns(SparsityWarning, match="reference"):
        assert detect_sparsity(indexed, X).to_scipy().toarray()[1, 0] == 1


def test_line_of_the_user_not_of_a_library():
    def f(x):
        return eqx.internal.noinline(jnp.sin)(x)  # equinox binds a primitive of its own, several frames down

    with pytest.warns(SparsityWarning, match=r"'noinline' at .*test_unknown\.py:\d+ \(.*f\)"):
        assert detect_sparsity(f, X).nnz == 36


def test_implementation_of_a_foreign_primitive_is_walked():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pattern = detect_sparsity(lambda b: lx.linear_solve(lx.DiagonalLinearOperator(X), b).value, X)
    assert pattern.nnz == 6


def test_no_warning_where_a_rule_exists():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detect_sparsity(lambda x: jnp.sort(x) * jnp.fft.fft(x).real, X)
