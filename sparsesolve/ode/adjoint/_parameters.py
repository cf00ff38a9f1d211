"""`Parameters`: the arrays of a system that a derivative moves, their tangents, and sums of their cotangents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array

from sparsesolve.ode.adjoint._reads import Reads
from sparsesolve.ode.stepping._start import start_slope
from sparsesolve.ode.system._system import StiffSystem


class Parameters:
    """Arrays of a prepared system, some of them moving. Made in every trace.

    Attributes:
        leaves: the arrays of right-hand side and mass matrix.
        moving: which of them a derivative moves.
    """

    def __init__(self, system: StiffSystem, moving: list[bool]):
        self._system = system
        self.leaves, self._treedef = jtu.tree_flatten(parameters_of(system))
        self.moving = moving
        self._count = len(jtu.tree_leaves(system.rhs))
        x = jnp.zeros((system.size,), system.dtype)
        self._reads = Reads(self._slope, [*self.leaves[: self._count], jnp.zeros(()), x])

    def replaced(self, leaves: list[Array]) -> StiffSystem:
        """The system with other arrays."""
        return with_parameters(self._system, jtu.tree_unflatten(self._treedef, leaves))

    def _slope(self, *operands: Array) -> Array:
        *leaves, t, x = operands
        return self.replaced([*leaves, *self.leaves[self._count :]]).rhs(t, x)

    def picked(self, leaves: list[Any]) -> list[Any]:
        """Those that move."""
        return [leaf for leaf, flag in zip(leaves, self.moving, strict=True) if flag]

    def _with(self, some: list[Array]) -> StiffSystem:
        chosen = iter(some)
        return self.replaced([next(chosen) if m else leaf for leaf, m in zip(self.leaves, self.moving, strict=True)])

    def tangent(self, f: Callable[..., Array], at: tuple, along: tuple, moved: list[Array]) -> Array:
        """Of `f(system, *at)`."""
        call = lambda some, *x: f(self._with(some), *x)  # noqa: E731
        return jax.jvp(call, (self.picked(self.leaves), *at), (moved, *along))[1]

    def zeros(self) -> list[Array]:
        """Sums of cotangents, nothing added yet."""
        return [jnp.zeros_like(leaf) for leaf in self.picked(self.leaves)]

    def add(self, sums: list[Array], t: Array, x: Array, slope: Array, image: Array, moved: Any) -> list[Array]:
        """The sums with the cotangents of `slope . f(t, x) + image . M moved` added."""
        if not sums:
            return sums
        ours = self.moving[: self._count]
        first = sum(ours)
        operands = [*self.leaves[: self._count], jnp.asarray(t), x]
        new = sums[:first]
        if first:
            new = self._reads.add_cotangents(operands, [*ours, False, False], slope, new)
        if len(sums) == first or moved is None:
            return [*new, *sums[first:]]
        rest = self.picked(self.leaves)[first:]
        product = lambda some: self._with([*self.picked(self.leaves)[:first], *some]).multiply_mass(moved, t, x)  # noqa: E731
        (parts,) = jax.vjp(product, rest)[1](image)
        return [*new, *(a + b for a, b in zip(sums[first:], parts, strict=True))]

    def start_tangent(self, t: Array, x: Array, step: Array, along: Array, moved: list[Array]) -> Array:
        """Of `start_slope` at `x`, along `along` and the tangents of the parameters."""
        return self.tangent(lambda s, z: start_slope(s, t, z, step), (x,), (along,), moved)

    def start_cotangents(
        self, t: Array, x: Array, step: Array, slope: Array, sums: list[Array]
    ) -> tuple[Array, list[Array]]:
        """Cotangents through `start_slope`: of `x`, and those of the parameters added to `sums`."""
        system = self._system
        if system.mass is None:
            (moved,) = jax.vjp(lambda z: system.rhs(t, z), x)[1](slope)
            return moved, self.add(sums, t, x, slope, slope, None)
        slopes = lambda some, z: start_slope(self._with(some), t, z, step)  # noqa: E731
        parts, moved = jax.vjp(slopes, self.picked(self.leaves), x)[1](slope)
        return moved, [a + b for a, b in zip(sums, parts, strict=True)]


def parameters_of(system: StiffSystem) -> Any:
    """The arrays that right-hand side and mass matrix are made of."""
    return eqx.filter((system.rhs, system.mass), eqx.is_array)


def with_parameters(system: StiffSystem, parameters: Any) -> StiffSystem:
    """The system with these."""
    static = eqx.filter((system.rhs, system.mass), eqx.is_array, inverse=True)
    rhs, mass = eqx.combine(parameters, static)
    return StiffSystem(rhs, mass, system.linear_solver, system.plan)
