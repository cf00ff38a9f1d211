"""Matrices that are no grids: circuits, saddle points, Markov chains, optimal control. SciPy CSR, host-side, seeded.

References: C.-W. Ho, A. E. Ruehli, P. A. Brennan, "The modified nodal approach to network analysis", IEEE Trans.
Circuits Syst. 22 (1975) 504-509; M. Benzi, G. H. Golub, J. Liesen, "Numerical solution of saddle point problems", Acta
Numerica 14 (2005) 1-137, doi:10.1017/S0962492904000212; F. H. Harlow, J. E. Welch, Phys. Fluids 8 (1965) 2182
(staggered grids).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sparsesolve.gallery._linear import _csr, _line
from sparsesolve.gallery._problem import require_size


def circuit(nodes: int, sources: int | None = None, seed: int = 0) -> sp.csr_matrix:
    """Modified nodal analysis of a random network: hubs, conductances over eight decades, voltage sources.

    Resistors join near nodes, and a third of all nodes to one of four supply rails (hubs); transistors make it
    unsymmetric; a voltage source adds a row and a column with no diagonal entry. Currents add up: the node rows of a
    node's column sum to its conductance to ground, 1e-6.

    Args:
        nodes: of the network.
        sources: voltage sources to ground; one for each hundred nodes, at least one, if not given.
        seed: of the network.

    Returns:
        Shape `(nodes + sources,) * 2`; the diagonal of the last `sources` rows is structurally zero.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.circuit(50).shape
        (51, 51)
    """
    require_size("circuit", nodes, 8)
    rng = np.random.default_rng(seed)
    sources = max(1, nodes // 100) if sources is None else sources
    near = np.arange(1, nodes)
    a = np.concatenate([near, near, rng.permutation(nodes - 4)[: nodes // 3] + 4])
    b = np.concatenate([near - 1, near - 1 - rng.geometric(0.3, nodes - 1), rng.integers(0, 4, nodes // 3)])
    keep = b >= 0
    a, b = a[keep], b[keep]
    g = 10.0 ** rng.uniform(-6, 2, a.size)
    stamps = [(a, a, g), (b, b, g), (a, b, -g), (b, a, -g), _transistors(nodes, rng)]
    rows, cols, values = (np.concatenate(part) for part in zip(*stamps, strict=True))
    conductance = sp.coo_array((values, (rows, cols)), shape=(nodes, nodes)) + 1e-6 * sp.eye_array(nodes)
    at = rng.permutation(nodes)[:sources]
    incidence = sp.coo_array((np.ones(sources), (at, np.arange(sources))), shape=(nodes, sources))
    return _csr(sp.block_array([[conductance, incidence], [incidence.T, None]]))


def stokes(n: int) -> sp.csr_matrix:
    """Slow viscous flow on an `n x n` staggered grid: a saddle point, the diagonal of the pressure rows stored nowhere.

    Velocities at faces, pressures at centres, all walls at rest; the last pressure is left out, which fixes the level.
    Symmetric indefinite: `[[K, G], [G^T, 0]]` with `K` positive definite. A pressure that is the same everywhere would
    drive nothing: rows of `G` away from the cell left out sum to zero.

    Args:
        n: cells a side, `3 n^2 - 2 n - 1` unknowns.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.stokes(4).shape
        (39, 39)
    """
    require_size("stokes", n, 2)
    wall = _line(n - 1, -1.0, 2.0, -1.0)
    slip = sp.lil_array(_line(n, -1.0, 2.0, -1.0))
    slip[0, 0] = slip[n - 1, n - 1] = 3.0  # the wall lies half a cell away
    across, along = sp.eye_array(n - 1), sp.eye_array(n)
    down = sp.csr_array(_line(n, 0.0, -1.0, 1.0))[:-1]
    first = sp.kron(wall, along) + sp.kron(across, slip)
    second = sp.kron(slip, across) + sp.kron(along, wall)
    gradient = sp.csr_array(sp.vstack([sp.kron(down, along), sp.kron(along, down)]))[:, :-1]
    return _csr(
        sp.block_array(
            [
                [first, None, gradient[: n * (n - 1)]],
                [None, second, gradient[n * (n - 1) :]],
                [gradient[: n * (n - 1)].T, gradient[n * (n - 1) :].T, None],
            ]
        )
    )


def markov_chain(states: int, discount: float = 0.99, seed: int = 0) -> sp.csr_matrix:
    """`I - discount P`, `P` a random walk on a scale-free graph; every row sums to `1 - discount`.

    Each state goes to its neighbour and to two earlier states; early ones are reached from everywhere.

    Args:
        states: of the chain.
        discount: below one.
        seed: of the graph.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.markov_chain(30).shape
        (30, 30)
    """
    require_size("markov_chain", states, 3)
    rng = np.random.default_rng(seed)
    state = np.arange(states)
    earlier = (state[:, None] * rng.random((states, 2)) ** 3).astype(np.int64)
    goals = np.concatenate([np.roll(state, -1)[:, None], earlier], axis=1)
    weights = rng.uniform(0.1, 1.0, goals.shape)
    weights /= weights.sum(axis=1, keepdims=True)
    walk = sp.coo_array((weights.ravel(), (np.repeat(state, 3), goals.ravel())), shape=(states, states))
    return _csr(sp.eye_array(states) - discount * walk)


def optimal_control(steps: int, states: int = 6, controls: int = 2, seed: int = 0) -> sp.csr_matrix:
    """Optimality conditions of linear-quadratic control in time: long, thin, indefinite, zero diagonal blocks.

    `[[H, C^T], [C, 0]]` with `H` diagonal and positive, `C` the dynamics `x_{t+1} = F_t x_t + B_t u_t`. Symmetric, with
    `steps * (states + controls)` positive and `steps * states` negative eigenvalues.

    Args:
        steps: in time.
        states: a step.
        controls: a step.
        seed: of the dynamics.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.optimal_control(3).shape
        (42, 42)
    """
    require_size("optimal_control", steps, 1)
    rng = np.random.default_rng(seed)
    width = states + controls
    blocks = []
    for t in range(steps):
        own = np.concatenate([rng.normal(size=(states, controls)), -np.eye(states)], axis=1)  # columns u_t, x_{t+1}
        blocks.append((t * states, t * width, own))
        if t:
            motion = np.eye(states) + 0.1 * rng.normal(size=(states, states))
            blocks.append((t * states, t * width - states, motion))
    rows, cols, values = [], [], []
    for row, col, block in blocks:
        i, j = np.nonzero(block)
        rows.append(row + i)
        cols.append(col + j)
        values.append(block[i, j])
    joined = (np.concatenate(rows), np.concatenate(cols))
    dynamics = sp.coo_array((np.concatenate(values), joined), shape=(steps * states, steps * width))
    weight = sp.diags_array(10.0 ** rng.uniform(-2, 2, steps * width))
    return _csr(sp.block_array([[weight, dynamics.T], [dynamics, None]]))


def _transistors(nodes: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Currents from one node to another steered by the voltage of a third."""
    count = nodes // 4
    into = rng.integers(4, nodes - 3, count)
    gate, out = into + rng.integers(1, 4, count), into - rng.integers(1, 4, count)
    gain = 10.0 ** rng.uniform(-4, -1, count)
    return np.concatenate([into, out]), np.concatenate([gate, gate]), np.concatenate([gain, -gain])
