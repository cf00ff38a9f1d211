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
        self._reads: dict[Any, Reads] = {}

    def replaced(self, leaves: list[Array]) -> StiffSystem:
        """The system with other arrays."""
        return with_parameters(self._system, jtu.tree_unflatten(self._treedef, leaves))

    def _slope(self, *operands: Array) -> Array:
        *leaves, t, x = operands
        rhs = self.replaced([*leaves, *self.leaves[self._count :]]).rhs
        return jax.vmap(rhs)(t, x) if x.ndim == 2 else rhs(t, x)

    def _products(self, *operands: Array) -> Array:
        *leaves, t, x, t_dots, x_dots = operands
        rhs = self.replaced([*leaves, *self.leaves[self._count :]]).rhs
        return jax.vmap(lambda s, v: jax.jvp(rhs, (t, x), (s, v))[1])(t_dots, x_dots)

    def _reads_of(self, f: Any, operands: list[Array]) -> Reads:
        key = (f.__name__, *(jnp.shape(x) for x in operands[self._count :]))
        if key not in self._reads:
            self._reads[key] = Reads(f, [_struct(x) for x in operands])
        return self._reads[key]

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
        """The sums with the cotangents of `slope . f(t, x) + image . M moved` added; all of them may be rows, one for
        each of some stages."""
        if not sums:
            return sums
        ours = self.moving[: self._count]
        first = sum(ours)
        operands = [*self.leaves[: self._count], jnp.asarray(t), x]
        new = sums[:first]
        if first:
            reads = self._reads_of(self._slope, operands)
            new = reads.add_cotangents(operands, [*ours, False, False], slope, new)
        if len(sums) == first or moved is None:
            return [*new, *sums[first:]]
        rest = self.picked(self.leaves)[first:]

        def product(some: list[Array]) -> Array:
            multiply = self._with([*self.picked(self.leaves)[:first], *some]).multiply_mass
            return jax.vmap(multiply)(moved, t, x) if x.ndim == 2 else multiply(moved, t, x)

        (parts,) = jax.vjp(product, rest)[1](image)
        return [*new, *(a + b for a, b in zip(sums[first:], parts, strict=True))]

    def add_products(
        self, sums: list[Array], t: Array, x: Array, t_dots: Array, x_dots: Array, weights: Array
    ) -> tuple[Array, list[Array]]:
        """The cotangent of x, and the sums with those of the parameters added, by `sum_i weights_i . f'(t_i', x_i')`,
        f' the derivative of f at `(t, x)` along rows of directions."""
        ours = self.moving[: self._count]
        first = sum(ours)
        operands = [*self.leaves[: self._count], jnp.asarray(t), x, t_dots, x_dots]
        wanted = [*ours, False, True, False, False]
        reads = self._reads_of(self._products, operands)
        *new, moved = reads.add_cotangents(operands, wanted, weights, [*sums[:first], jnp.zeros_like(x)])
        return moved, [*new, *sums[first:]]

    def start_tangent(
        self, t: Array, x: Array, step: Array, along: Array, moved: list[Array], slope_at: Any = start_slope
    ) -> Array:
        """Of `start_slope` at `x`, along `along` and the tangents of the parameters."""
        return self.tangent(lambda s, z: slope_at(s, t, z, step), (x,), (along,), moved)

    def start_cotangents(
        self, t: Array, x: Array, step: Array, slope: Array, sums: list[Array], slope_at: Any = start_slope
    ) -> tuple[Array, list[Array]]:
        """Cotangents through `start_slope`: of `x`, and those of the parameters added to `sums`."""
        system = self._system
        if system.mass is None:
            (moved,) = jax.vjp(lambda z: system.rhs(t, z), x)[1](slope)
            return moved, self.add(sums, t, x, slope, slope, None)
        slopes = lambda some, z: slope_at(self._with(some), t, z, step)  # noqa: E731
        parts, moved = jax.vjp(slopes, self.picked(self.leaves), x)[1](slope)
        return moved, [a + b for a, b in zip(sums, parts, strict=True)]


def _struct(x: Any) -> Any:
    weak = getattr(getattr(x, "aval", None), "weak_type", False)
    return jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x), weak_type=weak)


def parameters_of(system: StiffSystem) -> Any:
    """The arrays that right-hand side and mass matrix are made of."""
    return eqx.filter((system.rhs, system.mass), eqx.is_array)


def with_parameters(system: StiffSystem, parameters: Any) -> StiffSystem:
    """The system with these."""
    static = eqx.filter((system.rhs, system.mass), eqx.is_array, inverse=True)
    rhs, mass = eqx.combine(parameters, static)
    return StiffSystem(rhs, mass, system.linear_solver, system.plan)
