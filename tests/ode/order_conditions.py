"""Order conditions of Rosenbrock methods, tree by tree.

Hairer, Wanner, Solving Ordinary Differential Equations II, theorem IV.7.3: for every rooted tree with at most p
vertices `sum_i b_i Phi_i = 1 / gamma(tree)`, where a vertex with one child multiplies with `alpha + Gamma` and one with
several children takes the product of `alpha Phi(child)`. For W-methods (section IV.7) every vertex with one child may
be of either kind: with alpha, and the condition of the tree, or with Gamma, and zero.
"""

import functools
import itertools
import math

import numpy as np


@functools.cache
def trees(order):
    """Rooted trees with `order` vertices, each the sorted tuple of its children."""
    if order == 1:
        return ((),)
    found = set()
    for sizes in _partitions(order - 1):
        for children in itertools.product(*(trees(size) for size in sizes)):
            found.add(tuple(sorted(children, key=repr)))
    return tuple(sorted(found, key=repr))


def _partitions(total, largest=None):
    largest = total if largest is None else largest
    if total == 0:
        yield ()
    for first in range(min(total, largest), 0, -1):
        for rest in _partitions(total - first, first):
            yield (first, *rest)


def size(tree):
    return 1 + sum(map(size, tree))


def density(tree):
    return size(tree) * math.prod(map(density, tree))


def weight(tree, alpha, gamma):
    """`Phi` of a tree, one number a stage."""
    if not tree:
        return np.ones(len(alpha))
    if len(tree) == 1:
        return (alpha + gamma) @ weight(tree[0], alpha, gamma)
    return math.prod(alpha @ weight(child, alpha, gamma) for child in tree)


def w_weights(tree, alpha, gamma):
    """`(Phi, uses_gamma)` for every way to choose alpha or Gamma below vertices with one child."""
    if not tree:
        return [(np.ones(len(alpha)), False)]
    if len(tree) == 1:
        below = w_weights(tree[0], alpha, gamma)
        return [(alpha @ phi, used) for phi, used in below] + [(gamma @ phi, True) for phi, _ in below]
    parts = [[(alpha @ phi, used) for phi, used in w_weights(child, alpha, gamma)] for child in tree]
    return [
        (math.prod(phi for phi, _ in choice), any(used for _, used in choice)) for choice in itertools.product(*parts)
    ]


def defects(weights, alpha, gamma, order):
    """Largest violation for the trees of each order up to `order`."""
    return [
        max(abs(weights @ weight(tree, alpha, gamma) - 1 / density(tree)) for tree in trees(k))
        for k in range(1, order + 1)
    ]


def w_defects(weights, alpha, gamma, order):
    """The same for an arbitrary matrix in place of the Jacobian."""
    return [
        max(
            abs(weights @ phi - (0 if used else 1 / density(tree)))
            for tree in trees(k)
            for phi, used in w_weights(tree, alpha, gamma)
        )
        for k in range(1, order + 1)
    ]
