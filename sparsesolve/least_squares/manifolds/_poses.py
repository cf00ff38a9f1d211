"""Rigid motions of the plane and of space: a translation, then an angle or a unit quaternion, along the last axis.

    SE(2): (x, y, angle)      SE(3): (x, y, z, qx, qy, qz, qw)

Tangents are translation, then rotation, in the frame of the pose. `exp` is the screw motion: with the rotation vector
`w`, `t = |w|`, the translation is `V v`,

    V = I + (1 - cos t) / t^2 [w] + (t - sin t) / t^3 [w]^2,
    V^-1 = I - [w] / 2 + (1 - (t / 2) cot(t / 2)) / t^2 [w]^2.

Reference: J. Sola, J. Deray, D. Atchuthan, A micro Lie theory for state estimation in robotics (2018),
arXiv:1812.01537, appendices C, D.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from sparsesolve.least_squares.manifolds._manifolds import AbstractGroup
from sparsesolve.least_squares.manifolds._rotations import _SMALL, SO3, cross, half_angle, length, squared

_ROTATION = SO3()


@dataclasses.dataclass(frozen=True)
class SE2(AbstractGroup):
    """Rigid motions of the plane, `(x, y, angle)` along the last axis.

    References:
        J. Sola, J. Deray, D. Atchuthan (2018), arXiv:1812.01537, appendix C.

    Example:
        >>> import jax.numpy as jnp
        >>> import sparsesolve as ss
        >>> pose = jnp.array([1.0, 2.0, jnp.pi / 2])
        >>> [round(float(v), 6) for v in ss.SE2().act(pose, jnp.array([3.0, 0.0]))]
        [1.0, 5.0]
    """

    size = 3
    dimension = 3

    def exp(self, d: Inexact[Array, "... 3"]) -> Inexact[Array, "... 3"]:
        shift, angle = d[..., :2], d[..., 2:]
        sine, cosine = half_angle(angle * angle)
        # V = sin(t) / t + (1 - cos(t)) / t J with the quarter turn J, by half angles
        along = shift * (2 * sine * cosine) + _quarter_turn(shift) * (2 * sine * sine * angle)
        return jnp.concatenate([along, angle], axis=-1)

    def log(self, a: Inexact[Array, "... 3"]) -> Inexact[Array, "... 3"]:
        angle = a[..., 2:] - 2 * jnp.pi * jnp.round(a[..., 2:] / (2 * jnp.pi))
        sine, cosine = half_angle(angle * angle)
        along = a[..., :2] * (cosine / (2 * sine)) - _quarter_turn(a[..., :2]) * (angle / 2)
        return jnp.concatenate([along, angle], axis=-1)

    def compose(self, a: Inexact[Array, "... 3"], b: Inexact[Array, "... 3"]) -> Inexact[Array, "... 3"]:
        return jnp.concatenate([self.act(a, b[..., :2]), a[..., 2:] + b[..., 2:]], axis=-1)

    def inverse(self, a: Inexact[Array, "... 3"]) -> Inexact[Array, "... 3"]:
        return jnp.concatenate([-_turned(-a[..., 2:], a[..., :2]), -a[..., 2:]], axis=-1)

    def act(self, a: Inexact[Array, "... 3"], x: Inexact[Array, "... 2"]) -> Inexact[Array, "... 2"]:
        return a[..., :2] + _turned(a[..., 2:], x)

    def normalise(self, a: Inexact[Array, "... 3"]) -> Inexact[Array, "... 3"]:
        return a


@dataclasses.dataclass(frozen=True)
class SE3(AbstractGroup):
    """Rigid motions of space: translation and unit quaternion `(x, y, z, qx, qy, qz, qw)` along the last axis.

    References:
        J. Sola, J. Deray, D. Atchuthan (2018), arXiv:1812.01537, appendix D.

    Example:
        >>> import jax.numpy as jnp
        >>> import sparsesolve as ss
        >>> group = ss.SE3()
        >>> a = group.exp(jnp.array([1.0, 0.0, 2.0, 0.1, 0.2, -0.3]))
        >>> [round(float(v), 6) for v in group.log(a)]
        [1.0, 0.0, 2.0, 0.1, 0.2, -0.3]
    """

    size = 7
    dimension = 6

    def exp(self, d: Inexact[Array, "... 6"]) -> Inexact[Array, "... 7"]:
        v, w = d[..., :3], d[..., 3:]
        square = squared(w)
        sine, _ = half_angle(square)
        across = cross(w, v)
        shift = v + 2 * sine * sine * across + _lag(square) * cross(w, across)
        return jnp.concatenate([shift, _ROTATION.exp(w)], axis=-1)

    def log(self, a: Inexact[Array, "... 7"]) -> Inexact[Array, "... 6"]:
        shift, w = a[..., :3], _ROTATION.log(a[..., 3:])
        across = cross(w, shift)
        v = shift - 0.5 * across + _unlag(squared(w)) * cross(w, across)
        return jnp.concatenate([v, w], axis=-1)

    def compose(self, a: Inexact[Array, "... 7"], b: Inexact[Array, "... 7"]) -> Inexact[Array, "... 7"]:
        return jnp.concatenate([self.act(a, b[..., :3]), _ROTATION.compose(a[..., 3:], b[..., 3:])], axis=-1)

    def inverse(self, a: Inexact[Array, "... 7"]) -> Inexact[Array, "... 7"]:
        back = _ROTATION.inverse(a[..., 3:])
        return jnp.concatenate([-_ROTATION.act(back, a[..., :3]), back], axis=-1)

    def act(self, a: Inexact[Array, "... 7"], x: Inexact[Array, "... 3"]) -> Inexact[Array, "... 3"]:
        return a[..., :3] + _ROTATION.act(a[..., 3:], x)

    def normalise(self, a: Inexact[Array, "... 7"]) -> Inexact[Array, "... 7"]:
        return jnp.concatenate([a[..., :3], a[..., 3:] / length(a[..., 3:])], axis=-1)


def _quarter_turn(x: Any) -> Any:
    return jnp.stack([-x[..., 1], x[..., 0]], axis=-1)


def _turned(angle: Any, x: Any) -> Any:
    return jnp.cos(angle) * x + jnp.sin(angle) * _quarter_turn(x)


def _lag(square: Any) -> Any:
    """`(t - sin(t)) / t^3` of `t^2`."""
    small = square < _SMALL
    angle = jnp.sqrt(jnp.where(small, 1.0, square))
    series = 1 / 6 - square * (1 / 120 - square * (1 / 5040 - square * (1 / 362880)))
    return jnp.where(small, series, (angle - jnp.sin(angle)) / angle**3)


def _unlag(square: Any) -> Any:
    """`(1 - (t / 2) cot(t / 2)) / t^2` of `t^2`, for `t` up to pi."""
    small = square < _SMALL
    safe = jnp.where(small, 1.0, square)
    half = jnp.sqrt(safe) / 2
    series = 1 / 12 + square * (1 / 720 + square * (1 / 30240 + square * (1 / 1209600)))
    return jnp.where(small, series, (1 - half * jnp.cos(half) / jnp.sin(half)) / safe)
