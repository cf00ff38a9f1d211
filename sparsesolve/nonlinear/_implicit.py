"""The derivative of a root by the implicit function theorem, through one factorization.

Where F(y*, p) = 0 and J = dF/dy is regular,

    dy* = -J^-1 (dF/dp) dp,

and y* does not depend on the initial guess. `jax.custom_jvp` states this once; the tangent solve is a
`jax.lax.custom_linear_solve`, so JAX transposes it for reverse mode and differentiates it again for Hessians. Forward
and transposed solves share the factors of J(y*), and nothing dense is formed.

The primal iteration's last factors belong to the iterate before y*, so J is evaluated and factorized once more, at
y* itself: derivatives are then as accurate as y* is, at the cost of one Newton step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
import numpy as np
from jaxtyping import Array, Inexact, PyTree

from sparsesolve._tree import Structure
from sparsesolve.jacobian import SparseJacobian
from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
from sparsesolve.nonlinear._newton import flat_residual


def implicit_root(
    find: Callable[[PyTree[Array], tuple[Any, ...]], tuple[PyTree[Array], Any]],
    fn: Callable[..., PyTree[Array]],
    jacobian: SparseJacobian,
    linear_solver: lx.AbstractLinearSolver,
    declared: bool,
) -> Callable[[PyTree[Array], tuple[Any, ...]], tuple[PyTree[Array], Any]]:
    """Gives `find(y0, operands) -> (root, info)` the derivative of the root.

    Args:
        find: the iteration; closes over no traced value.
        fn: residual `fn(y, *operands)`, differentiable.
        jacobian: prepared Jacobian of `fn` with respect to `y`.
        linear_solver: solves with it; its `transpose` serves reverse mode.
        declared: the pattern was given by the user and not detected, so tangents are checked with products of `fn`.

    Returns:
        The same function, differentiable in `operands` in any mode and order. `info` has no derivative.
    """
    root_of = jax.custom_jvp(find)

    @root_of.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        y0, operands = primals
        root, info = root_of(y0, operands)
        _, rhs = jax.jvp(lambda p: fn(root, *p), (operands,), (tangents[1],))
        structure = Structure.of(root)
        negative = -flat_residual(rhs, structure)
        tangent = tangent_solve(fn, jacobian, linear_solver, root, operands, negative, declared)
        return (root, info), (structure.unravel(tangent), jtu.tree_map(_no_tangent, info))

    return root_of


def tangent_solve(
    fn: Callable[..., PyTree[Array]],
    jacobian: SparseJacobian,
    linear_solver: lx.AbstractLinearSolver,
    root: PyTree[Array],
    operands: tuple[Any, ...],
    rhs: Inexact[Array, " n"],
    declared: bool = False,
) -> Inexact[Array, " n"]:
    """`J(root)^-1 rhs`, transposable and differentiable to any order. NaN where the solve fails its residual check."""
    structure = Structure.of(root)
    fixed_root, fixed_operands = jax.lax.stop_gradient((root, operands))
    matrix = jacobian(fixed_root, *fixed_operands)
    state = linear_solver.init(SparseLinearOperator(matrix), {})
    transposed, _ = linear_solver.transpose(state, {})

    def matvec(v: Array) -> Array:
        _, out = jax.jvp(lambda y: fn(y, *operands), (root,), (structure.unravel(v),))
        return flat_residual(out, structure)

    def solve_with(factors: Any) -> Callable[[Any, Array], Array]:
        def solve(multiply: Any, b: Array) -> Array:
            x, result, _ = linear_solver.compute(factors, b, {})
            # A tangent has no status to report; a wrong one must not look right.
            good = (result == lx.RESULTS.successful) | jnp.all(b == 0)
            if declared:
                good = good & _fits(multiply(x), b, matrix, x)
            return jnp.where(good, x, jnp.nan).astype(b.dtype)

        return solve

    return jax.lax.custom_linear_solve(matvec, rhs, solve_with(state), solve_with(transposed))


def _fits(product: Array, b: Array, matrix: SparseMatrix, x: Array) -> Array:
    """Whether the true product `A x` is `b`, to half the digits of what is added up in it."""

    def largest(v: Array) -> Array:
        return jnp.max(jnp.abs(v), initial=0.0)

    size = largest(matrix.data) * largest(x) + largest(b)
    return largest(product - b) <= jnp.finfo(b.dtype).eps ** 0.5 * size


def _no_tangent(leaf: Any) -> Any:
    if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
        return jnp.zeros_like(leaf)
    return np.zeros(jnp.shape(leaf), jax.dtypes.float0)
