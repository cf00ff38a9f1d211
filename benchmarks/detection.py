"""Sparsity detection: from the function to the pattern of its Jacobian."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from benchmarks._base import Benchmark, Case, Trial
from benchmarks._problems import build, missing_entries, reference_pattern

_SIDES = {"brusselator": ((71, "1e4"), (224, "1e5"), (708, "1e6")), "fem_diffusion": ((100, "1e4"), (317, "1e5"))}


def cases(quick: bool) -> list[Case]:
    """Both problems at growing sizes; quick keeps the smallest."""
    return [
        Case(f"{problem}, {size} unknowns", {"problem": problem, "n": n}, ("sparsesolve", "asdex"))
        for problem, sides in _SIDES.items()
        for n, size in sides[: 1 if quick else None]
    ]


def sparsesolve(problem: str, n: int) -> Trial:
    """`sparsesolve.detect_sparsity`, from scratch every time."""
    import sparsesolve as ss

    p = build(problem, n)
    notes: dict[str, int] = {}

    def run() -> ss.SparsityPattern:
        ss.clear_caches()
        return ss.detect_sparsity(p.residual, p.y0, p.args)

    def check(pattern: ss.SparsityPattern) -> float:
        notes["nnz"] = pattern.nnz
        return missing_entries(pattern.to_scipy(), reference_pattern(problem, n))

    return Trial(run, check, 0.0, "missing entries", notes=notes)


def asdex(problem: str, n: int) -> Trial:
    """`asdex.jacobian_sparsity` of the same function."""
    import asdex as peer
    from jax.flatten_util import ravel_pytree

    p = build(problem, n)
    y0, unravel = ravel_pytree(p.y0)
    notes: dict[str, int] = {}

    def check(pattern: peer.SparsityPattern) -> float:
        notes["nnz"] = int(pattern.nnz)
        ones = np.ones(pattern.nnz, bool)
        matrix = scipy.sparse.csr_matrix((ones, (np.asarray(pattern.rows), np.asarray(pattern.cols))), (y0.size,) * 2)
        return missing_entries(matrix, reference_pattern(problem, n))

    def flat(y: object) -> object:
        return ravel_pytree(p.residual(unravel(y), p.args))[0]

    return Trial(lambda: peer.jacobian_sparsity(flat, y0), check, 0.0, "missing entries", notes=notes)


BENCHMARK = Benchmark(
    "detection", "which entries of the Jacobian can be nonzero", cases, {"sparsesolve": sparsesolve, "asdex": asdex}
)
