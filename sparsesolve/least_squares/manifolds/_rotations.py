"""Rotations of the plane and of space: unit complex numbers `(cos, sin)` and unit quaternions `(x, y, z, w)`.

Coefficients such as `sin(t) / t` are functions of `t^2`, by their series near zero, so that values and derivatives of
any order are right there. The logarithm of a quaternion uses the arc tangent, which is accurate up to half a turn.

Reference: J. Sola, J. Deray, D. Atchuthan, A micro Lie theory for state estimation in robotics (2018),
arXiv:1812.01537, appendices A, B; J. Stuelpnagel, SIAM Rev. 6 (1964) 422-430, doi:10.1137/1006093 (no three numbers
describe all rotations without a singularity).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from sparsesolve.least_squares.manifolds._manifolds import AbstractGroup

_SMALL = 1e-3  # of t^2: four terms of each series are exact below it


@dataclasses.dataclass(frozen=True)
class SO2(AbstractGroup):
    """Rotations of the plane, `(cos, sin)` along the last axis. A plain angle is an ordinary parameter.

    References:
        J. Sola, J. Deray, D. Atchuthan (2018), arXiv:1812.01537, appendix A.

    Example:
        >>> import jax.numpy as jnp
        >>> import sparsesolve as ss
        >>> quarter = ss.SO2().exp(jnp.array([jnp.pi / 2]))
        >>> jnp.round(ss.SO2().act(quarter, jnp.array([1.0, 0.0]))).tolist()
        [0.0, 1.0]
    """

    size = 2
    dimension = 1

    def exp(self, d: Inexact[Array, "... 1"]) -> Inexact[Array, "... 2"]:
        return jnp.concatenate([jnp.cos(d), jnp.sin(d)], axis=-1)

    def log(self, a: Inexact[Array, "... 2"]) -> Inexact[Array, "... 1"]:
        return jnp.arctan2(a[..., 1:], a[..., :1])

    def compose(self, a: Inexact[Array, "... 2"], b: Inexact[Array, "... 2"]) -> Inexact[Array, "... 2"]:
        return self.act(a, b)

    def inverse(self, a: Inexact[Array, "... 2"]) -> Inexact[Array, "... 2"]:
        return jnp.concatenate([a[..., :1], -a[..., 1:]], axis=-1)

    def act(self, a: Inexact[Array, "... 2"], x: Inexact[Array, "... 2"]) -> Inexact[Array, "... 2"]:
        c, s, u, v = a[..., 0], a[..., 1], x[..., 0], x[..., 1]
        return jnp.stack([c * u - s * v, s * u + c * v], axis=-1)

    def normalise(self, a: Inexact[Array, "... 2"]) -> Inexact[Array, "... 2"]:
        return a / length(a)


@dataclasses.dataclass(frozen=True)
class SO3(AbstractGroup):
    """Rotations of space, unit quaternions `(x, y, z, w)` along the last axis (SciPy's order); tangents in radians.

    References:
        J. Sola, J. Deray, D. Atchuthan (2018), arXiv:1812.01537, appendix B.

    Example:
        >>> import jax.numpy as jnp
        >>> import sparsesolve as ss
        >>> group = ss.SO3()
        >>> a = group.exp(jnp.array([0.1, 0.2, -0.3]))
        >>> [round(float(v), 6) for v in group.log(group.compose(a, a))]
        [0.2, 0.4, -0.6]
    """

    size = 4
    dimension = 3

    def exp(self, d: Inexact[Array, "... 3"]) -> Inexact[Array, "... 4"]:
        sine, cosine = half_angle(squared(d))
        return jnp.concatenate([sine * d, cosine], axis=-1)

    def log(self, a: Inexact[Array, "... 4"]) -> Inexact[Array, "... 3"]:
        a = jnp.where(a[..., 3:] < 0, -a, a)  # the same rotation, by at most half a turn
        square = squared(a[..., :3])
        small = square < _SMALL
        sine = jnp.sqrt(jnp.where(small, 1.0, square))
        # arcsin(x) / x
        series = 1 + square * (1 / 6 + square * (3 / 40 + square * (15 / 336 + square * (105 / 3456))))
        ratio = jnp.where(small, series, jnp.arctan2(sine, a[..., 3:]) / sine)
        return 2.0 * ratio * a[..., :3]

    def compose(self, a: Inexact[Array, "... 4"], b: Inexact[Array, "... 4"]) -> Inexact[Array, "... 4"]:
        u, v, p, q = a[..., :3], b[..., :3], a[..., 3:], b[..., 3:]
        real = p * q - jnp.sum(u * v, axis=-1, keepdims=True)
        return jnp.concatenate([p * v + q * u + cross(u, v), real], axis=-1)

    def inverse(self, a: Inexact[Array, "... 4"]) -> Inexact[Array, "... 4"]:
        return jnp.concatenate([-a[..., :3], a[..., 3:]], axis=-1)

    def act(self, a: Inexact[Array, "... 4"], x: Inexact[Array, "... 3"]) -> Inexact[Array, "... 3"]:
        twice = 2.0 * cross(a[..., :3], x)
        return x + a[..., 3:] * twice + cross(a[..., :3], twice)

    def normalise(self, a: Inexact[Array, "... 4"]) -> Inexact[Array, "... 4"]:
        return a / length(a)

    def matrix(self, a: Inexact[Array, "... 4"]) -> Inexact[Array, "... 3 3"]:
        """The rotation matrix of a unit quaternion."""
        axes = jnp.eye(3, dtype=a.dtype)
        columns = [self.act(a, jnp.broadcast_to(axis, (*a.shape[:-1], 3))) for axis in axes]
        return jnp.stack(columns, axis=-1)


def squared(d: Any) -> Any:
    """Squared norm along the last axis, which is kept."""
    return jnp.sum(d * d, axis=-1, keepdims=True)


def length(a: Any) -> Any:
    """Norm along the last axis, which is kept."""
    return jnp.sqrt(squared(a))


def cross(u: Any, v: Any) -> Any:
    """The vector product along the last axis, for shapes that broadcast."""
    a, b, c = u[..., 0], u[..., 1], u[..., 2]
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    return jnp.stack([b * z - c * y, c * x - a * z, a * y - b * x], axis=-1)


def half_angle(square: Any) -> tuple[Any, Any]:
    """`(sin(t / 2) / t, cos(t / 2))` of `t^2`."""
    small = square < _SMALL
    angle = jnp.sqrt(jnp.where(small, 1.0, square))
    q = square / 4
    sine = jnp.where(small, 0.5 * (1 - q / 6 * (1 - q / 20 * (1 - q / 42))), jnp.sin(angle / 2) / angle)
    cosine = jnp.where(small, 1 - q / 2 * (1 - q / 12 * (1 - q / 30 * (1 - q / 56))), jnp.cos(angle / 2))
    return sine, cosine
