"""What `root_find` refuses, and what it says: what was seen, why it cannot work, what to write instead."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from sparsesolve._tree import Structure


def check_residual(y: Structure, residual: Structure) -> None:
    """Refuses systems that are not square, leaf by leaf.

    Raises:
        ValueError: naming both structures.
    """
    if residual.size != y.size:
        raise ValueError(
            f"root_find got a function with {residual.size} residuals for {y.size} unknowns:\n"
            f"  unknowns:  {_described(y)}\n  residuals: {_described(residual)}\n"
            "A root is determined by as many equations as unknowns. To minimize the sum of squared residuals "
            "use least_squares."
        )
    if (y.treedef, y.shapes) != (residual.treedef, residual.shapes):
        raise ValueError(
            "root_find got a function whose residual has another structure than the unknowns:\n"
            f"  unknowns:  {_described(y)}\n  residuals: {_described(residual)}\n"
            "Return one residual for each unknown, in the same pytree with the same shapes."
        )
    for name, a, b in zip(y.names, y.dtypes, residual.dtypes, strict=True):
        if not jnp.issubdtype(b, jnp.inexact):
            raise TypeError(
                f"root_find got an {b} residual{name}: it changes in jumps and has no derivative. "
                "Compute it in floating point."
            )
        if jnp.issubdtype(a, jnp.complexfloating) != jnp.issubdtype(b, jnp.complexfloating):
            raise TypeError(
                f"root_find got {a} unknowns y{name} with a {b} residual. Complex systems must be holomorphic, "
                "complex to complex; otherwise write real and imaginary parts as separate real unknowns and equations."
            )


def _described(structure: Structure) -> str:
    leaves = [
        jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in zip(structure.shapes, structure.dtypes, strict=True)
    ]
    short = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves]
    return str(jtu.tree_unflatten(structure.treedef, [_Bare(text) for text in short]))


class _Bare(str):
    """A string that prints without quotes inside containers."""

    def __repr__(self) -> str:
        return str(self)
