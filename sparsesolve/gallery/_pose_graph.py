"""Pose graphs: where a robot was, from measured displacements between pairs of its poses, in the plane and in space.

For an edge from pose i to pose j with measured displacement `(t, R)` and information matrix `L L^T`,

    planar:     residual = L^T [ R_i^T (p_j - p_i) - t,  angle_j - angle_i - angle ],   the angle wrapped,
    in space:   residual = L^T log( (t, R)^-1 (p_i, R_i)^-1 (p_j, R_j) ),               the logarithm of SE(3),

GTSAM's conventions; the sum of squares is the chi^2 of the literature. The first pose is held (the gauge) and is no
unknown.

References: R. Kuemmerle, G. Grisetti, H. Strasdat, K. Konolige, W. Burgard, "g2o: a general framework for graph
optimization", ICRA 2011, doi:10.1109/ICRA.2011.5979949 (file format); L. Carlone, R. Tron, K. Daniilidis, F. Dellaert,
"Initialization techniques for 3D SLAM", ICRA 2015, doi:10.1109/ICRA.2015.7139836 (the sphere and grid sets).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from sparsesolve.gallery._fit_problem import FitProblem
from sparsesolve.gallery._rotations import (
    conjugate,
    pose_logarithm,
    quaternion_of_vector,
    quaternion_product,
    rotate_by_quaternion,
)


@dataclasses.dataclass(frozen=True)
class Edges:
    """Measured displacements, host arrays.

    Attributes:
        first: pose each edge starts from, `(m,)` integers.
        second: pose it leads to.
        displacement: `(m, 3)` with x, y, angle; or `(m, 7)` with x, y, z and a unit quaternion `(x, y, z, w)`.
        information: inverse covariance, `(m, 3, 3)` or `(m, 6, 6)`, of translation, then angle.
    """

    first: np.ndarray
    second: np.ndarray
    displacement: np.ndarray
    information: np.ndarray


@dataclasses.dataclass(frozen=True)
class PoseRetraction:
    """Moves positions by adding, orientations by a rotation vector in their own frame, normalised against drift."""

    def __call__(self, y: dict[str, Any], delta: dict[str, Any]) -> dict[str, Any]:
        turned = quaternion_product(y["rotation"], quaternion_of_vector(delta["rotation"]))
        length = jnp.sqrt(jnp.sum(turned * turned, axis=-1, keepdims=True))
        return {"position": y["position"] + delta["position"], "rotation": turned / length}

    def tangent(self, y: dict[str, Any]) -> dict[str, Any]:
        """A step of zeros: three numbers for each rotation."""
        return {"position": jnp.zeros_like(y["position"]), "rotation": jnp.zeros_like(y["rotation"][..., :3])}


def pose_graph_2d(poses: np.ndarray, edges: Edges, **known: Any) -> FitProblem:
    """A planar pose graph.

    Args:
        poses: start, `(n, 3)`: x, y, angle. The first is held.
        edges: the measurements.
        **known: fields of `FitProblem`: `name`, `source`, `cost`, `solution`, `error`.
    """
    first, second = edges.first, edges.second

    def residual(y: Any, args: dict[str, Any]) -> Any:
        poses = jnp.concatenate([args["anchor"][None], y])
        a, b = poses[first], poses[second]
        along, turn = _displacement_2d(a, b)
        turn = turn - args["displacement"][:, 2]
        wrapped = turn - 2 * jnp.pi * jnp.round(turn / (2 * jnp.pi))
        error = jnp.concatenate([along - args["displacement"][:, :2], wrapped[:, None]], axis=1)
        return jnp.einsum("mij,mj->mi", args["whitening"], error)

    return _problem(residual, jnp.asarray(poses[1:]), jnp.asarray(poses[0]), edges, None, **known)


def pose_graph_3d(poses: np.ndarray, edges: Edges, **known: Any) -> FitProblem:
    """A pose graph in space; the unknowns are a dict of `position` `(n - 1, 3)` and `rotation` `(n - 1, 4)`.

    Args:
        poses: start, `(n, 7)`: x, y, z, and a unit quaternion `(x, y, z, w)`. The first is held.
        edges: the measurements; their information is that of translation, then rotation vector.
        **known: fields of `FitProblem`: `name`, `source`, `cost`, `solution`, `error`.
    """
    first, second = edges.first, edges.second

    def residual(y: Any, args: dict[str, Any]) -> Any:
        position = jnp.concatenate([args["anchor"][None, :3], y["position"]])
        rotation = jnp.concatenate([args["anchor"][None, 3:], y["rotation"]])
        back = conjugate(rotation[first])
        along = rotate_by_quaternion(back, position[second] - position[first])
        turn = quaternion_product(back, rotation[second])
        inverse = conjugate(args["displacement"][:, 3:])
        turn = quaternion_product(inverse, turn)
        excess = rotate_by_quaternion(inverse, along - args["displacement"][:, :3])
        error = jnp.concatenate(pose_logarithm(excess, turn), axis=1)
        return jnp.einsum("mij,mj->mi", args["whitening"], error)

    y0 = {"position": jnp.asarray(poses[1:, :3]), "rotation": jnp.asarray(poses[1:, 3:])}
    return _problem(residual, y0, jnp.asarray(poses[0]), edges, PoseRetraction(), **known)


def _displacement_2d(a: Any, b: Any) -> tuple[Any, Any]:
    """`(R_a^T (p_b - p_a), angle_b - angle_a)`."""
    d, c, s = b[:, :2] - a[:, :2], jnp.cos(a[:, 2]), jnp.sin(a[:, 2])
    return jnp.stack([c * d[:, 0] + s * d[:, 1], c * d[:, 1] - s * d[:, 0]], axis=1), b[:, 2] - a[:, 2]


def _problem(residual: Any, y0: Any, anchor: Any, edges: Edges, retract: Any, **known: Any) -> FitProblem:
    args = {
        "anchor": anchor,
        "displacement": jnp.asarray(edges.displacement),
        "whitening": jnp.asarray(np.linalg.cholesky(edges.information).transpose(0, 2, 1)),
    }
    problem = FitProblem(
        residual=residual,
        y0=y0,
        args=args,
        description=f"{len(edges.first)} measured displacements",
        retract=retract,
        **{"error": lambda y: excess(y), **known},
    )

    def excess(y: Any) -> float:
        cost = problem.sum_of_squares(y)
        return cost if not problem.cost else (cost - problem.cost) / problem.cost

    return problem
