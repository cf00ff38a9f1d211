"""What a product layout is: the seam between a matrix's CSR values and the fastest way to multiply with them.

A product `y = A v` runs in two steps. `arrange` gathers the CSR values into the order the product wants (padded
diagonals, padded rows); it is linear in the values and worth doing once when many products follow. `multiply` is the
product itself. Layouts are static and hashable; their index tables are host arrays kept beside them in a `Product`.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Inexact

Tables = tuple[np.ndarray, ...]


class AbstractLayout(abc.ABC):
    """One way to store values for products. Static: hashable by content, no arrays inside."""

    name: str

    @abc.abstractmethod
    def arrange(self, tables: Any, data: Inexact[Array, " nnz"]) -> Any:
        """The values in this layout's order: a pytree of arrays, linear in `data`."""

    @abc.abstractmethod
    def multiply(self, tables: Any, arranged: Any, v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
        """`A v`, or `A V` for a block of columns, bilinear in `arranged` and `v`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Product:
    """A layout together with its index tables: the plan of all products with one pattern."""

    layout: AbstractLayout
    tables: Tables

    @functools.cached_property
    def _device_tables(self) -> tuple[Array, ...]:
        with jax.ensure_compile_time_eval():
            return tuple(jnp.asarray(table) for table in self.tables)

    def _tables_for(self, *values: Any) -> Any:
        # Constants of an outer trace cost XLA 0.3 s a million indices when compiling, so outside a trace the tables
        # are arguments of a jitted function and already lie on the device. Inside a trace host arrays are safer:
        # they carry no device and no sharding.
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))
        # The barrier keeps XLA from computing all positions while compiling.
        return jax.lax.optimization_barrier(self.tables) if traced and self.tables else self._device_tables

    def arrange(self, data: Inexact[Array, " nnz"]) -> Any:
        """The values in the order of the layout, for many `multiply` calls."""
        return _arrange(self.layout, self._tables_for(data), data)

    def multiply(self, arranged: Any, v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
        """The product with arranged values."""
        return _multiply(self.layout, self._tables_for(arranged, v), arranged, v)

    def __call__(self, data: Inexact[Array, " nnz"], v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
        """`A v` from CSR values."""
        return _arrange_multiply(self.layout, self._tables_for(data, v), data, v)


@functools.partial(jax.jit, static_argnums=0)
def _arrange(layout: AbstractLayout, tables: Any, data: Array) -> Any:
    return layout.arrange(tables, data)


@functools.partial(jax.jit, static_argnums=0)
def _multiply(layout: AbstractLayout, tables: Any, arranged: Any, v: Array) -> Array:
    return layout.multiply(tables, arranged, v)


@functools.partial(jax.jit, static_argnums=0)
def _arrange_multiply(layout: AbstractLayout, tables: Any, data: Array, v: Array) -> Array:
    return layout.multiply(tables, layout.arrange(tables, data), v)


def gather(data: Inexact[Array, " nnz"], positions: Any) -> Inexact[Array, ...]:
    """`data[positions]` where a position past the end reads zero. Positions are distinct, also those past the end,
    so that the transpose of this gather is a scatter without collisions."""
    if data.shape[0] == 0:  # XLA refuses a gather from nothing
        return jnp.zeros(np.shape(positions), data.dtype)
    return data.at[positions].get(mode="fill", fill_value=0, unique_indices=True)


def gather_rows(
    data: Inexact[Array, " nnz"], starts: Any, stops: Any, width: int
) -> tuple[Inexact[Array, " rows"], ...]:
    """Entry k of each row, `data[starts + k]`, zero where the row is shorter; one vector for each k.

    Computed from two numbers a row instead of a table of all positions: constants are what makes XLA slow to compile.
    Separate vectors let XLA fuse all k into one loop over the rows, which reads the data in order.
    """
    missing = past_the_end(data.shape[0], starts.shape)
    return tuple(gather(data, jnp.where(starts + k < stops, starts + k, missing)) for k in range(width))


def past_the_end(nnz: int, shape: tuple[int, ...]) -> Array:
    """Distinct positions that lie past the end of the data."""
    return nnz + jnp.arange(int(np.prod(shape)), dtype=jnp.int32).reshape(shape)


def pad_positions(positions: np.ndarray, nnz: int) -> np.ndarray:
    """Replaces each -1 by a position of its own past the end (see `gather`)."""
    holes = positions < 0
    out = positions.astype(np.int32)
    out[holes] = nnz + np.arange(np.count_nonzero(holes), dtype=np.int32)
    return out


def scale_rows(coefficients: Inexact[Array, " m"], block: Inexact[Array, "m ..."]) -> Inexact[Array, "m ..."]:
    """`diag(coefficients) @ block` for a vector or a block of columns."""
    return coefficients.reshape(coefficients.shape + (1,) * (block.ndim - 1)) * block
