"""Tables of Rosenbrock methods and the transformation that spares the products with the Jacobian. Host-side.

The textbook form of a method with coefficients alpha (strictly lower triangular), Gamma (lower triangular, gamma on the
diagonal) and b is

    M k_i = f(t + c_i h, y + h sum_j alpha_ij k_j) + h J sum_j Gamma_ij k_j + g_i h f_t,     y_1 = y + h sum_i b_i k_i,

c_i and g_i the row sums of alpha and Gamma. With U = h Gamma k it becomes

    (M - gamma h J) U_i = gamma h (f(t + c_i h, y + sum_j a_ij U_j) + g_i h f_t) + gamma M sum_j C_ij U_j,
    a = alpha Gamma^-1,    C = I / gamma - Gamma^-1,    m = b Gamma^-1.

Reference: E. Hairer, G. Wanner, Solving Ordinary Differential Equations II (1996), section IV.7, equations (7.4) and
(7.25).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class RosenbrockTableau:
    """A method in transformed form.

    Attributes:
        order: of the method.
        error_order: exponent `p` for which the error estimate is `O(h^p)`.
        gamma: diagonal of Gamma.
        a: shape `(s, s)`, strictly lower triangular.
        C: shape `(s, s)`, strictly lower triangular.
        c: times of the stages, shape `(s,)`.
        g: factors of `h f_t`, shape `(s,)`.
        m: weights of the solution, shape `(s,)`.
        error: weights of the error estimate, shape `(s,)`.
        dense: `y(t + theta h) = y + sum_p theta^(p+1) sum_i dense[p, i] U_i`, shape `(degree, s)`.
        is_w: whether the order holds for any matrix in place of J.
        ends_with_slope: whether the last stage evaluates f at the end of the step.
    """

    order: int
    error_order: int
    gamma: float
    a: np.ndarray
    C: np.ndarray
    c: np.ndarray
    g: np.ndarray
    m: np.ndarray
    error: np.ndarray
    dense: np.ndarray
    is_w: bool = False
    ends_with_slope: bool = False

    @property
    def num_stages(self) -> int:
        """Linear systems solved in a step."""
        return self.m.size

    @functools.cached_property
    def sees_start(self) -> bool:
        """Whether the error estimate holds what the start of a step violates algebraic equations by, whatever h: with
        `f = J y` and `M = 0` the stages are `U = -(I + a)^-1 y`."""
        violation = np.linalg.solve(np.eye(self.num_stages) + self.a, np.ones(self.num_stages))
        return bool(abs(self.error @ violation) > 1e-8)

    def textbook(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`alpha`, `Gamma` and `b`."""
        inverse = np.eye(self.num_stages) / self.gamma - self.C
        full = np.linalg.inv(inverse)
        return self.a @ full, full, self.m @ full


def transformed(
    alpha: np.ndarray,
    gamma: np.ndarray,
    b: np.ndarray,
    error: np.ndarray,
    dense: np.ndarray,
    *,
    order: int,
    error_order: int,
    is_w: bool = False,
    ends_with_slope: bool = False,
) -> RosenbrockTableau:
    """A method from its textbook form; `error` and the rows of `dense` are weights of `h k`."""
    inverse = np.linalg.inv(gamma)
    return RosenbrockTableau(
        order=order,
        error_order=error_order,
        gamma=float(gamma[0, 0]),
        a=_cleaned(alpha @ inverse),
        C=_cleaned(np.eye(b.size) / gamma[0, 0] - inverse),
        c=alpha.sum(axis=1),
        g=_cleaned(gamma.sum(axis=1)),
        m=_cleaned(b @ inverse),
        error=_cleaned(error @ inverse),
        dense=_cleaned(dense @ inverse),
        is_w=is_w,
        ends_with_slope=ends_with_slope,
    )


def _cleaned(values: np.ndarray) -> np.ndarray:
    """Rounding errors in the place of zeros would cost a multiplication each."""
    return np.where(np.abs(values) < 1e-14, 0.0, values)
