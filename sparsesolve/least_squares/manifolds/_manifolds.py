"""Parameters on manifolds: the group operations that a retraction is made of, and products of manifolds.

A Lie group with elements stored along the last axis of an array is moved by `retract(y, d) = y exp(d)`: a tangent
vector `d` of its own dimension is a motion in the frame of `y` itself. `ProductManifold` combines groups and ordinary
parameters in a pytree.

Reference: J. Sola, J. Deray, D. Atchuthan, A micro Lie theory for state estimation in robotics (2018),
arXiv:1812.01537.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Inexact, PyTree


class AbstractGroup(abc.ABC):
    """A Lie group. Immutable, compared by its kind; elements are arrays `(..., size)`, tangents `(..., dimension)`."""

    size: int
    dimension: int

    @abc.abstractmethod
    def exp(self, d: Inexact[Array, "... dimension"]) -> Inexact[Array, "... size"]:
        """The element that a tangent vector at the identity leads to."""

    @abc.abstractmethod
    def log(self, a: Inexact[Array, "... size"]) -> Inexact[Array, "... dimension"]:
        """The shortest tangent vector that `exp` maps to an element."""

    @abc.abstractmethod
    def compose(self, a: Inexact[Array, "... size"], b: Inexact[Array, "... size"]) -> Inexact[Array, "... size"]:
        """The product: first `b`, then `a`."""

    @abc.abstractmethod
    def inverse(self, a: Inexact[Array, "... size"]) -> Inexact[Array, "... size"]:
        """The inverse element."""

    @abc.abstractmethod
    def act(self, a: Inexact[Array, "... size"], x: Inexact[Array, "... k"]) -> Inexact[Array, "... k"]:
        """Points moved by an element."""

    @abc.abstractmethod
    def normalise(self, a: Inexact[Array, "... size"]) -> Inexact[Array, "... size"]:
        """The element nearest to an array that rounding has moved away."""

    def between(self, a: Inexact[Array, "... size"], b: Inexact[Array, "... size"]) -> Inexact[Array, "... size"]:
        """`a^-1 b`: where `b` is, seen from `a`."""
        return self.compose(self.inverse(a), b)

    def __call__(self, y: Inexact[Array, "... size"], d: Inexact[Array, "... dimension"]) -> Inexact[Array, "... size"]:
        """The retraction `y exp(d)`."""
        return self.normalise(self.compose(y, self.exp(d)))

    def tangent(self, y: Inexact[Array, "... size"]) -> Inexact[Array, "... dimension"]:
        """A zero step from `y`.

        Raises:
            ValueError: the last axis of `y` does not hold an element.
        """
        if jnp.ndim(y) == 0 or jnp.shape(y)[-1] != self.size:
            raise ValueError(
                f"{type(self).__name__} got parameters of shape {jnp.shape(y)}; its elements are stored along a last "
                f"axis of length {self.size}."
            )
        return jnp.zeros((*jnp.shape(y)[:-1], self.dimension), jnp.result_type(y, float))


@dataclasses.dataclass(frozen=True)
class ProductManifold:
    """The retraction of a pytree whose parts live on different manifolds.

    Attributes:
        parts: a retraction for each part, as a prefix of the parameters' pytree; `None` for ordinary parameters.

    References:
        J. Sola, J. Deray, D. Atchuthan (2018), arXiv:1812.01537, section II.

    Example:
        >>> import jax.numpy as jnp
        >>> import sparsesolve as ss
        >>> poses = ss.ProductManifold({"camera": ss.SE3(), "points": None})
        >>> y = {"camera": jnp.array([0.0, 0, 0, 0, 0, 0, 1]), "points": jnp.zeros((4, 3))}
        >>> {name: step.shape for name, step in poses.tangent(y).items()}
        {'camera': (6,), 'points': (4, 3)}
    """

    parts: Any

    def __call__(self, y: PyTree[Array], d: PyTree[Array]) -> PyTree[Array]:
        """The point reached from `y` by the tangent vector `d`."""
        return self._each(lambda part, a, b: _shifted(a, b) if part is None else part(a, b), y, d)

    def tangent(self, y: PyTree[Array]) -> PyTree[Array]:
        """A zero step from `y`."""
        return self._each(lambda part, a: _zeros(a) if part is None else _tangent(part, a), y)

    def __hash__(self) -> int:
        return hash(self._key())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProductManifold) and self._key() == other._key()

    def _key(self) -> Any:
        leaves, treedef = jtu.tree_flatten(self.parts, is_leaf=_is_part)
        return tuple(leaves), treedef

    def _each(self, function: Any, *trees: PyTree[Array]) -> PyTree[Array]:
        parts, treedef = jtu.tree_flatten(self.parts, is_leaf=_is_part)
        try:
            spread = [treedef.flatten_up_to(tree) for tree in trees]
        except ValueError:
            raise ValueError(
                f"ProductManifold got parameters of the structure {jtu.tree_structure(trees[0])} for parts "
                f"{self.parts!r}; name a retraction, or None, for each part of them."
            ) from None
        return treedef.unflatten([function(*each) for each in zip(parts, *spread, strict=True)])


def _is_part(value: Any) -> bool:
    return value is None or callable(value)


def _tangent(part: Any, y: Any) -> Any:
    return part.tangent(y) if hasattr(part, "tangent") else _zeros(y)


def _zeros(y: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.zeros(jnp.shape(leaf), jnp.result_type(leaf, float)), y)


def _shifted(y: Any, d: Any) -> Any:
    return jax.tree.map(jnp.add, y, d)
