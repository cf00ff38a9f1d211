"""Arguments of a user function, split into unknowns, other data and static configuration. Plan side.

The unknowns `x` are the differentiated arguments; floats and arrays elsewhere are parameters `p`; integers, strings,
callables and the like are configuration: a change of those means another plan.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.core import Tracer

from sparsesolve._tree import StaticLeaves, Structure, is_traced_leaf


@dataclasses.dataclass(frozen=True, eq=False)
class Arguments:
    """One set of arguments.

    Attributes:
        unknowns: leaves of the differentiated arguments (arrays, tracers or `jax.ShapeDtypeStruct`).
        parameters: the other data leaves.
        structure: of the unknowns.
        static: treedef and configuration leaves of all other arguments.
    """

    unknowns: list[Any]
    parameters: list[Any]
    structure: Structure
    static: StaticLeaves

    @property
    def key(self) -> tuple[Any, ...]:
        """What a plan is specialised to: structures, shapes, dtypes and configuration."""
        leaves = (*self.unknowns, *self.parameters)
        return (self.structure, self.static, tuple((_abstract(v).dtype, _abstract(v).weak_type) for v in leaves))

    @property
    def abstract(self) -> tuple[list[Any], list[Any]]:
        """Shapes and dtypes of the unknowns and the parameters."""
        return [_abstract(v) for v in self.unknowns], [_abstract(v) for v in self.parameters]

    @property
    def is_concrete(self) -> bool:
        """Whether every leaf has a value now."""
        leaves = (*self.unknowns, *self.parameters)
        return not any(isinstance(v, Tracer | jax.ShapeDtypeStruct) for v in leaves)


def split_arguments(args: Sequence[Any], argnums: int | tuple[int, ...], caller: str) -> Arguments:
    """Splits arguments; refuses unknowns that cannot be differentiated."""
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if not all(-len(args) <= i < len(args) for i in positions):
        raise ValueError(
            f"{caller} got argnums={argnums} but {len(args)} argument{'s' * (len(args) != 1)}; "
            "argnums counts from 0 and names the argument to differentiate."
        )
    positions = tuple(i % len(args) for i in positions)
    chosen = args[positions[0]] if isinstance(argnums, int) else tuple(args[i] for i in positions)
    rest = [None if i in positions else arg for i, arg in enumerate(args)]
    unknowns = [_as_unknown(path, leaf, caller) for path, leaf in jtu.tree_flatten_with_path(chosen)[0]]
    structure = Structure.of(jtu.tree_unflatten(jtu.tree_structure(chosen), unknowns))
    leaves, treedef = jtu.tree_flatten(rest)
    traced = tuple(_is_data(leaf) for leaf in leaves)
    parameters = [_as_array(leaf) for leaf, flag in zip(leaves, traced, strict=True) if flag]
    configuration = tuple(None if flag else leaf for leaf, flag in zip(leaves, traced, strict=True))
    return Arguments(unknowns, parameters, structure, StaticLeaves(treedef, configuration, traced))


def normal_argnums(argnums: int | tuple[int, ...], args: Sequence[Any]) -> int | tuple[int, ...]:
    """`argnums` without negative numbers."""
    if isinstance(argnums, int):
        return argnums % len(args)
    return tuple(i % len(args) for i in argnums)


def flat_function(
    f: Callable[..., Any], arguments: Arguments, argnums: int | tuple[int, ...]
) -> Callable[[list[Any], list[Any]], Any]:
    """`f` as a function of the leaves of the unknowns and of the parameters."""
    structure, static = arguments.structure, arguments.static

    def flat(unknowns: list[Any], parameters: list[Any]) -> Any:
        chosen = jtu.tree_unflatten(structure.treedef, unknowns)
        args = list(static.combine(parameters))
        if isinstance(argnums, int):
            args[argnums] = chosen
        else:
            for i, value in zip(argnums, chosen, strict=True):
                args[i] = value
        return f(*args)

    return flat


def check_same_shapes(prepared: Arguments, now: Arguments, caller: str) -> None:
    """Refuses arguments that the plan was not made for; other dtypes are fine."""
    pairs = (
        ("unknowns", prepared.structure.treedef, now.structure.treedef, prepared.unknowns, now.unknowns),
        ("other arguments", prepared.static.treedef, now.static.treedef, prepared.parameters, now.parameters),
    )
    for what, old_tree, new_tree, old, new in pairs:
        old_shapes, new_shapes = [tuple(v.shape) for v in old], [tuple(v.shape) for v in new]
        if old_tree != new_tree or len(old) != len(new):
            raise ValueError(
                f"This {caller} was prepared for {what} of structure {old_tree} and got {new_tree}; its sparsity "
                f"pattern belongs to one structure, so prepare another with {caller}(f, *args)."
            )
        if old_shapes != new_shapes:
            raise ValueError(
                f"This {caller} was prepared for {what} of shapes {old_shapes} and got {new_shapes}; its sparsity "
                f"pattern belongs to one size, so prepare another with {caller}(f, *args)."
            )


def _is_data(leaf: Any) -> bool:
    return is_traced_leaf(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _as_array(leaf: Any) -> Any:
    return leaf if isinstance(leaf, jax.ShapeDtypeStruct) else jnp.asarray(leaf)


def _as_unknown(path: Any, leaf: Any, caller: str) -> Any:
    if isinstance(leaf, bool | int) or not (_is_data(leaf) or hasattr(leaf, "dtype")):
        kind = type(leaf).__name__
    else:
        array = _as_array(leaf)
        if jnp.issubdtype(array.dtype, jnp.inexact):
            return array
        kind = f"dtype {array.dtype}"
    raise TypeError(
        f"{caller} got unknowns{jtu.keystr(path)} of {kind}: derivatives need floating or complex numbers, "
        "so write jnp.asarray(x, float), or pass it as an argument outside argnums."
    )


def _abstract(leaf: Any) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, weak_type=bool(getattr(leaf, "weak_type", False)))
