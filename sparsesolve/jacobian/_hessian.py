"""`hessian`: the sparse Hessian of a scalar function, prepared once, evaluated often.

The Jacobian of the gradient, forward over reverse. Its pattern is symmetric, so a star colouring suffices: each entry
is read either as H_ij or as H_ji (Coleman and More, Math. Programming 28 (1984) 243). The gradient's linear part is
peeled off as for any Jacobian, which often leaves fewer colours still; the cheaper way is chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from sparsesolve.jacobian._arguments import normal_argnums, split_arguments
from sparsesolve.jacobian._jacobian import Options, SparseJacobian
from sparsesolve.jacobian._limits import check_chunk_size


def hessian(
    f: Callable[..., Any],
    *args: Any,
    argnums: int | tuple[int, ...] = 0,
    sparsity: Any = None,
    has_aux: bool = False,
    verify: bool = True,
    chunk_size: int | None = None,
    peel: bool = True,
) -> SparseJacobian:
    """Prepares the sparse Hessian of a scalar function with respect to one of its arguments.

    Args:
        f: function of pytrees of real arrays to a scalar of shape `()`.
        *args, argnums, sparsity, has_aux, verify, chunk_size, peel: as for `jacobian`. The pattern always holds the
            diagonal and is symmetric.

    Returns:
        A `SparseJacobian` of the gradient: calling it gives the Hessian as a `SparseMatrix`,
        `value_and_jacobian` gives gradient and Hessian.

    Raises:
        TypeError: if `f` does not return a real scalar.
        ValueError: as `jacobian`.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsesolve.jacobian import hessian
        >>> def energy(u):
        ...     return jnp.sum((u[1:] - u[:-1]) ** 2) + jnp.sum(u**4)
        >>> hess = hessian(energy, jnp.ones(4))
        >>> hess(jnp.ones(4)).todense()[1]
        Array([-2., 16., -2.,  0.], dtype=float64)
    """

    def gradient(*values: Any) -> Any:
        return jax.grad(_scalar(f, has_aux), argnums=argnums, has_aux=has_aux)(*values)

    check_chunk_size(chunk_size, "hessian")
    options = Options(peel, chunk_size, True, has_aux, "hessian", symmetric=True)
    arguments = split_arguments(args, argnums, "hessian")
    if any(jnp.issubdtype(leaf.dtype, jnp.complexfloating) for leaf in arguments.unknowns):
        raise TypeError(
            "hessian got complex unknowns, for which a real function has no complex Hessian; write the unknowns as "
            "real and imaginary parts."
        )
    return SparseJacobian(gradient, arguments, normal_argnums(argnums, args), sparsity, options, verify)


def _scalar(f: Callable[..., Any], has_aux: bool) -> Callable[..., Any]:
    """`f` with a check of what it returns."""

    def checked(*args: Any) -> Any:
        result = f(*args)
        value = result[0] if has_aux else result
        leaves = jtu.tree_leaves(value)
        if (
            len(leaves) != 1
            or jnp.shape(leaves[0]) != ()
            or not jnp.issubdtype(jnp.result_type(leaves[0]), jnp.floating)
        ):
            seen = ", ".join(f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}" for leaf in leaves) or "nothing"
            raise TypeError(
                f"hessian needs a function that returns one real scalar and got {seen}; sum the result, or use "
                "jacobian for a vector of residuals."
            )
        return result

    return checked
