"""Synthetic pose graphs: a walk over the streets of a city, and turns around a sphere.

The truth is known, measurements are displacements with Gaussian noise, and the start integrates the odometry (every
edge from a pose to the next), as a robot would: it drifts away with the length of the walk.

Reference: E. Olson, J. Leonard, S. Teller, "Fast iterative alignment of pose graphs with poor initial estimates", ICRA
2006, doi:10.1109/ROBOT.2006.1642040 (the Manhattan world).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from sparsesolve.gallery._fit_problem import FitProblem
from sparsesolve.gallery._pose_graph import Edges, pose_graph_2d, pose_graph_3d
from sparsesolve.gallery._rotations import (
    conjugate,
    quaternion_of_vector,
    quaternion_product,
    rotate_by_quaternion,
)


def manhattan_walk(num_poses: int, noise: float = 0.02, closures: float = 0.5, seed: int = 0) -> FitProblem:
    """A planar pose graph: unit steps along the streets of a grid, closures where the walk meets itself.

    Args:
        num_poses: `3 (num_poses - 1)` unknowns; at least 3.
        noise: standard deviation of each measured coordinate and angle; also scales the weights.
        closures: fraction of the poses from which an edge leads to an earlier pose near by, where there is one.
        seed: of the walk and the noise.

    Returns:
        A `FitProblem`; its `cost` is the expected chi^2, the degrees of freedom, right within a few times
        `sqrt(2 dof)`, or 0 without noise (then the weights are those of `noise=1`). `error` is the largest distance
        of a position from the truth.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.manhattan_walk(100).num_unknowns
        297
    """
    _require_poses("manhattan_walk", num_poses)
    rng = np.random.default_rng(seed)
    turns = rng.choice([-1, 0, 0, 0, 1], num_poses)
    heading = np.cumsum(turns) % 4
    heading[0] = 0
    step = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])[heading]
    position = np.concatenate([np.zeros((1, 2)), np.cumsum(step, axis=0)[:-1]])
    angle = heading * (np.pi / 2)
    truth = np.concatenate([position, (angle - 2 * np.pi * np.round(angle / (2 * np.pi)))[:, None]], axis=1)
    first, second = _closed(position, closures, rng, 1.0)
    measured = _between_2d(truth[first], truth[second]) + noise * rng.standard_normal((len(first), 3))
    start = [truth[0]]
    for t in measured[: num_poses - 1]:
        x, y, a = start[-1]
        c, s = np.cos(a), np.sin(a)
        start.append(np.array([x + c * t[0] - s * t[1], y + s * t[0] + c * t[1], a + t[2]]))
    information = np.broadcast_to(np.eye(3) / (noise or 1.0) ** 2, (len(first), 3, 3))
    return pose_graph_2d(
        np.array(start),
        Edges(first, second, measured, information),
        name=f"walk of {num_poses} poses",
        source="made from a known walk; largest distance of a position from it",
        cost=float(3 * (len(first) - num_poses + 1)) if noise else 0.0,
        solution=jnp.asarray(truth[1:]),
        error=lambda y: _largest_distance(y[:, :2], truth[1:, :2]),
    )


def sphere_walk(num_rings: int, per_ring: int, noise: float = 0.02, seed: int = 0) -> FitProblem:
    """A pose graph in space: turns around a sphere from pole to pole, each pose linked to the one of the next turn.

    Args:
        num_rings: turns; at least 2.
        per_ring: poses of each turn; at least 3.
        noise: standard deviation of each measured coordinate and angle; also scales the weights.
        seed: of the noise.

    Returns:
        A `FitProblem` with `retract`; `cost` and `error` as for `manhattan_walk`.

    Example:
        >>> from sparsesolve import gallery
        >>> sorted(gallery.sphere_walk(4, 10).y0)
        ['position', 'rotation']
    """
    n = num_rings * per_ring
    _require_poses("sphere_walk", n if min(num_rings - 1, per_ring - 2) > 0 else 0)
    rng = np.random.default_rng(seed)
    s = (np.arange(n) + 0.5) / n
    along, around = np.pi * s, 2 * np.pi * np.arange(n) / per_ring
    outward = [np.sin(along) * np.cos(around), np.sin(along) * np.sin(around), np.cos(along)]
    position = per_ring / (2 * np.pi) * np.stack(outward, axis=1)
    about_z, about_y = np.zeros((n, 3)), np.zeros((n, 3))
    about_z[:, 2], about_y[:, 1] = around, along
    rotation = np.asarray(_quaternions(about_z, about_y))
    first = np.concatenate([np.arange(n - 1), np.arange(n - per_ring)]).astype(np.int32)
    second = np.concatenate([np.arange(1, n), np.arange(per_ring, n)]).astype(np.int32)
    back = conjugate(rotation[first])
    turn = quaternion_product(back, jnp.asarray(rotation[second]))
    turn = quaternion_product(turn, quaternion_of_vector(noise * rng.standard_normal((len(first), 3))))
    shift = rotate_by_quaternion(back, position[second] - position[first])
    measured = np.concatenate([np.asarray(shift) + noise * rng.standard_normal((len(first), 3)), turn], axis=1)
    information = np.broadcast_to(np.eye(6) / (noise or 1.0) ** 2, (len(first), 6, 6))
    return pose_graph_3d(
        _integrated(np.concatenate([position, rotation], axis=1), measured[: n - 1]),
        Edges(first, second, measured, information),
        name=f"sphere of {n} poses",
        source="made from a known walk; largest distance of a position from it",
        cost=float(6 * (len(first) - n + 1)) if noise else 0.0,
        solution={"position": jnp.asarray(position[1:]), "rotation": jnp.asarray(rotation[1:])},
        error=lambda y: _largest_distance(y["position"], position[1:]),
    )


def _closed(position: np.ndarray, closures: float, rng: Any, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Odometry edges, then closures from some poses to the earliest pose within reach that is not its neighbour."""
    n = len(position)
    first, second = list(range(n - 1)), list(range(1, n))
    for j in np.flatnonzero(rng.random(n) < closures):
        near = np.flatnonzero(np.max(np.abs(position[: max(j - 3, 0)] - position[j]), axis=1, initial=0) <= reach)
        if len(near):
            first.append(int(rng.choice(near)))
            second.append(int(j))
    return np.array(first, np.int32), np.array(second, np.int32)


