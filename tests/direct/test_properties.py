"""Random matrices through every kind of plan: a solve that says it succeeded did, and a tame matrix is solved."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.csgraph import structural_rank

from sparsesolve import _native
from sparsesolve.direct import SolveStatus, plan_direct, solve_refined
from sparsesolve.pattern import SparsityPattern

EPS = np.finfo(float).eps


def given(count):
    """At most `count` matrices: every new pattern is compiled anew."""
    few = hypothesis.settings(deadline=None, max_examples=count, derandomize=True, database=None)
    return lambda test: few(hypothesis.given(matrices(), st.booleans())(test))


@st.composite
def matrices(draw):
    """Square matrices of up to 12 rows: any pattern, values over up to eight decades, weak or absent diagonals."""
    n = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.random((n, n)) < draw(st.sampled_from([0.1, 0.3, 0.8]))
    kind = draw(st.sampled_from(["diagonal", "permuted", "band", "as it is"]))
    if kind == "band":
        mask = np.abs(np.subtract.outer(np.arange(n), np.arange(n))) <= draw(st.integers(0, 2))
    if kind in ("diagonal", "permuted"):
        order = np.arange(n) if kind == "diagonal" else rng.permutation(n)
        mask[np.arange(n), order] = True
    decades = draw(st.sampled_from([0, 2, 4]))
    values = rng.standard_normal((n, n)) * 10.0 ** rng.uniform(-decades, decades, (n, n))
    matrix = sp.csr_matrix(np.where(mask, values, 0.0))
    matrix.sort_indices()
    return matrix


def check(matrix, transpose, method, sample=True):
    pattern = SparsityPattern.from_scipy(matrix)
    n = pattern.shape[0]
    values = matrix.data if sample else None
    if structural_rank(matrix) < n:
        with pytest.raises(ValueError, match="singular"):
            plan_direct(pattern, method=method, sample=values)
        return
    plan = plan_direct(pattern, method=method, sample=values)
    b = np.random.default_rng(n).standard_normal(n)
    x, info = solve_refined(
        plan, plan.factor(jnp.asarray(matrix.data)), matrix.data, jnp.asarray(b), transpose=transpose
    )
    dense = matrix.toarray().T if transpose else matrix.toarray()
    size = np.abs(dense).sum(1).max() * np.abs(x).max() + np.abs(b).max()
    if bool(info.status == SolveStatus.successful):
        assert np.abs(b - dense @ np.asarray(x)).max() <= EPS**0.75 * size
    else:
        scale = np.abs(dense).max(1, keepdims=True)
        assert np.linalg.cond(dense / scale) > 1e8  # only matrices that are hard even with scaled rows may be given up


@given(25)
def test_the_choice_of_the_plan(matrix, transpose):
    check(matrix, transpose, "auto")


@pytest.mark.skipif(not _native.available(), reason="no compiled kernels")
@pytest.mark.parametrize("method", ["simplicial", "multifrontal"])
@given(15)
def test_compiled_factorizations(method, matrix, transpose):
    check(matrix, transpose, method)


@given(8)
def test_portable_multifrontal(matrix, transpose):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARSESOLVE_NATIVE", "0")
        check(matrix, transpose, "multifrontal")
    jax.clear_caches()


@given(8)
def test_bands_of_any_width(matrix, transpose):
    check(matrix, transpose, "banded")
