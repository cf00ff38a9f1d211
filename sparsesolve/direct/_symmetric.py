"""What the factorizations of symmetric and Hermitian matrices share, native or portable. Host-side and traced.

One triangle is factorized, `S A S = L L^H` for definite matrices and `L B L^T` (`L B L^H`) with pivots of one and two
for indefinite ones, so factors and operations are about half of an LU's. Values of the full matrix are handed over; the
other triangle is read by the residual check alone, which tells when the matrix is not symmetric after all.

    A^T x = b    is    A x = b               for a symmetric matrix,
                 and   conj(A conj(x)) = b   for a Hermitian one.
"""

from __future__ import annotations

import abc
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Bool, Inexact, Int
from scipy.sparse.csgraph import connected_components, maximum_bipartite_matching

from sparsesolve.direct import _ordering
from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.pattern import SparsityPattern

Symmetry = Literal["positive", "negative", "symmetric", "hermitian"]
SYMMETRIES = ("positive", "negative", "symmetric", "hermitian")


class AbstractSymmetricPlan(AbstractDirectPlan):
    """Base of the plans that factorize one triangle.

    Attributes:
        symmetry: `"positive"` or `"negative"`: definite (and Hermitian), factorized without pivoting; `"symmetric"`:
            `A = A^T`; `"hermitian"`: `A = A^H`.
    """

    symmetry: Symmetry

    @property
    def definite(self) -> bool:
        """Whether the matrix is expected to be definite."""
        return self.symmetry in ("positive", "negative")

    @property
    def hermitian(self) -> bool:
        """Whether `A = A^H`, rather than `A = A^T`."""
        return self.symmetry != "symmetric"

    @abc.abstractmethod
    def factor_lower(self, data: Inexact[Array, " nnz"]) -> Any:
        """Factors of the matrix, with its sign changed if it is expected to be negative definite."""

    @abc.abstractmethod
    def solve_lower(self, factors: Any, rhs: Inexact[Array, " n"], conjugated: bool) -> Inexact[Array, " n"]:
        """Solves with the matrix that was factorized, or with its complex conjugate."""

    @abc.abstractmethod
    def found(self, factors: Any) -> Int[Array, 2]:
        """How many pivots were negative (-1 where that is not known), and how many perturbed."""

    def factor(self, data: Inexact[Array, " nnz"]) -> Any:
        return self.factor_lower(-data if self.symmetry == "negative" else data)

    def solve(self, factors: Any, rhs: Inexact[Array, " n *k"], *, transpose: bool = False) -> Inexact[Array, " n *k"]:
        x = self.solve_lower(factors, rhs, transpose and self.hermitian)
        return -x if self.symmetry == "negative" else x

    def sound(self, factors: Any) -> Bool[Array, ""]:
        """False where the matrix turned out not to be definite as expected."""
        return self.found(factors)[0] == 0 if self.definite else jnp.asarray(True)

    def statistics(self, factors: Any) -> dict[str, Array]:
        """What the pivots said about the matrix."""
        negative, perturbed = self.found(factors)
        numbers = {"num_perturbed_pivots": perturbed}
        if self.definite:
            return numbers | {f"{self.symmetry}_definite": (negative == 0) & (perturbed == 0)}
        return numbers | {"num_negative_pivots": negative}


def require_symmetric(pattern: SparsityPattern, symmetry: str, sample: np.ndarray | None = None) -> np.ndarray:
    """Unknowns that cannot be pivots before others, `hollow_diagonal`; none where the matrix is definite.

    Raises:
        ValueError: the symmetry is none of those known, or the pattern cannot belong to such a matrix.
    """
    if symmetry not in SYMMETRIES:
        raise ValueError(f"Unknown symmetry {symmetry!r}; write one of {', '.join(SYMMETRIES)}, or None.")
    if not is_symmetric(pattern):
        alone = int(np.flatnonzero(pattern.positions(pattern.indices, pattern.rows) < 0)[0])
        i, j = int(pattern.rows[alone]), int(pattern.indices[alone])
        raise ValueError(
            f"A symmetric factorization needs a symmetric pattern, but entry ({i}, {j}) is stored and ({j}, {i}) is "
            "not; give both triangles of the matrix (zeros may be stored), or use SparseLU for an unsymmetric matrix."
        )
    if symmetry in ("symmetric", "hermitian"):
        return hollow_diagonal(pattern, sample)
    missing = np.flatnonzero(pattern.diagonal_positions < 0)
    if missing.size:
        raise ValueError(
            f"A {symmetry} definite matrix has a full diagonal, but entry ({missing[0]}, {missing[0]}) is not stored; "
            "write symmetry='symmetric', or tag the operator with lx.symmetric_tag."
        )
    return missing


def is_symmetric(pattern: SparsityPattern) -> bool:
    """Whether a square pattern equals its transpose."""
    return pattern.shape[0] == pattern.shape[1] and pattern == pattern.T


def hollow_diagonal(pattern: SparsityPattern, sample: np.ndarray | None) -> np.ndarray:
    """Unknowns that cannot be pivots before others: no diagonal entry, or a negligible one among the sample values."""
    place = pattern.diagonal_positions
    hollow = place < 0
    if sample is not None and np.isfinite(sample).all():
        size = np.abs(np.append(sample, 0.0))
        largest = np.zeros(place.size)
        np.maximum.at(largest, pattern.rows, size[:-1])
        hollow |= size[place] <= 1e-8 * largest
    return np.flatnonzero(hollow)


def symmetric_graph(pattern: SparsityPattern, hollow: np.ndarray) -> tuple[Any, np.ndarray]:
    """The graph to eliminate, and an order of elimination.

    An unknown in `hollow` cannot be a pivot before its neighbours have changed it. Each is tied to a neighbour: both
    take the entries of either, so that they come into one front and can be a pivot of two.
    """
    graph = _ordering.adjacency(pattern.rows, pattern.indices, pattern.shape[0])
    if hollow.size:
        graph = _tie(graph, hollow)
    return graph, _ordering.nested_dissection(graph)


def _tie(graph: Any, hollow: np.ndarray) -> Any:
    """Unites the neighbourhoods of the unknowns in `hollow` with that of a partner each."""
    n = graph.shape[0]
    partner = maximum_bipartite_matching(graph[hollow], perm_type="column")
    tied = partner >= 0
    group = connected_components(_ordering.adjacency(hollow[tied], partner[tied], n), directed=False)[1]
    member = scipy.sparse.csr_matrix((np.ones(n), (np.arange(n), group)), shape=(n, int(group.max()) + 1))
    united = (member @ (member.T @ (graph.astype(float) + scipy.sparse.identity(n)) @ member) @ member.T).tocoo()
    return _ordering.adjacency(united.row, united.col, n)
