"""Weights: residuals divided by standard deviations, or multiplied by the inverse of a factor of their covariance.

Weighting is part of the function that is traced, so its Jacobian, pattern and derivatives follow by themselves.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import jax.tree_util as jtu
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from jax.core import Tracer
from jaxtyping import Array, PyTree

from sparsesolve._tree import Structure
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern


class Weights(NamedTuple):
    """How residuals are weighted: `deviations` of their own structure, a dense `factor`, or a sparse `inverse`."""

    deviations: Any
    factor: Any
    inverse: Any


def make_weights(sigma: Any, residual: PyTree[jax.ShapeDtypeStruct]) -> Weights:
    """Checks `sigma` against the residual's shapes.

    Raises:
        ValueError: the shape fits neither as standard deviations nor as a covariance.
    """
    structure = Structure.of(residual)
    m = structure.size
    if isinstance(sigma, SparseMatrix) or scipy.sparse.issparse(sigma):
        return Weights((), (), _inverse_factor(sigma, m))
    leaves, treedef = jtu.tree_flatten(sigma)
    if treedef == structure.treedef and all(_fits(a, s) for a, s in zip(leaves, structure.shapes, strict=True)):
        return Weights(jtu.tree_unflatten(treedef, [jnp.asarray(leaf) for leaf in leaves]), (), ())
    if len(leaves) == 1 and jnp.shape(leaves[0]) in ((), (m,)):
        flat = jnp.broadcast_to(jnp.asarray(leaves[0]), (m,))
        return Weights(structure.unravel(flat), (), ())
    if len(leaves) == 1 and jnp.shape(leaves[0]) == (m, m):
        return Weights((), jnp.linalg.cholesky(jnp.asarray(leaves[0])), ())
    seen = ", ".join(str(jnp.shape(leaf)) for leaf in leaves)
    raise ValueError(
        f"least_squares got sigma of shape {seen} for {m} residuals ({_described(structure)}). Give standard "
        f"deviations (a scalar, shape ({m},), or the structure of the residual), their covariance of shape ({m}, {m}), "
        f"or a sparse factor L of it, L L^T = covariance."
    )


def whiten(residual: PyTree[Array], weights: Weights) -> PyTree[Array]:
    """The weighted residuals, in their own structure for standard deviations and sparse factors."""
    structure = Structure.of(residual)
    if weights.inverse != ():
        return structure.unravel(weights.inverse @ structure.ravel(residual))
    if isinstance(weights.factor, tuple):
        return jtu.tree_map(lambda r, s: r / s.astype(r.dtype), residual, weights.deviations)
    flat = structure.ravel(residual)
    return structure.unravel(jsl.solve_triangular(weights.factor.astype(flat.dtype), flat, lower=True))


def _fits(leaf: Any, shape: tuple[int, ...]) -> bool:
    return jnp.shape(leaf) == shape


def _inverse_factor(sigma: Any, m: int) -> SparseMatrix:
    """The inverse of a sparse factor, on the host: sparse where the factor is block diagonal."""
    if isinstance(sigma, SparseMatrix) and isinstance(sigma.data, Tracer):
        raise TypeError(
            "least_squares got a sparse sigma with traced values; its inverse is planned from its values. Weight the "
            "residual inside fn instead."
        )
    factor: Any = scipy.sparse.csc_matrix(sigma.to_scipy() if isinstance(sigma, SparseMatrix) else sigma)
    if factor.shape != (m, m):
        raise ValueError(
            f"least_squares got a sparse sigma of shape {factor.shape} for {m} residuals; give a factor L of shape "
            f"({m}, {m}) with L L^T = covariance."
        )
    inverse: Any = scipy.sparse.csr_matrix(scipy.sparse.linalg.spsolve(factor, scipy.sparse.identity(m, format="csc")))
    if not np.isfinite(inverse.data).all():
        raise ValueError("least_squares got a sparse sigma that is singular; every residual needs a positive variance.")
    inverse.sum_duplicates()
    inverse.sort_indices()
    return SparseMatrix(jnp.asarray(inverse.data), SparsityPattern.from_scipy(inverse))


def _described(structure: Structure) -> str:
    return ", ".join(
        f"{name or 'residual'} {shape}" for name, shape in zip(structure.names, structure.shapes, strict=True)
    )
