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
from sparsesolve.ode.system._system import StiffSystem


class Parameters:
    """Arrays of a prepared system, some of them moving. Made in every trace.

    Attributes:
        leaves: the arrays of right-hand side, explicit part of it, and mass matrix.
        moving: which of them a derivative moves.
    """

    def __init__(self, system: StiffSystem, moving: list[bool]):
        self._system = system
        self.leaves, self._treedef = jtu.tree_flatten(parameters_of(system))
        self.moving = moving
        ends = [len(jtu.tree_leaves(part)) for part in (system.rhs, (system.rhs, system.explicit))]
        self._rhs, self._explicit = slice(0, ends[0]), slice(*ends)
        self._mass = slice(ends[1], len(self.leaves))
        self._reads: dict[Any, Reads] = {}

    def replaced(self, leaves: list[Array], part: slice) -> StiffSystem:
        """The system with other arrays in one of its parts."""
        whole = [*self.leaves[: part.start], *leaves, *self.leaves[part.stop :]]
        return with_parameters(self._system, jtu.tree_unflatten(self._treedef, whole))

    def _slope(self, *operands: Array) -> Array:
        *leaves, t, x = operands
        return _rows(self.replaced(leaves, self._rhs).rhs, t, x)

    def _explicit_slope(self, *operands: Array) -> Array:
        *leaves, t, x = operands
        return _rows(self.replaced(leaves, self._explicit).explicit, t, x)

    def _products(self, *operands: Array) -> Array:
        *leaves, t, x, t_dots, x_dots = operands
        rhs = self.replaced(leaves, self._rhs).rhs
        return jax.vmap(lambda s, v: jax.jvp(rhs, (t, x), (s, v))[1])(t_dots, x_dots)

    def picked(self, leaves: list[Any]) -> list[Any]:
        """Those that move."""
        return [leaf for leaf, flag in zip(leaves, self.moving, strict=True) if flag]

    def _with(self, some: list[Array]) -> StiffSystem:
        chosen = iter(some)
        leaves = [next(chosen) if m else leaf for leaf, m in zip(self.leaves, self.moving, strict=True)]
        return self.replaced(leaves, slice(0, len(leaves)))

    def tangent(self, f: Callable[..., Array], at: tuple, along: tuple, moved: list[Array]) -> Array:
        """Of `f(system, *at)`."""
        return self.value_and_tangent(f, at, along, moved)[1]

    def value_and_tangent(
        self, f: Callable[..., Array], at: tuple, along: tuple, moved: list[Array]
    ) -> tuple[Array, Array]:
        """`f(system, *at)` and its tangent."""
        call = lambda some, *x: f(self._with(some), *x)  # noqa: E731
        return jax.jvp(call, (self.picked(self.leaves), *at), (moved, *along))

    def cotangents(
        self, f: Callable[..., Array], x: Array, cotangent: Array, sums: list[Array]
    ) -> tuple[Array, list[Array]]:
        """Of `f(system, x)`: that of x, and those of the parameters added to `sums`, as whole arrays."""
        call = lambda some, z: f(self._with(some), z)  # noqa: E731
        parts, moved = jax.vjp(call, self.picked(self.leaves), x)[1](cotangent)
        return moved, [a + b for a, b in zip(sums, parts, strict=True)]

    def start_cotangents(
        self, slope_at: Callable[..., Array], t: Array, x: Array, cotangent: Array, sums: list[Array]
    ) -> tuple[Array, list[Array]]:
        """Of `slope_at(system, x)`, the slope y' at `t`: as `cotangents`; without a mass matrix it is f."""
        system = self._system
        if system.mass is not None:
            return self.cotangents(slope_at, x, cotangent, sums)
        (moved,) = jax.vjp(lambda z: system.rhs(t, z), x)[1](cotangent)
        return moved, self.add(sums, t, x, cotangent, cotangent, None)

    def zeros(self) -> list[Array]:
        """Sums of cotangents, nothing added yet."""
        return [jnp.zeros_like(leaf) for leaf in self.picked(self.leaves)]

    def add(self, sums: list[Array], t: Array, x: Array, slope: Array, image: Array, moved: Any) -> list[Array]:
        """The sums with the cotangents of `slope . f(t, x) + image . M moved` added; all of them may be rows, one for
        each of some stages."""
        sums, _ = self._added(self._slope, self._rhs, sums, (t, x), slope, [])
        place = self._place(self._mass)
        if place.start == place.stop or moved is None:
            return sums
        chosen = self.picked(self.leaves)

        def product(some: list[Array]) -> Array:
            multiply = self._with([*chosen[: place.start], *some]).multiply_mass
            return jax.vmap(multiply)(moved, t, x) if x.ndim == 2 else multiply(moved, t, x)

        (parts,) = jax.vjp(product, chosen[place])[1](image)
        return [*sums[: place.start], *(a + b for a, b in zip(sums[place], parts, strict=True))]

    def add_explicit(self, sums: list[Array], t: Array, x: Array, slope: Array) -> list[Array]:
        """The sums with the cotangents of `slope . f(t, x)` added, f the explicit part; rows as in `add`."""
        return self._added(self._explicit_slope, self._explicit, sums, (t, x), slope, [])[0]

    def add_products(
        self, sums: list[Array], t: Array, x: Array, t_dots: Array, x_dots: Array, weights: Array
    ) -> tuple[Array, list[Array]]:
        """The cotangent of x, and the sums with those of the parameters added, by `sum_i weights_i . f'(t_i', x_i')`,
        f' the derivative of f at `(t, x)` along rows of directions."""
        sums, (moved,) = self._added(self._products, self._rhs, sums, (t, x, t_dots, x_dots), weights, [1])
        return moved, sums

    def _place(self, part: slice) -> slice:
        """Of a part's arrays, among those that move."""
        return slice(sum(self.moving[: part.start]), sum(self.moving[: part.stop]))

    def _added(
        self, f: Any, part: slice, sums: list[Array], at: tuple, cotangent: Array, wanted: list[int]
    ) -> tuple[list[Array], list[Array]]:
        """`sums` with the cotangents of `f(*leaves of the part, *at)` added, and those of the wanted of `at`."""
        place = self._place(part)
        if place.start == place.stop and not wanted:
            return sums, []
        operands = [*self.leaves[part], jnp.asarray(at[0]), *at[1:]]
        flags = [*self.moving[part], *(k in wanted for k in range(len(at)))]
        key = (f.__name__, *(jnp.shape(x) for x in at))
        if key not in self._reads:
            self._reads[key] = Reads(f, [_struct(x) for x in operands])
        old = [*sums[place], *(jnp.zeros_like(at[k]) for k in wanted)]
        new = self._reads[key].add_cotangents(operands, flags, cotangent, old)
        count = place.stop - place.start
        return [*sums[: place.start], *new[:count], *sums[place.stop :]], new[count:]


def _rows(f: Any, t: Array, x: Array) -> Array:
    return jax.vmap(f)(t, x) if x.ndim == 2 else f(t, x)


def _struct(x: Any) -> Any:
    weak = getattr(getattr(x, "aval", None), "weak_type", False)
    return jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x), weak_type=weak)


def parameters_of(system: StiffSystem) -> Any:
    """The arrays that right-hand side, explicit part and mass matrix are made of."""
    return eqx.filter((system.rhs, system.explicit, system.mass), eqx.is_array)


def with_parameters(system: StiffSystem, parameters: Any) -> StiffSystem:
    """The system with these."""
    static = eqx.filter((system.rhs, system.explicit, system.mass), eqx.is_array, inverse=True)
    rhs, explicit, mass = eqx.combine(parameters, static)
    return StiffSystem(rhs, mass, system.linear_solver, system.plan, explicit)
