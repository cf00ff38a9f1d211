"""`EsdirkTableau`: a method as a table, and what follows from it: stage predictors and dense output. Host-side.

Stages of an explicit-first-stage, singly diagonally implicit Runge-Kutta method, k_1 = h f(t, y), then

    z_i = y + sum_{j<i} a_ij k_j + gamma k_i,    k_i = h f(t + c_i h, z_i),    y_new = y + sum b_i k_i.

A predictor extrapolates the stage values found so far: weights on y, z_2, ..., z_{i-1} and k_1 that are exact for
polynomials of the highest degree they can be without growing large, and as small as possible. Dense output is
y(t + theta h) = y + sum_m theta^m sum_i B_im k_i with weights B that meet the conditions of its order for every theta,
end in y_new with slope k_s, start with slope k_1 and are as small as possible.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

LARGEST_WEIGHT = 8.0  # sum of a predictor's weights in magnitude, beyond which a lower degree is better


@dataclasses.dataclass(frozen=True, eq=False)
class EsdirkTableau:
    """One method, or a pair for split right-hand sides.

    Attributes:
        name: of the method.
        order: of `b`.
        a: implicit coefficients, `(s, s)`, lower triangular with zero first row and constant diagonal after it.
        b_error: weights of the error estimate (b minus the embedded weights).
        explicit: coefficients `(s, s)` for the other part of a split right-hand side, `None` if there are none.
        dense_order: order of the dense output.
        error_order: power of h in the error estimate; `None` for `order`, that of an embedded order one lower.
        filtered: whether the estimate needs W^-1 in front: where the embedded method is not stable at infinity. A
            stable one is better off without: in stiff components the filter hides what order reduction leaves.
        strictness: by how much errors are told larger than estimated, so that digits follow tolerances: where the
            solution grows, at h lambda of 1 to 2, true errors of the methods here are 5 to 15 times their estimates.
    """

    name: str
    order: int
    a: np.ndarray
    b_error: np.ndarray
    explicit: np.ndarray | None = None
    dense_order: int = 3
    error_order: int | None = None
    filtered: bool = False
    strictness: float = 1.0

    @property
    def stages(self) -> int:
        """s, the first of them explicit."""
        return len(self.a)

    @property
    def gamma(self) -> float:
        """The diagonal."""
        return float(self.a[-1, -1])

    @property
    def c(self) -> np.ndarray:
        """Times of the stages."""
        return self.a.sum(axis=1)

    @functools.cached_property
    def sees_start(self) -> bool:
        """Whether the error estimate holds what the start of a step violates algebraic equations by, whatever h."""
        return bool(abs(np.linalg.solve(self.a[1:, 1:].T, self.b_error[1:]).sum()) > 1e-8)

    @property
    def b(self) -> np.ndarray:
        """Weights of the solution: the last row, for the methods are stiffly accurate."""
        return self.a[-1]

    @functools.cached_property
    def predictor(self) -> np.ndarray:
        """`(s, s)`: weights of stages before i (y is stage 1) and, on the diagonal, of k_1 in the guess for stage i."""
        table = np.zeros((self.stages, self.stages))
        for i in range(1, self.stages):
            table[i, :i], table[i, i] = _extrapolation(self.c[:i], self.c[i])
        return table

    @functools.cached_property
    def guess(self) -> np.ndarray:
        """The predictor as weights of implicit slopes: stage i starts at `y + sum_j guess[i, j] k_j`."""
        weights = np.tril(self.predictor, -1) @ self.a
        weights[:, 0] += np.diag(self.predictor)
        return weights

    @functools.cached_property
    def explicit_guess(self) -> np.ndarray:
        """The same for explicit slopes."""
        assert self.explicit is not None
        weights = np.tril(self.predictor, -1) @ self.explicit
        weights[:, 0] += np.diag(self.predictor)
        return weights

    @functools.cached_property
    def dense(self) -> np.ndarray:
        """B, `(s, degree)`."""
        degree = self.dense_order + 1
        while True:
            found = _dense_weights(self, degree)
            if found is not None:
                return found
            degree += 1


def _extrapolation(nodes: np.ndarray, target: float) -> tuple[np.ndarray, float]:
    """Weights on values at `nodes` and on the slope at the first node that predict the value at `target`."""
    best = np.zeros(len(nodes)), 0.0
    best[0][0] = 1.0
    for degree in range(1, min(len(nodes), 3) + 1):
        powers = np.arange(degree + 1)
        left = np.vstack([nodes[:, None] ** powers, np.eye(degree + 1)[1]]).T
        weights, *_ = np.linalg.lstsq(left, target**powers, rcond=None)
        exact = np.allclose(left @ weights, target**powers)
        if not exact or np.abs(weights).sum() > LARGEST_WEIGHT:
            break
        best = weights[:-1], float(weights[-1])
    return best


def _dense_weights(tableau: EsdirkTableau, degree: int) -> np.ndarray | None:
    """The least weights of polynomial `degree` that meet all conditions; `None` if there are none."""
    s, c, a = tableau.stages, tableau.c, tableau.a
    # Trees up to order 5 that the stages' order 2 leaves apart: (weights phi, order, value of b . phi).
    trees = [(np.ones(s), 1, 1.0), (c, 2, 1 / 2), (c**2, 3, 1 / 3), (c**3, 4, 1 / 4), (a @ c**2, 4, 1 / 12)]
    rows, values = [], []
    for phi, order, value in trees:
        if order <= tableau.dense_order:
            for power in range(1, degree + 1):
                row = np.zeros((s, degree))
                row[:, power - 1] = phi
                rows.append(row)
                values.append(value if power == order else 0.0)
    powers = np.arange(1, degree + 1)
    for i in range(s):
        for row_weights, value in (
            (np.ones(degree), tableau.b[i]),
            (powers.astype(float), float(i == s - 1)),
            (np.eye(degree)[0], float(i == 0)),
        ):
            row = np.zeros((s, degree))
            row[i] = row_weights
            rows.append(row)
            values.append(value)
    left = np.array([row.ravel() for row in rows])
    right = np.array(values)
    found, *_ = np.linalg.lstsq(left, right, rcond=1e-11)
    return found.reshape(s, degree) if np.abs(left @ found - right).max() < 1e-8 else None
