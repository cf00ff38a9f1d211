"""Patterns given by the user, the probes that check them, and refusals of bad input."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from sparsesolve.jacobian import jacobian
from sparsesolve.jacobian._limits import check_size
from sparsesolve.pattern import SparsityPattern
from tests.jacobian.problems import bratu, normal
from tests.jacobian.test_values import assert_close, dense_jacobian

U = normal(4, 5)
EXACT = dense_jacobian(bratu, U)


@pytest.mark.parametrize("peel", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        SparsityPattern.from_dense,
        scipy.sparse.csr_matrix,
        scipy.sparse.coo_array,
        lambda dense: dense != 0,
        lambda dense: jacobian(bratu, U),
        lambda dense: np.ones(dense.shape, bool),
    ],
    ids=["pattern", "csr", "coo", "boolean", "jacobian", "superset"],
)
def test_given_patterns(make, peel):
    jac = jacobian(bratu, U, sparsity=make(EXACT), peel=peel)
    assert_close(jac(U).todense(), EXACT)


@pytest.mark.parametrize("peel", [True, False])
def test_missing_entry_is_named(peel):
    wrong = EXACT != 0
    wrong[7, 12] = False
    with pytest.raises(ValueError, match=re.escape("misses the entry (row 7, column 12): result[1, 2]")):
        jacobian(bratu, U, sparsity=wrong, peel=peel)


def test_missing_entry_is_not_seen_without_verification():
    wrong = EXACT != 0
    wrong[7, 12] = False
    jacobian(bratu, U, sparsity=wrong, verify=False)


def test_missing_entry_that_vanishes_at_the_given_point():
    u = jnp.zeros(5)

    def f(u):
        return u**2 + jnp.roll(u, 1) ** 2

    with pytest.raises(ValueError, match="misses the entry"):
        jacobian(f, u, sparsity=np.eye(5, dtype=bool))


def test_functions_outside_their_domain_are_not_accused():
    jacobian(lambda u: jnp.sqrt(u - 1.0) + u, jnp.ones(4))


def test_non_holomorphic_function_is_refused():
    z = normal(3) + 1j * normal(3)
    with pytest.raises(ValueError, match="not holomorphic"):
        jacobian(lambda z: z * jnp.conj(z), z)


def test_pattern_of_the_wrong_shape():
    with pytest.raises(ValueError, match="shape"):
        jacobian(bratu, U, sparsity=np.eye(3, dtype=bool))


@pytest.mark.parametrize("x", [jnp.arange(4), 3, np.arange(3), [1.0, 2]])
def test_integer_unknowns(x):
    with pytest.raises(TypeError, match=r"derivatives need floating or complex numbers"):
        jacobian(lambda x: x, x)


def test_integer_results():
    with pytest.raises(TypeError, match="has_aux=True"):
        jacobian(lambda x: jnp.sign(x).astype(int), normal(3))


def test_wrong_argnums():
    with pytest.raises(ValueError, match="argnums counts from 0"):
        jacobian(bratu, U, argnums=1)


@pytest.mark.parametrize(
    "args, message",
    [((normal(5, 4),), "shapes"), (({"u": U},), "structure"), ((U, U), "2")],
    ids=["shape", "structure", "count"],
)
def test_other_arguments_at_call_time(args, message):
    jac = jacobian(bratu, U, verify=False)
    with pytest.raises(ValueError, match=message):
        jac(*args)


def test_dense_pattern_that_does_not_fit_in_memory():
    n = 60_000
    indptr = np.minimum(np.arange(n + 1, dtype=np.int64) * (n // 2), 2**31 - 1)

    class Huge(SparsityPattern):
        nnz = n * n // 2

    huge = object.__new__(Huge)
    huge.shape, huge.indptr = (n * 100, n * 100), indptr
    huge.nnz = 10**12
    with pytest.raises(ValueError, match=r"16000\.0 GB, and this machine has"):
        check_size(huge, np.dtype(np.float64), "jacobian")


def test_warns_when_coloring_gains_nothing():
    with pytest.warns(UserWarning, match="Use jax.jacfwd"):
        jacobian(lambda u: jnp.cumsum(jnp.tanh(u) * jnp.sum(u)) * jnp.sum(u**2), normal(40), verify=False)


def test_chunks_of_no_colors():
    with pytest.raises(ValueError, match="chunk_size=0"):
        jacobian(bratu, U, chunk_size=0)


def test_random_keys_may_be_closed_over():
    key = jax.random.key(3)
    noise = jax.random.normal(key, (5,))
    jac = jacobian(lambda u: u**2 * jax.random.normal(key, (5,)), normal(5))
    assert_close(jac(jnp.ones(5)).todense(), np.diag(2 * noise))


def test_repr_and_identity():
    jac = jacobian(bratu, U, verify=False)
    assert repr(jac) == f"SparseJacobian(20 x 20, nnz={jac.pattern.nnz}, 1 colors, linear part peeled)"
    assert jax.jit(lambda j, u: j(u).data, static_argnums=0)(jac, U).shape == (jac.pattern.nnz,)
