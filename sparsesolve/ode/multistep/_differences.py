"""Backward differences of a solution at equally spaced times, and the tables of numerical differentiation formulas.

The history of BDF is the array `D` of backward differences, `D[i] = nabla^i y_n` on a grid of step `h`: eight rows, of
which `k + 1` count at order `k` and two more serve the choice of order. All that a step does with it is a product with
a small matrix that depends on the order, looked up in tables so that shapes are static:

    another step size       D <- S(k, ratio) D                    S = (R(ratio) R(1))^T,  R(q)_ij = prod_m (m-1-q j) / m
    prediction              y_p = sum_i D_i,  psi = sum_i gamma_i D_i / alpha_k
    after the step          D <- T(k) [D; d]                      d = y_{n+1} - y_p

References: L. F. Shampine, M. W. Reichelt, "The MATLAB ODE suite", SIAM J. Sci. Comput. 18 (1997) 1,
doi:10.1137/S1064827594276424, section 2; G. D. Byrne, A. C. Hindmarsh, "A polyalgorithm for the numerical solution of
ordinary differential equations", ACM Trans. Math. Softw. 1 (1975) 71, doi:10.1145/355626.355636.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

MAX_ORDER = 5
ROWS = MAX_ORDER + 3

# Klopfenstein's coefficients as Shampine and Reichelt chose them; row 0 is never used.
_KAPPA = np.array([0.0, -0.1850, -1.0 / 9.0, -0.0823, -0.0415, 0.0])
_GAMMA = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, MAX_ORDER + 1))])

# alpha_k: the implicit equation is (psi + d) = (h / alpha_k) f(t, y_p + d).
ALPHA = np.concatenate([[1.0], ((1.0 - _KAPPA) * _GAMMA)[1:]])
# Local error of order k: ERROR_CONSTANT[k] * d, that of its neighbours likewise with differences of their order.
ERROR_CONSTANT = _KAPPA * _GAMMA + 1.0 / np.arange(1, MAX_ORDER + 2)


def _prediction_table() -> np.ndarray:
    """Row k: coefficients of `y_p` and of `psi`, shape `(order, 2, ROWS)`."""
    table = np.zeros((MAX_ORDER + 1, 2, ROWS))
    for k in range(1, MAX_ORDER + 1):
        table[k, 0, : k + 1] = 1.0
        table[k, 1, 1 : k + 1] = _GAMMA[1 : k + 1] / ALPHA[k]
    return table


def _update_table() -> np.ndarray:
    """Row k: `[D; d]` to the new differences, shape `(order, ROWS, ROWS + 1)`."""
    table = np.zeros((MAX_ORDER + 1, ROWS, ROWS + 1))
    for k in range(1, MAX_ORDER + 1):
        for i in range(k + 1):
            table[k, i, i : k + 1] = 1.0  # sum of the old differences from i to k ...
        table[k, : k + 3, ROWS] = 1.0  # ... plus d
        table[k, k + 2, k + 1] = -1.0
    return table


PREDICTION = _prediction_table()
UPDATE = _update_table()


def _interpolation_powers(ratio: Array) -> Array:
    """`R(ratio)`, shape `(MAX_ORDER + 1, MAX_ORDER + 1)`; its row i is the product of the factors up to i."""
    columns = jnp.arange(MAX_ORDER + 1, dtype=ratio.dtype)
    rows = [jnp.ones_like(columns) * jnp.ones_like(ratio)]
    for m in range(1, MAX_ORDER + 1):
        rows.append(rows[-1] * ((m - 1) - ratio * columns) / m)
    return jnp.stack(rows)


_TO_VALUES = np.array(
    [[np.prod([(m - 1 - j) / m for m in range(1, i + 1)]) for j in range(MAX_ORDER + 1)] for i in range(MAX_ORDER + 1)]
)  # R(1): differences to values at the grid points, its own inverse


def rescaling(order: Int[Array, ""], ratio: Float[Array, ""]) -> Float[Array, "ROWS ROWS"]:
    """Matrix that takes differences at step `h` to differences at step `ratio * h` of the same polynomial.

    Rows beyond the order pass through; they are stale until `order + 1` equal steps have been made.
    """
    size = MAX_ORDER + 1
    product = jnp.asarray(_TO_VALUES.T, ratio.dtype) @ _interpolation_powers(ratio).T
    used = jnp.arange(size) <= order
    block = jnp.where(used[:, None] & used[None, :], product, jnp.eye(size, dtype=ratio.dtype))
    return jnp.eye(ROWS, dtype=ratio.dtype).at[:size, :size].set(block)
