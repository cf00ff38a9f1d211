"""Every matrix of the gallery has the property it claims."""

import numpy as np
import pytest
import scipy.sparse as sp

from sparsesolve import gallery

MATRICES = {
    "convection_diffusion": gallery.convection_diffusion(5, 4, 3),
    "jumping_diffusion": gallery.jumping_diffusion(16),
    "helmholtz": gallery.helmholtz(9),
    "elasticity": gallery.elasticity(6),
    "block_tridiagonal": gallery.block_tridiagonal(7, 3),
    "chemistry": gallery.chemistry(30),
    "circuit": gallery.circuit(120),
    "stokes": gallery.stokes(5),
    "markov_chain": gallery.markov_chain(60),
    "optimal_control": gallery.optimal_control(8),
}


@pytest.mark.parametrize("name", MATRICES)
def test_clean_csr_and_not_singular(name):
    matrix = MATRICES[name]
    assert isinstance(matrix, sp.csr_matrix) and matrix.has_canonical_format and matrix.indices.dtype == np.int32
    dense = matrix.toarray()
    x = np.linspace(1, 2, dense.shape[0])
    np.testing.assert_allclose(np.linalg.solve(dense, dense @ x), x, rtol=1e-4)


@pytest.mark.parametrize("shape", [(6,), (5, 4), (4, 3, 5)])
def test_convection_diffusion_is_exact_for_quadratics(shape):
    """Axis i has points h (j + 1), so its bubble is `x (l_i - x)` with `l_i = h (shape_i + 1)`."""
    velocity, h = 3.0, 1 / (shape[0] + 1)
    points = np.meshgrid(*(h * np.arange(1, n + 1) for n in shape), indexing="ij")
    lengths = [h * (n + 1) for n in shape]
    bubbles = [x * (length - x) for x, length in zip(points, lengths, strict=True)]
    expected = np.zeros(shape)
    for i, (x, length) in enumerate(zip(points, lengths, strict=True)):
        others = np.prod([b for j, b in enumerate(bubbles) if j != i], axis=0)
        expected += (2.0 + velocity * (length - 2 * x)) * others
    matrix = gallery.convection_diffusion(*shape, velocity=velocity)
    np.testing.assert_allclose(matrix @ np.prod(bubbles, axis=0).ravel(), h**2 * expected.ravel(), atol=1e-15)


def test_jumping_diffusion_is_definite_and_conserves():
    matrix = gallery.jumping_diffusion(16, contrast=1e3, anisotropy=5.0)
    dense = matrix.toarray()
    assert np.array_equal(dense, dense.T) and np.linalg.eigvalsh(dense)[0] > 0
    sums = dense.sum(axis=1).reshape(16, 16)
    assert np.abs(sums[1:-1, 1:-1]).max() < 1e-10 and sums[0].min() > 1


def test_helmholtz_eigenvalues():
    n, h = 7, 1 / 8
    waves = 2 - 2 * np.cos(np.arange(1, n + 1) * np.pi * h)
    expected = np.sort((waves[:, None] + waves[None, :]).ravel()) - (2 * np.pi * 1.3 * h) ** 2
    np.testing.assert_allclose(np.linalg.eigvalsh(gallery.helmholtz(n, 1.3).toarray()), expected, atol=1e-13)
    assert expected[0] < 0 < expected[-1]


def test_elasticity_is_definite_and_knows_rigid_motions():
    n = 5
    dense = gallery.elasticity(n).toarray()
    assert np.allclose(dense, dense.T, atol=1e-15) and np.linalg.eigvalsh(dense)[0] > 0
    x, y = (np.arange(1, n + 1.0)[:, None] + np.zeros(n + 1)), np.zeros((n, 1)) + np.arange(n + 1.0)
    for motion in ((1 + 0 * x, 0 * x), (0 * x, 1 + 0 * x), (-y, x)):
        force = (dense @ np.stack(motion, axis=-1).ravel()).reshape(n, -1)
        assert np.abs(force[1:]).max() < 1e-13 and np.abs(force[0]).max() > 0.1


def test_block_tridiagonal_is_dominated_by_its_diagonal():
    dense = np.abs(gallery.block_tridiagonal(6, 4).toarray())
    assert (2 * dense.diagonal() >= dense.sum(axis=1)).mean() > 0.9
    assert np.count_nonzero(dense) == 16 * (3 * 6 - 2)


def test_chemistry_keeps_molecules_and_has_an_arrow():
    dense = gallery.chemistry(40, reactions=160).toarray()
    np.testing.assert_allclose(dense[:-1].sum(axis=0), [1.0] * 40 + [0.0], atol=1e-9)
    assert np.count_nonzero(dense[-1]) > 35 and np.count_nonzero(dense[:, -1]) > 35
    entries = np.count_nonzero(dense, axis=1)
    assert entries[0] > 1.4 * np.median(entries)  # the hub


def test_circuit_obeys_kirchhoff():
    nodes, sources = 200, 3
    matrix = gallery.circuit(nodes, sources)
    np.testing.assert_allclose(matrix[:nodes, :nodes].sum(axis=0), np.full((1, nodes), 1e-6), atol=1e-12)
    assert matrix.shape == (203, 203) and matrix[nodes:, nodes:].nnz == 0
    assert np.diff(matrix.indptr).max() > 10
    assert abs(matrix - matrix.T).max() > 0


def _signs(dense):
    values = np.linalg.eigvalsh(dense)
    return int((values > 0).sum()), int((values < 0).sum())


def test_saddle_points_have_the_signs_they_claim():
    n = 5
    stokes = gallery.stokes(n).toarray()
    velocities = 2 * n * (n - 1)
    assert _signs(stokes) == (velocities, n * n - 1)
    sums = stokes[:velocities, velocities:].sum(axis=1)
    assert np.count_nonzero(sums) == 2  # the two faces of the cell left out
    control = gallery.optimal_control(6, 4, 2).toarray()
    assert _signs(control) == (6 * 6, 6 * 4)
    assert np.array_equal(control, control.T) and np.array_equal(stokes, stokes.T)


def test_markov_chain_rows_sum_to_one_minus_the_discount():
    matrix = gallery.markov_chain(300, discount=0.9)
    np.testing.assert_allclose(matrix.sum(axis=1), 0.1, atol=1e-14)
    assert np.diff(matrix.tocsc().indptr).max() > 30


def test_sizes_that_make_no_sense_are_refused():
    for build in (gallery.convection_diffusion, lambda: gallery.stokes(1), lambda: gallery.circuit(3)):
        with pytest.raises(ValueError, match="too few points"):
            build()
