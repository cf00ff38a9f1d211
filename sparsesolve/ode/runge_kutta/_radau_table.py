"""Radau IIA methods as tables: all that depends on the number of stages, computed from the nodes.

The collocation polynomial u of a step takes u(c_i) = y_0 + Z_i with c_s = 1, and h u'(c_i) = (A^-1 Z)_i.
Differentiating the Lagrange polynomials on 0, c_1, ..., c_s gives A^-1 and u'(0) in products of differences of nodes,
to the last digits. For odd s the matrix A^-1 has one real eigenvalue and (s - 1) / 2 complex pairs.

The error estimate is the defect of u at the start of the step, f(t_0, y_0) - u'(0), multiplied by (mu / h M - J)^-1
with the real eigenvalue mu: that is the embedded formula of order s of Hairer's codes, (8.19) of the first reference.

References:
    E. Hairer, G. Wanner, Solving Ordinary Differential Equations II (1996), sections IV.5 and IV.8.
    E. Hairer, G. Wanner, "Stiff differential equations solved by Radau methods", J. Comput. Appl. Math. 111 (1999) 93,
    doi:10.1016/S0377-0427(99)00134-X.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class RadauTable:
    """A Radau IIA method with s stages.

    Attributes:
        nodes: c, ascending, the last one is 1; shape `(s,)`.
        inverse: A^-1, shape `(s, s)`.
        transform: T, whose columns are the real eigenvector and real and imaginary parts of the others.
        transform_inverse: T^-1.
        real: the real eigenvalue mu of A^-1.
        pairs: the complex ones, one nu of each pair.
        collocation: Z to the coefficients of theta, ..., theta^s, shape `(s, s)`.
        error: weights of Z in `-h u'(0)`, shape `(s,)`.
        strictness: see `leniency`.
        iteration_error: most that Newton's method may leave, in units of the tolerance.
    """

    nodes: np.ndarray
    inverse: np.ndarray
    transform: np.ndarray
    transform_inverse: np.ndarray
    real: float
    pairs: tuple[complex, ...]
    collocation: np.ndarray
    error: np.ndarray
    strictness: float
    iteration_error: float

    @property
    def stages(self) -> int:
        """s."""
        return len(self.nodes)

    @property
    def order(self) -> int:
        """2 s - 1."""
        return 2 * self.stages - 1

    @property
    def max_iterations(self) -> int:
        """Most Newton iterations of a step; more stages start from farther away."""
        return 8 + 5 * (self.stages - 3) // 2

    @property
    def error_exponent(self) -> float:
        """The estimate is O(h^(s+1))."""
        return 1 / (self.stages + 1)

    @property
    def tolerance_exponent(self) -> float:
        """1 - (s + 1) / (2 s): errors may exceed the tolerance by this power of it, see `leniency`."""
        return (self.stages - 1) / (2 * self.stages)


def radau_table(nodes: np.ndarray, *, strictness: float, iteration_error: float) -> RadauTable:
    """The table of the method with these nodes; an odd number of them, the last one 1."""
    stages = len(nodes)
    slopes = _differentiation(np.concatenate([[0.0], nodes]))
    inverse = slopes[1:, 1:]
    values, vectors = np.linalg.eig(inverse)
    real = int(np.argmin(np.abs(np.imag(values))))
    upper = [int(k) for k in np.argsort(np.imag(values)) if k != real][stages // 2 :]
    columns = [np.real(vectors[:, real])]
    for pair in upper:
        columns += [np.real(vectors[:, pair]), np.imag(vectors[:, pair])]
    transform = np.stack(columns, axis=1)
    return RadauTable(
        nodes=nodes,
        inverse=inverse,
        transform=transform,
        transform_inverse=np.linalg.inv(transform),
        real=float(np.real(values[real])),
        pairs=tuple(complex(np.conj(values[pair])) for pair in upper),
        collocation=np.linalg.inv(nodes[:, None] ** np.arange(1, stages + 1)),
        error=-slopes[0, 1:],
        strictness=strictness,
        iteration_error=iteration_error,
    )


def _differentiation(points: np.ndarray) -> np.ndarray:
    """`D[i, j]`: the slope at point i of the Lagrange polynomial of point j."""
    differences = points[:, None] - points[None, :] + np.eye(len(points))
    weights = 1 / np.prod(differences, axis=1)
    slopes = weights[None, :] / weights[:, None] / differences
    np.fill_diagonal(slopes, 0.0)
    np.fill_diagonal(slopes, -np.sum(slopes, axis=1))
    return slopes
