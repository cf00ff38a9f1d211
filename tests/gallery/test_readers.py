"""Readers of published data: on small files written here, and on the published files where they are found."""

import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve import gallery
from sparsesolve.gallery._rotations import (
    conjugate,
    pose_logarithm,
    quaternion_of_vector,
    quaternion_product,
    rotate_by_quaternion,
    rotate_by_vector,
)

DATA = pathlib.Path(os.environ.get("SPARSESOLVE_DATA", pathlib.Path(__file__).parents[3] / "shared" / "data"))
NIST_FILES = sorted((DATA / "nist").glob("*.dat"))

TINY_NIST = """NIST/ITL StRD
Dataset Name:  {name}           ({name}.dat)
Data:          1 Response Variable  (y = volume)
               2 Observations
        Start 1     Start 2           Parameter     Standard Deviation
  b1 =   500         250           2.3894212918E+02  2.7070075241E+00
  b2 =     0.0001      0.0005      5.5015643181E-04  7.2668688436E-06

Residual Sum of Squares:                    1.2455138894E-01

Data:   y               x
      10.07E0      77.6E0
      14.73E0     114.9E0
"""

TINY_BAL = "1 1 2\n0 0 3.0 4.0\n0 0 5.0 6.0\n" + "\n".join(
    ["0.1", "0.2", "0.3", "0", "0", "-5", "9", "0", "0", "1", "2", "3"]
)

TINY_PLANE = """VERTEX_SE2 7 1 0 0.5
VERTEX_SE2 3 0 0 0
EDGE_SE2 3 7 1 0.1 0.4 4 1 0 4 0 9
"""

TINY_SPACE = """VERTEX_SE3:QUAT 0 0 0 0 0 0 0 1
VERTEX_SE3:QUAT 1 1 2 3 0 0 2 2
EDGE_SE3:QUAT 0 1 1 2 3 0 0 1 1 1 0 0 0 0 0 1 0 0 0 0 1 0 0 0 4 0 0 4 0 4
"""


def written(path, text):
    path.write_text(text)
    return path


def test_nist_file(tmp_path):
    problem = gallery.read_nist(written(tmp_path / "a.dat", TINY_NIST.format(name="Misra1a")), start=2)
    assert problem.name == "Misra1a, start 2" and problem.cost == 0.12455138894
    np.testing.assert_array_equal(problem.y0, [250, 0.0005])
    np.testing.assert_array_equal(problem.solution, [238.94212918, 0.00055015643181])
    np.testing.assert_array_equal(problem.standard_errors, [2.7070075241, 7.2668688436e-06])
    np.testing.assert_array_equal(problem.args["x"], [77.6, 114.9])
    np.testing.assert_array_equal(problem.args["y"], [10.07, 14.73])


def test_both_starts_share_their_residual():
    assert gallery.nist("Rat43", 1).residual == gallery.nist("Rat43", 2).residual != gallery.nist("Rat42").residual


@pytest.mark.skipif(not NIST_FILES, reason="no NIST files found: set SPARSESOLVE_DATA to the folder with nist/*.dat")
@pytest.mark.parametrize("path", NIST_FILES, ids=lambda path: path.stem)
def test_published_nist_files(path):
    problem = gallery.read_nist(path)
    cost = problem.sum_of_squares(jnp.asarray(problem.solution))
    assert cost == pytest.approx(problem.cost, rel=1e-9)
    if path.stem in gallery.NIST_SETS:
        transcribed = gallery.nist(path.stem)
        read, known = ((p.y0, p.args, p.cost, p.solution, p.standard_errors) for p in (problem, transcribed))
        for a, b in zip(jax.tree.leaves(read), jax.tree.leaves(known), strict=True):
            np.testing.assert_array_equal(a, b)


def test_bal_file(tmp_path):
    problem = gallery.read_bal(written(tmp_path / "a.txt", TINY_BAL))
    w, X = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0])
    k = np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])
    t = np.linalg.norm(w)
    p = (np.eye(3) + np.sin(t) / t * k + (1 - np.cos(t)) / t**2 * k @ k) @ X + [0, 0, -5]
    image = -9 * p[:2] / p[2]
    np.testing.assert_allclose(problem.residual(problem.y0, problem.args), image - [[3, 4], [5, 6]], rtol=1e-14)


def test_published_bundle_adjustment_starts_from_its_known_cost():
    path = DATA / "bal" / "problem-49-7776-pre.txt"
    if not path.exists():
        pytest.skip("no BAL file found: set SPARSESOLVE_DATA to the folder with bal/*.txt")
    problem = gallery.read_bal(path)
    assert problem.residual(problem.y0, problem.args).shape == (31843, 2)
    assert problem.sum_of_squares(problem.y0) == pytest.approx(1701824.9, abs=0.05)


