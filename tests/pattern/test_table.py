"""The table of functions against dense Jacobians: no entry missing anywhere, no entry too many where exact."""

import jax
import numpy as np
import pytest

from sparsesolve.pattern import detect_sparsity
from tests.pattern import table_algebra, table_indexing  # noqa: F401  (importing fills CASES)
from tests.pattern.cases import CASES, Case
from tests.pattern.table_algebra import COMPLEX_CASES, REVERSE_CASES

ALL = CASES + REVERSE_CASES + COMPLEX_CASES


def dense_pattern(case: Case, points: int = 40) -> np.ndarray:
    """Where the Jacobian is nonzero at one of several generic points."""
    rng = np.random.default_rng(3)
    derivative = jax.jacrev if case in REVERSE_CASES else jax.jacfwd
    kwargs = {"holomorphic": True} if case in COMPLEX_CASES else {}
    jacobian = jax.jit(derivative(lambda x: jax.numpy.ravel(case.function(x)), **kwargs))
    size = int(np.prod(case.shape))
    found = False
    for _ in range(points):
        x = (rng.normal(size=case.shape) + (1j * rng.normal(size=case.shape) if kwargs else 0)).astype(case.dtype)
        value = np.asarray(jacobian(x)).reshape(-1, size)
        found = found | (np.isnan(value) | (np.abs(value) > 1e-13))
    return np.asarray(found)


def test_table_is_large():
    assert len({case.name for case in ALL}) == len(ALL) >= 100


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_pattern(case):
    pattern = detect_sparsity(case.function, jax.ShapeDtypeStruct(case.shape, case.dtype))
    found = pattern.to_scipy().toarray() != 0
    needed = dense_pattern(case)
    assert found.shape == needed.shape
    missing = np.argwhere(needed & ~found)
    assert missing.size == 0, f"missing entries {missing[:5].tolist()}"
    assert int((found & ~needed).sum()) <= case.excess, f"{int((found & ~needed).sum())} entries too many"
