"""Static descriptions of pytrees: what is traced, what is not, and how leaves line up in one flat vector.

Every layer above speaks of "column 17" or "residual 3": those are positions in the concatenation of the
raveled leaves of a pytree, in `jax.tree_util` order. `Structure` is that correspondence, host-side, hashable.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.core import Tracer


def is_traced_leaf(leaf: Any) -> bool:
    """Whether a leaf of user arguments is data (traced) rather than configuration (static).

    Arrays, and Python floats and complex numbers, are data. Python integers, booleans, strings, callables and
    everything else are configuration: a change of value means a new plan.
    """
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | float | complex)


@dataclasses.dataclass(frozen=True)
class StaticLeaves:
    """The treedef and the configuration leaves of a pytree of user arguments. Hashable when its leaves are."""

    treedef: Any
    leaves: tuple[Any, ...]  # None where the leaf is data
    traced: tuple[bool, ...]

    def __hash__(self) -> int:
        return hash((self.treedef, self.traced, tuple(_hashable(leaf) for leaf in self.leaves)))

    def combine(self, data: Sequence[Any]) -> Any:
        """The pytree again, with `data` in place of its data leaves."""
        values = iter(data)
        leaves = [next(values) if traced else leaf for traced, leaf in zip(self.traced, self.leaves, strict=True)]
        leaves = [leaf.value if isinstance(leaf, FixedArray) else leaf for leaf in leaves]
        return jtu.tree_unflatten(self.treedef, leaves)


def _hashable(leaf: Any) -> Any:
    try:
        hash(leaf)
    except TypeError:
        return id(leaf)
    return (type(leaf), leaf)


class FixedArray:
    """A concrete array as configuration: hashable, compared by content."""

    def __init__(self, value: Any):
        self.value = np.array(value)
        self.value.flags.writeable = False
        content = hashlib.blake2b(np.ascontiguousarray(self.value).data, digest_size=16).digest()
        self._key = (self.value.shape, self.value.dtype, content)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FixedArray) and self._key == other._key


def fix_indices(tree: Any) -> Any:
    """The tree with its concrete arrays of signed integers as configuration (see `FixedArray`).

    Such arrays are mostly indices (a mesh's connectivity), and which entries a Jacobian has depends on their values.
    Scalars, unsigned integers (random keys) and traced arrays stay data.
    """

    def fixed(leaf: Any) -> Any:
        concrete = isinstance(leaf, jax.Array | np.ndarray) and not isinstance(leaf, Tracer)
        is_index = concrete and leaf.ndim > 0 and jnp.issubdtype(leaf.dtype, jnp.signedinteger)
        return FixedArray(leaf) if is_index else leaf

    return jtu.tree_map(fixed, tree)


def partition(tree: Any) -> tuple[list[jax.Array], StaticLeaves]:
    """Splits user arguments into arrays to trace and a static remainder (see `is_traced_leaf`)."""
    leaves, treedef = jtu.tree_flatten(tree)
    traced = tuple(is_traced_leaf(leaf) for leaf in leaves)
    found = (leaf for leaf, flag in zip(leaves, traced, strict=True) if flag)
    data = [leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf) for leaf in found]
    static = tuple(None if flag else leaf for leaf, flag in zip(leaves, traced, strict=True))
    return data, StaticLeaves(treedef, static, traced)


@dataclasses.dataclass(frozen=True)
class Structure:
    """Shapes, dtypes and order of the array leaves of a pytree; the flat vector is their concatenation."""

    treedef: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[np.dtype, ...]
    names: tuple[str, ...]  # path of each leaf, as `jax.tree_util.keystr` prints it

    @classmethod
    def of(cls, tree: Any) -> Structure:
        """Describes a pytree of arrays or of `jax.ShapeDtypeStruct`."""
        paths, treedef = jtu.tree_flatten_with_path(tree)
        leaves = [leaf if hasattr(leaf, "shape") and hasattr(leaf, "dtype") else jnp.asarray(leaf) for _, leaf in paths]
        return cls(
            treedef,
            tuple(tuple(leaf.shape) for leaf in leaves),
            tuple(np.dtype(leaf.dtype) for leaf in leaves),
            tuple(jtu.keystr(path) for path, _ in paths),
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(math.prod(shape) for shape in self.shapes)

    @property
    def size(self) -> int:
        return sum(self.sizes)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the flat vector: the promotion of the leaves' dtypes."""
        return np.dtype(jnp.result_type(*self.dtypes)) if self.dtypes else np.dtype(jnp.result_type(float))

    def ravel(self, tree: Any) -> jax.Array:
        """The flat vector of a pytree with this structure."""
        leaves = jtu.tree_leaves(tree)
        if not leaves:
            return jnp.zeros((0,), self.dtype)
        return jnp.concatenate([jnp.ravel(leaf).astype(self.dtype) for leaf in leaves])

    def unravel(self, vector: Any) -> Any:
        """The pytree of a flat vector; each leaf gets its own dtype back."""
        stops = np.cumsum((0, *self.sizes))
        leaves = [
            vector[start:stop].reshape(shape).astype(dtype)
            for start, stop, shape, dtype in zip(stops[:-1], stops[1:], self.shapes, self.dtypes, strict=True)
        ]
        return jtu.tree_unflatten(self.treedef, leaves)

    def locate(self, position: int) -> str:
        """Where a position of the flat vector lives, for error messages: `['u'][3, 4]`."""
        for name, shape, size in zip(self.names, self.shapes, self.sizes, strict=True):
            if position < size:
                index = ", ".join(str(int(i)) for i in np.unravel_index(position, shape)) if shape else ""
                return f"{name}[{index}]" if index else (name or "the scalar")
            position -= size
        raise IndexError(f"position {position} lies outside a vector of {self.size} entries")
