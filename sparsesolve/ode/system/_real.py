"""`RealStructure`: the state of a differential equation as one flat real vector. Host-side, hashable.

A complex leaf becomes two real leaves, its real and its imaginary part, so that a right-hand side such as |y|^2 y,
which is not holomorphic, has a Jacobian like any other.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, Float, PyTree

from sparsesolve._tree import Structure
from sparsesolve.pattern import SparsityPattern


@dataclasses.dataclass(frozen=True)
class RealStructure:
    """How a pytree of floating or complex arrays lines up in a real vector.

    Attributes:
        structure: of the pytree itself.
    """

    structure: Structure

    @classmethod
    def of(cls, tree: PyTree) -> RealStructure:
        """Describes a pytree of arrays or of `jax.ShapeDtypeStruct`."""
        return cls(Structure.of(tree))

    @property
    def is_complex(self) -> tuple[bool, ...]:
        """Which leaves are complex."""
        return tuple(jnp.issubdtype(dtype, jnp.complexfloating) for dtype in self.structure.dtypes)

    @property
    def size(self) -> int:
        """Length of the real vector."""
        sizes = zip(self.structure.sizes, self.is_complex, strict=True)
        return sum(2 * size if flag else size for size, flag in sizes)

    @property
    def dtype(self) -> np.dtype:
        """Of the real vector."""
        return np.dtype(jnp.finfo(self.structure.dtype).dtype)

    def parts(self, tree: PyTree) -> list[Array]:
        """The real leaves."""
        out: list[Array] = []
        for leaf, flag in zip(jtu.tree_leaves(tree), self.is_complex, strict=True):
            out += [jnp.real(leaf), jnp.imag(leaf)] if flag else [jnp.asarray(leaf)]
        return out

    def assemble(self, parts: list[Array]) -> PyTree:
        """The pytree of its real leaves."""
        values = iter(parts)
        leaves = [jax.lax.complex(next(values), next(values)) if flag else next(values) for flag in self.is_complex]
        return jtu.tree_unflatten(self.structure.treedef, leaves)

    def ravel(self, tree: PyTree) -> Float[Array, " n"]:
        """The real vector of a pytree."""
        return self.join(self.parts(tree))

    def join(self, parts: list[Array]) -> Float[Array, " n"]:
        """The real vector of real leaves."""
        if not parts:
            return jnp.zeros((0,), self.dtype)
        return jnp.concatenate([jnp.ravel(part).astype(self.dtype) for part in parts])

    def split(self, vector: Float[Array, " n"]) -> list[Array]:
        """The real leaves of a real vector, each with its own dtype."""
        out: list[Array] = []
        start = 0
        for shape, dtype, flag in zip(self.structure.shapes, self.structure.dtypes, self.is_complex, strict=True):
            size = int(np.prod(shape, dtype=int))
            for _ in range(2 if flag else 1):
                out.append(vector[start : start + size].reshape(shape).astype(jnp.finfo(dtype).dtype))
                start += size
        return out

    def unravel(self, vector: Float[Array, " n"]) -> PyTree:
        """The pytree of a real vector."""
        return self.assemble(self.split(vector))

    def positions(self) -> tuple[np.ndarray, np.ndarray]:
        """For every component of the pytree, where its real part is, and its imaginary part (-1: it has none)."""
        real, imaginary, start = [], [], 0
        for size, flag in zip(self.structure.sizes, self.is_complex, strict=True):
            here = start + np.arange(size)
            real.append(here)
            imaginary.append(here + size if flag else np.full(size, -1))
            start += 2 * size if flag else size
        empty = np.zeros(0, int)
        return np.concatenate([empty, *real]), np.concatenate([empty, *imaginary])

    def expand(self, pattern: SparsityPattern) -> SparsityPattern:
        """The pattern between real vectors where `pattern` is given between components of the pytree."""
        if not any(self.is_complex) or pattern.shape != (self.structure.size,) * 2:
            return pattern
        maps = self.positions()
        rows = [a[pattern.rows] for a in maps for _ in maps]
        columns = [b[pattern.indices] for _ in maps for b in maps]
        i, j = np.concatenate(rows), np.concatenate(columns)
        there = (i >= 0) & (j >= 0)
        return SparsityPattern.from_coo(i[there], j[there], (self.size, self.size))

    def locate(self, position: int) -> str:
        """Where a position of the real vector lives in the pytree, for messages."""
        real, imaginary = self.positions()
        found = np.flatnonzero((real == position) | (imaginary == position))
        return self.structure.locate(int(found[0]))