def _between_2d(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    c, s, d = np.cos(a[:, 2]), np.sin(a[:, 2]), b - a
    return np.stack([c * d[:, 0] + s * d[:, 1], c * d[:, 1] - s * d[:, 0], d[:, 2]], axis=1)


def _quaternions(then: np.ndarray, before: np.ndarray) -> Any:
    return quaternion_product(quaternion_of_vector(jnp.asarray(then)), quaternion_of_vector(jnp.asarray(before)))


def _integrated(poses: np.ndarray, odometry: np.ndarray) -> np.ndarray:
    """Poses that follow from the first one and the measured displacements between successive ones."""

    def product(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        vector = p[3] * q[:3] + q[3] * p[:3] + np.cross(p[:3], q[:3])
        return np.append(vector, p[3] * q[3] - p[:3] @ q[:3])

    def turned(q: np.ndarray, v: np.ndarray) -> np.ndarray:
        twice = 2 * np.cross(q[:3], v)
        return v + q[3] * twice + np.cross(q[:3], twice)

    out = [poses[0]]
    for edge in odometry:
        p, q = out[-1][:3], out[-1][3:]
        out.append(np.concatenate([p + turned(q, edge[:3]), product(q, edge[3:])]))
    return np.array(out)


def _largest_distance(a: Any, b: Any) -> float:
    return float(np.max(np.linalg.norm(np.asarray(a) - np.asarray(b), axis=-1)))


def _require_poses(name: str, num_poses: int) -> None:
    if num_poses < 3:
        raise ValueError(f"{name} needs three poses or more, and two turns of three poses or more around a sphere.")
