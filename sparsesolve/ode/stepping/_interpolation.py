"""`PolynomialInterpolation`: the solution inside one step as a polynomial, for diffrax's dense output."""

from __future__ import annotations

from typing import Any

import diffrax as dfx
import jax.tree_util as jtu
from jaxtyping import Array, PyTree


class PolynomialInterpolation(dfx.AbstractLocalInterpolation):
    """`y(t0 + theta (t1 - t0)) = y0 + theta q_1 + theta^2 q_2 + ...`

    Attributes:
        t0: start of the step.
        t1: end of the step.
        y0: the state there.
        coefficients: pytree like the state; each leaf has the powers along a new first axis.
    """

    t0: Any
    t1: Any
    y0: PyTree[Array]
    coefficients: PyTree[Array]

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> PyTree[Array]:
        """The state at `t0`, or its increment from `t0` to `t1`."""
        del left
        if t1 is not None:
            return jtu.tree_map(lambda a, b: b - a, self.evaluate(t0), self.evaluate(t1))
        theta = (t0 - self.t0) / (self.t1 - self.t0)

        def leaf(y: Array, q: Array) -> Array:
            s = theta.astype(q.real.dtype)
            value = q[-1]
            for k in range(q.shape[0] - 2, -1, -1):
                value = q[k] + s * value
            return y + s * value

        return jtu.tree_map(leaf, self.y0, self.coefficients)