def test_planar_g2o_file(tmp_path):
    problem = gallery.read_g2o(written(tmp_path / "a.g2o", TINY_PLANE))
    np.testing.assert_array_equal(problem.y0, [[1, 0, 0.5]])
    e = np.array([0.0, -0.1, 0.1])
    information = np.array([[4, 1, 0], [1, 4, 0], [0, 0, 9]])
    assert problem.sum_of_squares(problem.y0) == pytest.approx(e @ information @ e)
    turned = problem.y0 + jnp.array([[0, 0, 6 * jnp.pi]])
    assert problem.sum_of_squares(turned) == pytest.approx(e @ information @ e)


def test_space_g2o_file(tmp_path):
    problem = gallery.read_g2o(written(tmp_path / "a.g2o", TINY_SPACE))
    np.testing.assert_allclose(problem.y0["rotation"], [[0, 0, 0.5**0.5, 0.5**0.5]])
    assert problem.sum_of_squares(problem.y0) == pytest.approx(0.0, abs=1e-25)
    delta = {"position": jnp.zeros((1, 3)), "rotation": jnp.array([[0.3, -0.2, 0.4]])}
    assert problem.sum_of_squares(problem.retract(problem.y0, delta)) == pytest.approx(4 * 0.29)
    assert jax.tree.map(jnp.shape, problem.retract.tangent(problem.y0)) == jax.tree.map(jnp.shape, delta)


@pytest.mark.parametrize(("name", "poses", "edges"), [("input_M3500_g2o", 3500, 5453), ("smallGrid3D", 125, 297)])
def test_published_pose_graphs(name, poses, edges):
    path = DATA / "g2o" / f"{name}.g2o"
    if not path.exists():
        pytest.skip("no g2o file found: set SPARSESOLVE_DATA to the folder with g2o/*.g2o")
    problem = gallery.read_g2o(path, cost=100.0)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(problem.y0)} == {poses - 1}
    assert problem.args["displacement"].shape[0] == edges
    assert problem.error(problem.y0) == pytest.approx(problem.sum_of_squares(problem.y0) / 100 - 1)


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (gallery.read_nist, TINY_NIST.format(name="Longley"), "reads the 27 nonlinear regression sets"),
        (gallery.read_nist, "Dataset Name:  Rat42", "is it whole"),
        (gallery.read_bal, TINY_BAL + " 7", "is the file complete"),
        (gallery.read_g2o, TINY_PLANE + "EDGE_SE2_XY 3 7 1 1\n", "found lines of the kinds"),
        (gallery.read_g2o, TINY_PLANE + "EDGE_SE2 3 9 1 0.1 0.4 4 1 0 4 0 9\n", "edge to pose 9"),
    ],
)
def test_files_of_other_kinds_are_refused(tmp_path, read, text, words):
    with pytest.raises(ValueError, match=words):
        read(written(tmp_path / "file", text))


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1e-3, 0.03, 0.04, 0.5, 2.0, 3.1])
def test_rotations_agree_and_are_smooth(scale):
    w = scale * jnp.array([0.6, -0.48, 0.64])
    X, shift = jnp.array([1.0, 2.0, -0.5]), jnp.array([0.3, -0.1, 2.0])
    q = quaternion_of_vector(w)
    np.testing.assert_allclose(rotate_by_vector(w, X), rotate_by_quaternion(q, X), rtol=1e-14, atol=1e-15)
    back = quaternion_product(conjugate(q), q)
    np.testing.assert_allclose(back, [0, 0, 0, 1], atol=1e-15)
    v, log = pose_logarithm(shift, q)
    np.testing.assert_allclose(log, w, rtol=1e-13, atol=1e-16)
    generator = np.zeros((4, 4))
    generator[:3, :3] = [[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]]
    generator[:3, 3] = v
    np.testing.assert_allclose(jax.scipy.linalg.expm(generator)[:3, 3], shift, rtol=1e-11, atol=1e-12)
    jacobian = jax.jacfwd(rotate_by_vector)(w, X)
    step = 1e-6
    differences = [
        (rotate_by_vector(w + step * e, X) - rotate_by_vector(w - step * e, X)) / (2 * step) for e in np.eye(3)
    ]
    np.testing.assert_allclose(jacobian, np.stack(differences, axis=1), atol=1e-8)
