"""Reader of pose graphs in the g2o text format: `VERTEX_SE2`, `EDGE_SE2`, `VERTEX_SE3:QUAT`, `EDGE_SE3:QUAT`."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsesolve.gallery._fit_problem import FitProblem
from sparsesolve.gallery._pose_graph import Edges, pose_graph_2d, pose_graph_3d

# by kind of the vertices: kind of the edges, numbers of a pose, order of the information matrix
_KINDS = {"VERTEX_SE2": ("EDGE_SE2", 3, 3), "VERTEX_SE3:QUAT": ("EDGE_SE3:QUAT", 7, 6)}


def read_g2o(path: Any, cost: float | None = None) -> FitProblem:
    """A pose graph from a g2o file, planar or in space. The first pose is held.

    Args:
        path: of the file. Poses may come in any order and have any numbers; lines of other kinds are refused.
        cost: the least chi^2 where it is known; then `error` is the relative distance to it, else chi^2 itself.

    Returns:
        A `FitProblem`: planar with `y0` of shape `(n - 1, 3)`; in space a dict of `position` and `rotation` (unit
        quaternions) with a `retract`.

    Raises:
        ValueError: the file has other kinds of lines, both dimensions, or edges between poses it does not have.
    """
    lines: dict[str, list[list[str]]] = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            kind, *fields = line.split() or ("",)
            lines.setdefault(kind, []).append(fields)
    lines.pop("", None)
    lines.pop("FIX", None)
    found = [kind for kind in _KINDS if kind in lines]
    if len(found) != 1 or set(lines) != {found[0], _KINDS[found[0]][0]}:
        raise ValueError(
            f"read_g2o found lines of the kinds {', '.join(sorted(lines)) or '(none)'} in {path}; it reads VERTEX_SE2 "
            "with EDGE_SE2, or VERTEX_SE3:QUAT with EDGE_SE3:QUAT."
        )
    edge_kind, width, order = _KINDS[found[0]]
    vertices, table = (np.array(lines[kind], dtype=float) for kind in (found[0], edge_kind))
    vertices = vertices[np.argsort(vertices[:, 0], kind="stable")]
    ends = np.searchsorted(vertices[:, 0], table[:, :2]).astype(np.int32)
    known = np.minimum(ends, len(vertices) - 1)
    strangers = vertices[known, 0] != table[:, :2]
    if np.any(strangers):
        raise ValueError(
            f"read_g2o found an edge to pose {int(table[:, :2][strangers][0])} in {path}, which has no such vertex."
        )
    upper = np.triu_indices(order)
    information = np.zeros((len(table), order, order))
    information[:, upper[0], upper[1]] = information[:, upper[1], upper[0]] = table[:, 2 + width :]
    edges = Edges(ends[:, 0], ends[:, 1], _normalised(table[:, 2 : 2 + width]), information)
    build = pose_graph_2d if order == 3 else pose_graph_3d
    return build(
        _normalised(vertices[:, 1:]),
        edges,
        name=f"pose graph of {len(vertices)} poses",
        source="g2o file; relative excess of chi^2" if cost else "g2o file; chi^2",
        cost=cost,
    )


def _normalised(poses: np.ndarray) -> np.ndarray:
    """Poses in space with quaternions of length one; planar poses as they are."""
    if poses.shape[1] == 3:
        return poses
    return np.concatenate([poses[:, :3], poses[:, 3:] / np.linalg.norm(poses[:, 3:], axis=1, keepdims=True)], axis=1)
