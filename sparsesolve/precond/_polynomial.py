"""`Chebyshev`: a polynomial in `D^-1 A` as a preconditioner."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from sparsesolve.matrix import SparseMatrix
from sparsesolve.matrix._product import product_plan
from sparsesolve.pattern import SparsityPattern
from sparsesolve.precond._base import AbstractApplication, AbstractPreconditioner, PreconditionerOperator
from sparsesolve.precond._chebyshev import invert_diagonal, smooth, spectral_interval


@dataclasses.dataclass(frozen=True)
class _Sweep(AbstractApplication):
    """`v -> ` one Chebyshev sweep for `A x = v` from zero."""

    pattern: SparsityPattern
    degree: int

    def apply(self, arrays: Any, v: Inexact[Array, " n"], *, transpose: bool) -> Inexact[Array, " n"]:
        forward, backward, inverse_diagonal, interval = arrays
        plan = product_plan(self.pattern, transpose=transpose)
        arranged = backward if transpose else forward
        return smooth(lambda x: plan.multiply(arranged, x), inverse_diagonal, interval, self.degree, v)


class Chebyshev(AbstractPreconditioner):
    """Chebyshev polynomial preconditioner: `degree - 1` products with `A`, no plan, no triangular solve.

    For matrices whose `D^-1 A` has eigenvalues near the positive real axis (diffusion, `I + c L`): the polynomial damps
    those between the largest one, estimated by a few steps of Lanczos, and `1 / spread` of it. It multiplies the reach
    of a Krylov step without inner products; it does not make the number of steps independent of the mesh as `AMG` does.

    Args:
        degree: of the polynomial that is applied to the error, at least 1 (damped Jacobi).
        spread: largest over smallest eigenvalue of the interval, above 1.

    Raises:
        ValueError: an argument out of its range.

    References:
        M. Adams, M. Brezina, J. Hu, R. Tuminaro, J. Comput. Phys. 188 (2003) 593-610,
        doi:10.1016/S0021-9991(03)00194-3.

    Example:
        >>> import jax.numpy as jnp, sparsesolve as ss
        >>> A = ss.SparseMatrix.from_dense(jnp.array([[4.0, -1.0], [-1.0, 2.0]]))
        >>> x = ss.Chebyshev(degree=6)(A).mv(jnp.array([3.0, 1.0]))
        >>> bool(jnp.allclose(x, 1.0, atol=1e-2))
        True
    """

    degree: int = eqx.field(static=True, default=4)
    spread: float = eqx.field(static=True, default=30.0)

    def __check_init__(self):
        if self.degree < 1:
            raise ValueError(f"Chebyshev got degree={self.degree}; it must be at least 1.")
        if not self.spread > 1:
            raise ValueError(f"Chebyshev got spread={self.spread}; the interval needs a length, write 10 to 100.")

    def prepare(self, pattern: SparsityPattern, sample: Inexact[Array, " nnz"] | None = None) -> Chebyshev:
        """Nothing to plan."""
        return self

    def factor(self, matrix: SparseMatrix) -> PreconditionerOperator:
        """The interval, and the values arranged for products."""
        if matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"Chebyshev needs a square matrix, got shape {matrix.shape}.")
        pattern, data = matrix.pattern, matrix.data
        plan, turned = product_plan(pattern), product_plan(pattern, transpose=True)
        arranged = plan.arrange(data)
        inverse_diagonal = invert_diagonal(matrix.diagonal())
        sums = plan.multiply(jax.tree.map(jnp.abs, arranged), jnp.ones(matrix.shape[0], jnp.finfo(data.dtype).dtype))
        interval = spectral_interval(lambda v: plan.multiply(arranged, v), sums, inverse_diagonal, self.spread)
        arrays = (arranged, turned.arrange(data), inverse_diagonal, interval)
        return PreconditionerOperator(arrays, _Sweep(pattern, self.degree), matrix.shape[0], matrix.dtype)
