"""Rotations in three dimensions as the test problems need them: rotation vectors, and unit quaternions `(x, y, z, w)`.

Written from Rodrigues' formula with `sin(t) / t` and `(1 - cos(t)) / t^2` as functions of `t^2`, by their series near
zero, so that derivatives exist there. All functions work on the last axis.

Reference: J. Sola, J. Deray, D. Atchuthan, "A micro Lie theory for state estimation in robotics" (2018),
arXiv:1812.01537.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


def rotate_by_vector(vector: Any, points: Any) -> Any:
    """`points` turned about `vector` by its length in radians."""
    square = jnp.sum(vector * vector, axis=-1, keepdims=True)
    small = square < 1e-3
    safe = jnp.where(small, 1.0, square)
    angle = jnp.sqrt(safe)
    sine = jnp.where(small, 1 - square / 6 * (1 - square / 20 * (1 - square / 42)), jnp.sin(angle) / angle)
    series = 0.5 - square / 24 * (1 - square / 30 * (1 - square / 56))
    versine = jnp.where(small, series, 2 * jnp.sin(angle / 2) ** 2 / safe)
    across = jnp.cross(vector, points)
    return points + sine * across + versine * jnp.cross(vector, across)


def quaternion_of_vector(vector: Any) -> Any:
    """The unit quaternion of a rotation vector: `(sin(t/2) v / t, cos(t/2))`."""
    square = jnp.sum(vector * vector, axis=-1, keepdims=True)
    small = square < 1e-3
    angle = jnp.sqrt(jnp.where(small, 1.0, square))
    sine = jnp.where(small, 0.5 - square / 48 * (1 - square / 80 * (1 - square / 168)), jnp.sin(angle / 2) / angle)
    cosine = jnp.where(small, 1 - square / 8 * (1 - square / 48 * (1 - square / 120)), jnp.cos(angle / 2))
    return jnp.concatenate([sine * vector, cosine], axis=-1)


def quaternion_product(p: Any, q: Any) -> Any:
    """The quaternion of the rotation `q` followed by the rotation `p`."""
    u, v, a, b = p[..., :3], q[..., :3], p[..., 3:], q[..., 3:]
    real = a * b - jnp.sum(u * v, axis=-1, keepdims=True)
    return jnp.concatenate([a * v + b * u + jnp.cross(u, v), real], axis=-1)


def conjugate(q: Any) -> Any:
    """The inverse of a unit quaternion."""
    return jnp.concatenate([-q[..., :3], q[..., 3:]], axis=-1)


def rotate_by_quaternion(q: Any, points: Any) -> Any:
    """`points` turned by a unit quaternion."""
    twice = 2.0 * jnp.cross(q[..., :3], points)
    return points + q[..., 3:] * twice + jnp.cross(q[..., :3], twice)


def pose_logarithm(shift: Any, q: Any) -> tuple[Any, Any]:
    """`(v, w)`: the screw motion that moves by `shift` and turns by the unit quaternion `q`, `|w| <= pi`.

    `v = shift - w x shift / 2 + c w x (w x shift)` with `c = (1 - (t / 2) cot(t / 2)) / t^2`, `t = |w|`.
    """
    q = jnp.where(q[..., 3:] < 0, -q, q)
    square = jnp.sum(q[..., :3] ** 2, axis=-1, keepdims=True)  # sin(t / 2)^2
    small = square < 1e-4
    sine = jnp.sqrt(jnp.where(small, 1.0, square))
    half = jnp.arctan2(sine, q[..., 3:])
    ratio = jnp.where(small, 1 + square / 6 * (1 + square * (9 / 20) * (1 + square * (25 / 42))), half / sine)
    w = 2.0 * ratio * q[..., :3]
    turn = jnp.sum(w * w, axis=-1, keepdims=True)
    exact = (1 - half * q[..., 3:] / sine) / jnp.where(small, 1.0, turn)
    c = jnp.where(small, 1 / 12 + turn / 720 + turn * turn / 30240, exact)
    across = jnp.cross(w, shift)
    return shift - 0.5 * across + c * jnp.cross(w, across), w
