"""Matrices of linear problems, as SciPy CSR: stencils, elements, small blocks. Each has a known property.

They are host-side and seeded; entries are sorted, none is stored twice. `convection_diffusion` and `jumping_diffusion`
are the standard models of partial differential equations, `elasticity` has two unknowns a node, `helmholtz` is
indefinite; `block_tridiagonal` and `chemistry` are what implicit ODE steps make of chains and of reaction mechanisms.

References: Y. Saad, Iterative Methods for Sparse Linear Systems (2003), section 2.2 (central differences);
T. J. R. Hughes, The Finite Element Method (2000), section 2.7 (plane strain, four-node squares).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from sparsesolve.gallery._problem import require_size


def convection_diffusion(*shape: int, velocity: float = 20.0) -> sp.csr_matrix:
    """`h^2 (-laplace(u) + velocity sum_i du/dx_i)` by central differences on the unit cube, `u = 0` on its boundary.

    Exact for products of quadratics that vanish on the boundary: with `u = prod x_i (1 - x_i)`, `A @ u` is the
    equation itself at every point.

    Args:
        *shape: inner points along each axis: one, two or three numbers; `h = 1 / (shape[0] + 1)`, axes scaled alike.
        velocity: convection along the diagonal. Beyond `2 / h` the matrix loses its dominant diagonal.

    Returns:
        Shape `(prod(shape),) * 2`, C order. Unsymmetric; 3, 5 or 7 entries a row.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.convection_diffusion(4, 3).shape
        (12, 12)
    """
    require_size("convection_diffusion", min(shape, default=0), 1)
    h = 1.0 / (shape[0] + 1)
    c = 0.5 * velocity * h
    return _sum_over_axes([_line(n, -1.0 - c, 2.0, -1.0 + c) for n in shape])


def jumping_diffusion(n: int, contrast: float = 1e4, anisotropy: float = 1.0) -> sp.csr_matrix:
    """`h^2 (-div(k grad u))` on the unit square, `k` jumping between 1 and `contrast` on an 8 x 8 checkerboard.

    Finite volumes with harmonic means at faces. Symmetric positive definite; a row away from the boundary sums to zero.

    Args:
        n: cells a side, `n^2` unknowns.
        contrast: of the coefficient.
        anisotropy: conductivity along the first axis relative to the second.

    Example:
        >>> from sparsesolve import gallery
        >>> A = gallery.jumping_diffusion(8)
        >>> float(abs(A - A.T).max())
        0.0
    """
    require_size("jumping_diffusion", n, 2)
    board = np.arange(n) * 8 // n
    k = np.where((board[:, None] + board[None, :]) % 2, contrast, 1.0)
    across, along = anisotropy * _faces(k), _faces(k.T).T
    diagonal = (across[:-1] + across[1:] + along[:, :-1] + along[:, 1:]).ravel()
    i = np.arange(n * n).reshape(n, n)
    pairs = [(i[:-1], i[1:], across[1:-1]), (i[:, :-1], i[:, 1:], along[:, 1:-1])]
    rows = np.concatenate([np.concatenate([a.ravel(), b.ravel()]) for a, b, _ in pairs])
    cols = np.concatenate([np.concatenate([b.ravel(), a.ravel()]) for a, b, _ in pairs])
    values = np.concatenate([np.tile(-w.ravel(), 2) for _, _, w in pairs])
    return _csr(sp.coo_array((values, (rows, cols)), shape=(n * n, n * n)) + sp.diags_array(diagonal))


def helmholtz(n: int, wavelengths: float = 6.0) -> sp.csr_matrix:
    """`h^2 (-laplace(u) - k^2 u)` on the unit square with `wavelengths` waves a side: symmetric, indefinite.

    Its eigenvalues are `4 - 2 cos(i pi h) - 2 cos(j pi h) - (k h)^2`, `k = 2 pi wavelengths`.

    Args:
        n: inner points a side, `n^2` unknowns.
        wavelengths: waves that fit a side; choose the number so that no eigenvalue vanishes.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.helmholtz(10).nnz
        460
    """
    require_size("helmholtz", n, 1)
    laplacian = convection_diffusion(n, n, velocity=0.0)
    return _csr(laplacian - sp.diags_array(np.full(n * n, (2 * np.pi * wavelengths / (n + 1)) ** 2)))


def elasticity(n: int, poisson: float = 0.3) -> sp.csr_matrix:
    """Plane strain on an `n x n` mesh of bilinear squares, clamped on the left: two unknowns a node, 18 entries a row.

    Symmetric positive definite; away from the clamp rigid motions give no force. Unknowns `2 node + component`.

    Args:
        n: elements a side, `2 n (n + 1)` unknowns.
        poisson: Poisson's ratio, below one half.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.elasticity(3).shape
        (24, 24)
    """
    require_size("elasticity", n, 1)
    local = _square_stiffness(poisson)
    node = np.arange((n + 1) ** 2).reshape(n + 1, n + 1)
    corners = np.stack([node[:-1, :-1], node[1:, :-1], node[1:, 1:], node[:-1, 1:]], axis=-1).reshape(-1, 4)
    unknowns = (2 * corners[:, :, None] + np.arange(2)).reshape(-1, 8)
    rows, cols = np.repeat(unknowns, 8, axis=1).ravel(), np.tile(unknowns, (1, 8)).ravel()
    size = 2 * (n + 1) ** 2
    whole = _csr(sp.coo_array((np.tile(local.ravel(), len(corners)), (rows, cols)), shape=(size, size)))
    free = slice(2 * (n + 1), size)  # the first row of nodes, x = 0, is clamped
    return _csr(whole[free, free])


def block_tridiagonal(blocks: int, size: int, seed: int = 0) -> sp.csr_matrix:
    """Dense blocks of random entries along three diagonals; block rows are strictly dominated by their diagonal.

    Args:
        blocks: number of block rows.
        size: of a block, `blocks * size` unknowns.
        seed: of the entries.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.block_tridiagonal(5, 3).nnz
        117
    """
    require_size("block_tridiagonal", min(blocks, size), 1)
    rng = np.random.default_rng(seed)
    parts = []
    for offset in (-1, 0, 1):
        at = np.arange(max(0, -offset), blocks - max(0, offset))
        local = np.arange(size)
        rows = np.broadcast_to(at[:, None, None] * size + local[:, None], (at.size, size, size))
        cols = np.broadcast_to((at[:, None, None] + offset) * size + local, (at.size, size, size))
        values = rng.uniform(-1, 1, rows.shape) + 3.0 * size * np.eye(size) * (offset == 0)
        parts.append((rows.ravel(), cols.ravel(), values.ravel()))
    rows, cols, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _csr(sp.coo_array((values, (rows, cols)), shape=(blocks * size,) * 2))


def chemistry(species: int, reactions: int | None = None, step: float = 1e-2, seed: int = 0) -> sp.csr_matrix:
    """`I - step J` of a reaction mechanism with temperature: a hub species, rates over decades, an arrow at the end.

    Every reaction turns two species into two others by mass action and releases heat; species 0 takes part in a third
    of them, the last unknown is the temperature, on which all rates depend and which all reactions heat. Reactions keep
    the number of molecules, so the species rows of every column sum to one for a species, to zero for the temperature.

    Args:
        species: number of species, `species + 1` unknowns.
        reactions: twenty a species if not given: most pairs of species then meet in some reaction.
        step: of the implicit method.
        seed: of mechanism and state.

    Example:
        >>> from sparsesolve import gallery
        >>> A = gallery.chemistry(20)
        >>> bool(abs(A[:20].sum(axis=0)[0, :20] - 1).max() < 1e-9)
        True
    """
    require_size("chemistry", species, 4)
    rng = np.random.default_rng(seed)
    count = 20 * species if reactions is None else reactions
    taking = np.stack([rng.permutation(species)[:4] for _ in range(count)])
    hub = (rng.random(count) < 1 / 3) & ~(taking == 0).any(axis=1)
    taking[hub, 0] = 0
    state, rate = rng.uniform(0.1, 1.0, species), 10.0 ** rng.uniform(-2, 4, count)
    first, second = taking[:, 0], taking[:, 1]
    each = np.repeat(np.arange(count), 4)
    change = sp.csr_array((np.tile([-1.0, -1.0, 1.0, 1.0], count), (taking.ravel(), each)), shape=(species, count))
    heat = sp.csr_array(rng.uniform(-1, 1, (1, count)))
    speed = rate * state[first] * state[second]
    slopes = (np.concatenate([speed / state[first], speed / state[second]]), np.tile(np.arange(count), 2))
    by_species = sp.csr_array((slopes[0], (slopes[1], np.concatenate([first, second]))), shape=(count, species))
    by_heat = sp.csr_array((speed * rng.uniform(0, 1, count))[:, None])
    jacobian: Any = sp.vstack([change, heat]) @ sp.hstack([by_species, by_heat])
    return _csr(sp.eye_array(species + 1) - step * jacobian)


def _sum_over_axes(lines: list[Any]) -> sp.csr_matrix:
    """Kronecker sum of one matrix an axis."""
    total: Any = lines[0]
    for line in lines[1:]:
        total = sp.kron(total, sp.eye_array(line.shape[0])) + sp.kron(sp.eye_array(total.shape[0]), line)
    return _csr(total)


def _line(size: int, below: float, diagonal: float, above: float) -> Any:
    """Tridiagonal, the same values in every row."""
    values = np.array([[below], [diagonal], [above]]) * np.ones(size)
    return sp.dia_array((values, np.array([-1, 0, 1])), shape=(size, size))


def _csr(matrix: object) -> sp.csr_matrix:
    """Sorted, without duplicates, 32-bit indices."""
    out = sp.csr_matrix(matrix)
    out.sum_duplicates()
    out.sort_indices()
    out.indices, out.indptr = out.indices.astype(np.int32), out.indptr.astype(np.int32)
    return out


def _faces(k: np.ndarray) -> np.ndarray:
    """Conductivity of the faces across the first axis, harmonic means; cells at the boundary count half."""
    inner = 2 * k[:-1] * k[1:] / (k[:-1] + k[1:])
    return np.concatenate([2 * k[:1], inner, 2 * k[-1:]])


def _square_stiffness(poisson: float) -> np.ndarray:
    """Stiffness `(8, 8)` of a square with corners (0, 0), (1, 0), (1, 1), (0, 1), by 2 x 2 Gauss points; E = 1."""
    scale = 1 / ((1 + poisson) * (1 - 2 * poisson))
    law = scale * np.array([[1 - poisson, poisson, 0], [poisson, 1 - poisson, 0], [0, 0, 0.5 - poisson]])
    points = 0.5 + np.array([-0.5, 0.5]) / np.sqrt(3)
    stiffness = np.zeros((8, 8))
    for x, y in ((x, y) for x in points for y in points):
        dx, dy = np.array([y - 1, 1 - y, y, -y]), np.array([x - 1, -x, x, 1 - x])
        strain = np.zeros((3, 8))
        strain[0, ::2], strain[1, 1::2], strain[2, ::2], strain[2, 1::2] = dx, dy, dy, dx
        stiffness += strain.T @ law @ strain / 4
    return stiffness
