"""What a product layout is: the seam between a matrix's CSR values and the fastest way to multiply with them.

A product `y = A v` runs in two steps. `arrange` gathers the CSR values into the order the product wants (padded
diagonals, padded rows); it is linear in the values and worth doing once when many products follow. `multiply` is the
product itself. Layouts are static and hashable; their index tables are host arrays kept beside them in a `Product`
(see `_prepared`). A layout may also have a kernel compiled for the CPU (see `_primitive`).
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact


class AbstractLayout(abc.ABC):
    """One way to store values for products. Static: hashable by content, no arrays inside."""

    name: str
    shape: tuple[int, int]  # of the matrix: length of the product, length of the vector

    @abc.abstractmethod
    def arrange(self, tables: Any, data: Inexact[Array, " nnz"]) -> Any:
        """The values in this layout's order: a pytree of arrays, linear in `data`."""

    @abc.abstractmethod
    def multiply(self, tables: Any, arranged: Any, v: Inexact[Array, "n ..."]) -> Inexact[Array, "m ..."]:
        """`A v`, or `A V` for a block of columns, bilinear in `arranged` and `v`."""

    @abc.abstractmethod
    def nested(self, leaves: Sequence[Array]) -> Any:
        """The arranged values from their leaves."""

    def transposed(self) -> AbstractLayout | None:
        """The layout of `A^T` on the same tables and the same arranged values, if there is one."""
        return None

    @abc.abstractmethod
    def has_kernel(self) -> bool:
        """Whether there is a compiled kernel."""

    @abc.abstractmethod
    def kernel(
        self, tables: Any, values: Sequence[Array], v: Inexact[Array, "members n k"]
    ) -> Inexact[Array, "members m k"]:
        """The product by the compiled kernel; `values`, the leaves, have a leading axis of length 1 or `members`."""


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
