"""Entry to the direct methods: `plan_direct` and the cache of plans. Host-side.

`_choose` compares estimated times, `_builders` makes the method that was named, `_trial` says whether sample values
need a row matching first: structural when diagonal entries are missing, by maximum product when a trial elimination
in the planned order, without any pivoting, loses accuracy.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import DTypeLike, Inexact

from sparsesolve import _native
from sparsesolve._cache import BoundedCache
from sparsesolve.direct import _memory
from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._builders import METHODS, builder, symmetric_builder
from sparsesolve.direct._choose import choose
from sparsesolve.direct._matching import product_matching, structural_matching
from sparsesolve.direct._mixed import MixedPlan, low_precision
from sparsesolve.direct._symmetric import Symmetry, require_symmetric
from sparsesolve.direct._trial import needs_matching
from sparsesolve.pattern import SparsityPattern

Backend = Literal["auto", "native", "portable"]
Method = Literal["auto", "diagonal", "block_diagonal", "tridiagonal", "banded", "dense", "multifrontal", "simplicial"]

_plans = BoundedCache("direct plans", maxsize=64)
_sampled = BoundedCache("direct plans of first values", maxsize=64)


def plan_direct(
    pattern: SparsityPattern,
    *,
    method: Method = "auto",
    sample: Inexact[np.ndarray, " nnz"] | None = None,
    backend: Backend = "auto",
    symmetry: Symmetry | None = None,
    factor_dtype: DTypeLike | None = None,
) -> AbstractDirectPlan:
    """Prepares a direct factorization of matrices with this pattern.

    Args:
        pattern: square.
        method: `"auto"` chooses by estimated cost; a name forces that method.
        sample: CSR values typical of the matrices to come, `(nnz,)`. With them the plan permutes rows when pivots on
            the diagonal would be too small; without them it trusts the diagonal where it is stored.
        backend: of the multifrontal method: `"native"`, compiled code on the CPU; `"portable"`, plain JAX for any
            device; `"auto"`, native where it is installed and JAX's default device is a CPU.
        symmetry: `"positive"` or `"negative"` for definite Hermitian matrices (Cholesky), `"symmetric"` for `A = A^T`
            and `"hermitian"` for `A = A^H` (LDL^T): the multifrontal method then factorizes one triangle.
        factor_dtype: type of the factors, `jnp.float32` for half the memory; that of the values if not given. Solves
            by `solve_refined` keep the accuracy of the values.

    Returns:
        The plan, from a cache of the last 64 where possible.

    Raises:
        ValueError: the pattern is not square, is structurally singular (names rows and columns), does not have the
            form that `method` or `symmetry` needs, or needs more memory than there is; or `backend="native"` is not
            available.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from sparsesolve.pattern import SparsityPattern
        >>> from sparsesolve.direct import plan_direct
        >>> pattern = SparsityPattern.from_dense(np.eye(3) + np.eye(3, k=1))
        >>> plan = plan_direct(pattern)
        >>> factors = plan.factor(jnp.ones(5))
        >>> plan.solve(factors, jnp.array([2.0, 2.0, 1.0]))
        Array([1., 1., 1.], dtype=float64)
    """
    _check_request(pattern, method, sample)
    native = _use_native(backend)
    if factor_dtype is None:
        return _plan(pattern, method, native, sample, symmetry)
    low = low_precision(factor_dtype)
    token = _memory.factor_dtype.set(low.name)
    try:
        return MixedPlan(_plan(pattern, method, native, sample, symmetry), low)
    finally:
        _memory.factor_dtype.reset(token)


def plan_of_first_values(
    pattern: SparsityPattern, data: Inexact[np.ndarray, " nnz"] | None, **options: Any
) -> AbstractDirectPlan:
    """`plan_direct` with the first concrete values that were seen on this pattern as the sample: the trial elimination
    is not repeated for later values. `None` where values are traced: they cannot be looked at."""
    if data is None:
        return plan_direct(pattern, **options)
    return _sampled.get((pattern, *sorted(options.items())), lambda: plan_direct(pattern, sample=data, **options))


def _plan(
    pattern: SparsityPattern, method: Method, native: bool, sample: Any, symmetry: Symmetry | None
) -> AbstractDirectPlan:
    if symmetry is not None:
        return _plan_symmetric(pattern, method, native, symmetry, sample)
    counted = _memory.factor_dtype.get()
    key = (pattern, method, native, counted, None)
    plan = _plans.get(key, lambda: _build(pattern, method, native, structural_matching(pattern)))
    if sample is None or not needs_matching(plan, np.asarray(sample)):
        return plan
    matching = product_matching(pattern, np.asarray(sample))
    if matching is None:
        return plan
    key = (pattern, method, native, counted, matching.tobytes())
    return _plans.get(key, lambda: _build(pattern, method, native, matching, pivot=True))


def _plan_symmetric(
    pattern: SparsityPattern, method: str, native: bool, symmetry: Symmetry, sample: Any
) -> AbstractDirectPlan:
    """The plan for matrices of a symmetry: special structures where they are cheaper, one triangle otherwise."""
    sample = None if sample is None else np.asarray(sample)
    hollow = require_symmetric(pattern, symmetry, sample)
    key = (pattern, method, native, symmetry, hollow.tobytes())
    general = symmetric_builder(native, symmetry, hollow)

    def build() -> AbstractDirectPlan:
        matching = structural_matching(pattern)
        if method == "multifrontal":
            return general(pattern, matching)
        if method != "auto":
            return builder(method, native)(pattern, matching)
        return choose(pattern, matching, native, hollow.size > 0, general)

    return _plans.get(key, build)


def _check_request(pattern: SparsityPattern, method: str, sample: np.ndarray | None) -> None:
    if pattern.shape[0] != pattern.shape[1]:
        raise ValueError(
            f"A direct solve needs a square matrix, got shape {pattern.shape}. For more equations than unknowns use "
            "least squares."
        )
    if method not in METHODS and method != "auto":
        raise ValueError(f"Unknown direct method {method!r}; write one of auto, {', '.join(METHODS)}.")
    if sample is not None and np.shape(sample) != (pattern.nnz,):
        raise ValueError(f"sample must hold the {pattern.nnz} CSR values of the pattern, got shape {np.shape(sample)}.")


def _use_native(backend: str) -> bool:
    """Whether the multifrontal method runs on compiled code."""
    if backend not in ("auto", "native", "portable"):
        raise ValueError(f"Unknown backend {backend!r}; write 'auto', 'native' or 'portable'.")
    if backend == "native" and not _native.available():
        raise ValueError(f"backend='native' cannot be used ({_native.status()}). Write backend='portable' or 'auto'.")
    return backend != "portable" and _native.available()


def _build(
    pattern: SparsityPattern, method: str, native: bool, matching: np.ndarray, pivot: bool = False
) -> AbstractDirectPlan:
    if method != "auto":
        return builder(method, native)(pattern, matching)
    return choose(pattern, matching, native, pivot)
