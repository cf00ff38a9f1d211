"""Bundle adjustment: cameras and points in space from where the points appear in photographs.

    p = R(w) X + t,     q = -p_xy / p_z,     residual = f (1 + k1 |q|^2 + k2 |q|^4) q - observed,

nine parameters a camera (rotation vector `w`, translation `t`, focal length `f`, distortion `k1`, `k2`), three a point,
two residuals an observation: the model of the BAL collection. Each residual reads one camera and one point, so that
the points' block of J^T J is block diagonal. The minimum is known up to a similarity (seven directions of gauge).

References: S. Agarwal, N. Snavely, S. M. Seitz, R. Szeliski, "Bundle adjustment in the large", ECCV 2010,
doi:10.1007/978-3-642-15552-9_3; data at https://grail.cs.washington.edu/projects/bal/.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from sparsesolve.gallery._fit_problem import FitProblem, root_mean_square
from sparsesolve.gallery._rotations import rotate_by_vector

_GAUGE = 7  # rotation, translation and scale of the whole scene


def project(cameras: Any, points: Any) -> Any:
    """Image coordinates `(..., 2)` of `points` `(..., 3)` seen by `cameras` `(..., 9)`."""
    p = rotate_by_vector(cameras[..., :3], points) + cameras[..., 3:6]
    q = -p[..., :2] / p[..., 2:]
    square = jnp.sum(q * q, axis=-1, keepdims=True)
    focal, k1, k2 = cameras[..., 6:7], cameras[..., 7:8], cameras[..., 8:9]
    return focal * (1.0 + square * (k1 + square * k2)) * q


def read_bal(path: Any) -> FitProblem:
    """A bundle adjustment problem from an (uncompressed) file of the BAL collection.

    Args:
        path: of the file: numbers of cameras, points and observations; a line `camera point x y` each; parameters.

    Returns:
        A `FitProblem` with `y0` a dict of `cameras` `(c, 9)` and `points` `(p, 3)`, residuals in pixels `(o, 2)`, and
        the root mean square of the residuals as `error`. No minimum is stored.

    Raises:
        ValueError: the file does not hold as many numbers as its first line says.
    """
    with open(path, encoding="ascii") as file:
        numbers = np.array(file.read().split(), dtype=float)
    num_cameras, num_points, num_observations = (int(k) for k in numbers[:3])
    expected = 3 + 4 * num_observations + 9 * num_cameras + 3 * num_points
    if numbers.size != expected:
        raise ValueError(
            f"read_bal found {numbers.size} numbers in {path}, but its first line ({num_cameras} cameras, {num_points} "
            f"points, {num_observations} observations) needs {expected}; is the file complete and of the BAL format?"
        )
    table, parameters = np.split(numbers[3:], [4 * num_observations])
    table = table.reshape(-1, 4)
    cameras, points = np.split(parameters, [9 * num_cameras])
    return _problem(
        name=f"BAL {num_cameras}-{num_points}",
        camera=table[:, 0].astype(np.int32),
        point=table[:, 1].astype(np.int32),
        observed=table[:, 2:],
        y0={"cameras": jnp.asarray(cameras.reshape(-1, 9)), "points": jnp.asarray(points.reshape(-1, 3))},
        source="Bundle Adjustment in the Large, University of Washington; root mean square of the residuals in pixels",
    )


def bundle_adjustment(
    num_cameras: int, num_points: int, views: int = 4, noise: float = 0.0, perturbation: float = 1e-3, seed: int = 0
) -> FitProblem:
    """Synthetic bundle adjustment: cameras along a wavy path past a cloud of points, each seen from a few neighbours.

    Args:
        num_cameras: `9 num_cameras` unknowns; at least `views`.
        num_points: `3 num_points` unknowns.
        views: observations of each point, by successive cameras; at least 2.
        noise: standard deviation of the image coordinates, in pixels. Without it the least cost is 0.
        perturbation: relative standard deviation of the start from the truth.
        seed: of points, noise and start.

    Returns:
        A `FitProblem` as that of `read_bal`; with noise its `cost` is an estimate, `noise^2` times degrees of freedom,
        right within a few times `noise^2 sqrt(2 dof)`.

    Raises:
        ValueError: fewer than two views, or fewer cameras than views.

    Example:
        >>> from sparsesolve import gallery
        >>> problem = gallery.bundle_adjustment(6, 50)
        >>> problem.sum_of_squares(problem.solution)
        0.0
    """
    if views < 2 or num_cameras < views:
        raise ValueError(
            f"bundle_adjustment got views={views} and num_cameras={num_cameras}; a point needs two views or more, of "
            "different cameras."
        )
    rng = np.random.default_rng(seed)
    path = np.arange(num_cameras) * 1.0
    cameras = np.zeros((num_cameras, 9))
    cameras[:, :3] = 0.1 * np.stack([np.sin(0.7 * path), np.cos(0.9 * path), np.sin(0.5 * path)], axis=1)
    first = rng.integers(0, num_cameras - views + 1, num_points)
    offset = rng.uniform([-3.0, -3.0, -14.0], [3.0, 3.0, -8.0], (num_points, 3))  # a camera looks along -z
    points = offset + (first + (views - 1) / 2)[:, None] * np.array([1.0, 0.0, 0.0])
    centres = np.stack([path, np.sin(0.3 * path), 0.3 * np.cos(0.4 * path)], axis=1)
    cameras[:, 3:6] = -np.asarray(rotate_by_vector(jnp.asarray(cameras[:, :3]), jnp.asarray(centres)))
    cameras[:, 6:] = [800.0, -0.02, 0.003]
    camera = (first[:, None] + np.arange(views)).ravel().astype(np.int32)
    point = np.repeat(np.arange(num_points, dtype=np.int32), views)
    truth = {"cameras": jnp.asarray(cameras), "points": jnp.asarray(points)}
    seen = np.asarray(project(truth["cameras"][camera], truth["points"][point]))
    scale = {"cameras": np.array([1.0] * 6 + [100.0, 0.1, 0.1]), "points": 10.0}
    start = {key: truth[key] + perturbation * scale[key] * rng.standard_normal(truth[key].shape) for key in truth}
    freedom = 2 * len(camera) - 9 * num_cameras - 3 * num_points + _GAUGE
    return _problem(
        name=f"bundle adjustment {num_cameras}-{num_points}",
        camera=camera,
        point=point,
        observed=seen + noise * rng.standard_normal(seen.shape),
        y0=start,
        source="made from known cameras and points; root mean square of the residuals in pixels",
        cost=noise**2 * freedom,
        solution=truth,
    )


def _problem(name: str, camera: np.ndarray, point: np.ndarray, observed: Any, y0: Any, **known: Any) -> FitProblem:
    # Observations in the order of the points, as an elimination of the points wants to read them.
    order = np.lexsort((camera, point))
    camera, point = camera[order], point[order]

    def residual(y: dict[str, Any], args: dict[str, Any]) -> Any:
        return project(y["cameras"][camera], y["points"][point]) - args["observed"]

    args = {"observed": jnp.asarray(np.asarray(observed)[order])}
    return FitProblem(
        name=name,
        residual=residual,
        y0=y0,
        args=args,
        error=lambda y: root_mean_square(residual(y, args)),
        description=f"reprojection errors of {len(camera)} observations",
        **known,
    )
