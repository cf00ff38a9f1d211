"""An objective whose Jacobian is never stored: products with it by forward and reverse mode, nothing else.

Neither pattern nor colouring is needed. A product costs a few evaluations of the residual, and memory is that of
evaluating and differentiating it once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, PyTree

from sparsesolve.least_squares.objective._objective import Linearisation, Objective, Operands
from sparsesolve.linear._prepared import prepared_jacobian
from sparsesolve.pattern import SparsityPattern


class Products:
    """`J @ v` and `w @ J`. Holds traced values; never part of a state."""

    def __init__(self, forward: Callable[[Array], Array], backward: Callable[[Array], Array], dtype: np.dtype):
        self.dtype = dtype
        self._forward, self._backward = forward, backward

    def __matmul__(self, v: Inexact[Array, " n"]) -> Inexact[Array, " m"]:
        return self._forward(v)

    def __rmatmul__(self, w: Inexact[Array, " m"]) -> Inexact[Array, " n"]:
        return self._backward(w)


@dataclasses.dataclass(frozen=True, eq=False)
class ProductObjective(Objective):
    """See the module's description; `jacobian` is `None`."""

    @property
    def num_colors(self) -> int:
        return 0

    @property
    def nnz(self) -> int:
        return 0

    @property
    def pattern(self) -> SparsityPattern:
        raise NotImplementedError("a Jacobian of products has no pattern")

    def invariants(self, y: PyTree[Array], operands: Operands) -> Any:
        return None

    @property
    def bends(self) -> bool:
        return False

    def linearise(
        self, y: PyTree[Array], operands: Operands, invariants: Any, stiffness: Float[Array, ""] | float = 1.0
    ) -> Linearisation:
        del invariants, stiffness
        zero = jnp.zeros((self.tangents.size,), self.dtype)
        r, pull = jax.vjp(lambda d: self.displaced(y, d, operands), zero)
        cost = self.cost(r, operands)
        if self.losses is None:
            corrected, gradient = r, pull(r)[0]
        else:
            correction = self.losses.correction(r, operands.losses)
            corrected = correction.residual
            gradient = pull(correction.backward(corrected))[0]
        free = self._free(y, gradient, operands)
        gradient = jnp.where(free, gradient, 0.0)
        return Linearisation(cost, corrected, jnp.zeros((0,), self.dtype), gradient, free)

    def operator(self, lin: Linearisation, y: PyTree[Array], operands: Operands) -> Products:
        zero = jnp.zeros((self.tangents.size,), self.dtype)
        r, push = jax.linearize(lambda d: self.displaced(y, d, operands), zero)
        pull = jax.linear_transpose(push, zero)
        correction = None if self.losses is None else self.losses.correction(r, operands.losses)

        def forward(v: Array) -> Array:
            image = push(jnp.where(lin.free, v, 0.0).astype(zero.dtype))
            return image if correction is None else correction.forward(image)

        def backward(w: Array) -> Array:
            w = w if correction is None else correction.backward(w)
            return jnp.where(lin.free, pull(w.astype(r.dtype))[0], 0.0)

        return Products(forward, backward, self.dtype)

    def _kept(self, data: Array, free: Array) -> Array:
        return data

    def magnitudes(self, jacobian: Products, scale: Float[Array, " n"]) -> Float[Array, " m"]:
        """An estimate: with random signs the squares of `J (+-scale)` have the mean `sum_j (J_ij scale_j)^2`."""
        signs = jax.random.rademacher(jax.random.key(1), scale.shape).astype(scale.dtype)
        return jnp.abs(jacobian @ (signs * scale))

    def stored(self, y: PyTree[Array], operands: Operands) -> Objective:
        x, data, captured = self._arguments(y, operands)
        jacobian = prepared_jacobian(self.pure, x, data, captured)
        return Objective(self.pure, jacobian, self.unknowns, self.tangents, self.losses, self.retract, self.declared)
