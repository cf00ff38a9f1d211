"""Index arrays in `args`: known outside transformations, so that the pattern of a mesh or network is sparse."""

import jax
import jax.numpy as jnp
import numpy as np

import sparsesolve as ss

N = 40
EDGES = np.stack([np.arange(N - 1), np.arange(1, N)], axis=1)


def conduction(u, args):
    """Nonlinear conduction along the edges of a network, both ends held."""
    tail, head = args["edges"].T
    flux = (1 + ((u[tail] + u[head]) / 2) ** 2) * (u[head] - u[tail])
    balance = jnp.zeros_like(u).at[head].add(flux).at[tail].add(-flux)
    return balance.at[0].set(u[0]).at[-1].set(u[-1] - args["right"])


def solve(right, edges):
    return ss.root_find(conduction, None, jnp.linspace(0.0, 1.0, N), {"edges": edges, "right": right})


def test_the_pattern_of_a_network_given_as_argument_is_sparse():
    for edges in (EDGES, jnp.asarray(EDGES)):
        assert solve(1.0, edges).stats["nnz"] == 3 * N - 4


def test_other_indices_are_another_problem():
    ring = np.concatenate([EDGES, [[0, N // 2]]])
    straight, bridged = solve(1.0, EDGES), solve(1.0, ring)
    assert bridged.stats["nnz"] > straight.stats["nnz"]
    assert np.abs(conduction(bridged.value, {"edges": ring, "right": 1.0})).max() < 1e-13
    assert np.abs(conduction(straight.value, {"edges": EDGES, "right": 1.0})).max() < 1e-13


def test_derivatives_and_batches_of_the_other_arguments():
    def middle(right):
        return solve(right, EDGES).value[N // 2]

    h = 1e-6
    difference = (middle(1.0 + h) - middle(1.0 - h)) / (2 * h)
    np.testing.assert_allclose(jax.grad(middle)(1.0), difference, rtol=1e-8)
    np.testing.assert_allclose(jax.vmap(middle)(jnp.array([1.0, 2.0])), [middle(1.0), middle(2.0)], rtol=1e-12)
