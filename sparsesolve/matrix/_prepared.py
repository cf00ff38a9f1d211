"""`Product`: a layout with its index tables, the plan of all products with one pattern.

Products go to kernels compiled for the CPU where there are any (see `_primitive`), to plain JAX elsewhere. Host-side;
its methods are traced.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Inexact

from sparsesolve.matrix import _native_product
from sparsesolve.matrix._base import AbstractLayout
from sparsesolve.matrix._primitive import fast_product

Tables = tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Product:
    """A layout together with its index tables: the plan of all products with one pattern."""

    layout: AbstractLayout
    tables: Tables

    @functools.cached_property
    def _device_tables(self) -> tuple[Array, ...]:
        with jax.ensure_compile_time_eval():
            return tuple(jax.device_put(self.tables))

    def _tables_for(self, *values: Any) -> Any:
        # Constants of an outer trace cost XLA 0.3 s a million indices when compiling, so outside a trace the tables
        # are arguments of a jitted function and already lie on the device. Inside a trace host arrays are safer:
        # they carry no device and no sharding.
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))
        # The barrier keeps XLA from computing all positions while compiling.
        return jax.lax.optimization_barrier(self.tables) if traced and self.tables else self._device_tables

    def transposed(self) -> Product:
        """The plan of products with the transpose on the same tables and arranged values, for layouts that allow it."""
        layout = self.layout.transposed()
        if layout is None:
            raise NotImplementedError(f"The layout {self.layout.name} has no transpose on the same values.")
        return Product(layout, self.tables)

    def arrange(self, data: Inexact[Array, " nnz"]) -> Any:
        """The values in the order of the layout, for many `multiply` calls."""
        return _arrange(self.layout, self._tables_for(data), data)

    def multiply(self, arranged: Any, v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
        """The product with arranged values."""
        return _multiply(self.layout, _native_product.usable(), self._tables_for(arranged, v), arranged, v)

    def __call__(self, data: Inexact[Array, " nnz"], v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
        """`A v` from CSR values."""
        return _arrange_multiply(self.layout, _native_product.usable(), self._tables_for(data, v), data, v)


@functools.partial(jax.jit, static_argnums=0)
def _arrange(layout: AbstractLayout, tables: Any, data: Array) -> Any:
    return layout.arrange(tables, data)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _multiply(layout: AbstractLayout, native: bool, tables: Any, arranged: Any, v: Array) -> Array:
    fast = fast_product(layout, tables, jax.tree.leaves(arranged), v) if native else None
    return layout.multiply(tables, arranged, v) if fast is None else fast


@functools.partial(jax.jit, static_argnums=(0, 1))
def _arrange_multiply(layout: AbstractLayout, native: bool, tables: Any, data: Array, v: Array) -> Array:
    return _multiply(layout, native, tables, layout.arrange(tables, data), v)
