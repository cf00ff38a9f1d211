"""`detect_sparsity`: the pattern of a function's Jacobian, from the jaxpr of its JVP.

The function is traced, never run. Analysing the JVP instead of the function itself makes custom derivative rules,
`stop_gradient` and the like agree with what is differentiated: entry (i, j) can be nonzero only if tangent j reaches
output tangent i. Values of arguments are never used, so the pattern holds for all of them; constants that
the function closes over (index arrays, masks, stencils) are. Cost: one trace, and a walk that acts on int32 index
maps (see `_dependence`); for stencils and finite elements a few passes over the unknowns.
"""

from __future__ import annotations

import contextvars
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from sparsesolve._tree import is_traced_leaf
from sparsesolve.pattern import rules as rules  # fills the registry
from sparsesolve.pattern._dependence import columns, row_bound, to_csr
from sparsesolve.pattern._equation import inner_jaxpr
from sparsesolve.pattern._interpret import Analysis
from sparsesolve.pattern._known import Known
from sparsesolve.pattern._pattern import SparsityPattern

_MAX_ENTRIES = 2**31 - 1

most_entries: contextvars.ContextVar[int] = contextvars.ContextVar("most_entries", default=_MAX_ENTRIES)
"""More entries than this are refused before any are listed; set by those who can do without a pattern."""


class TooManyEntriesError(ValueError):
    """A Jacobian has more entries than are allowed."""


def detect_sparsity(
    f: Callable[..., Any], *args: Any, argnums: int | Sequence[int] = 0, has_aux: bool = False, **kwargs: Any
) -> SparsityPattern:
    """The sparsity pattern of the Jacobian of `f(*args, **kwargs)` with respect to `args[argnums]`.

    Host-side; traces `f` on the shapes and dtypes of its arguments without running it. Works inside `jit`, `vmap`
    and `grad`, and on functions that close over their tracers. The pattern is valid for all values of all arrays and
    floats among the arguments (arrays that steer indexing should therefore be closed over, not passed); integers,
    booleans, strings and callables are taken as they are.

    Args:
        f: a function of pytrees of arrays; returns a pytree of arrays (with `has_aux`, a pair of it and anything).
        *args: arrays, tracers or `jax.ShapeDtypeStruct`s in pytrees.
        argnums: position, or positions, of the arguments to differentiate; their leaves must be floats or complex.
        has_aux: whether `f` returns `(out, aux)`; `aux` is ignored.
        **kwargs: passed to `f`, not differentiated.

    Returns:
        Rows are the raveled leaves of the output, columns those of the differentiated arguments, in
        `jax.tree_util` order.

    Raises:
        ValueError: a differentiated leaf is not inexact, an `argnums` does not exist, or the pattern is so dense
            that it has more than 2^31 - 1 entries.

    Warns:
        SparsityWarning: a primitive without a rule was taken as dense (see `register_sparsity_rule`).

    ??? example

        ```python
        >>> import jax.numpy as jnp
        >>> detect_sparsity(lambda u: u[1:] * u[:-1], jnp.ones(4)).to_scipy().toarray()
        array([[1, 1, 0, 0],
               [0, 1, 1, 0],
               [0, 0, 1, 1]], dtype=int8)

        ```
    """
    chosen = _positions(argnums, len(args))
    leaves, treedef = jtu.tree_flatten((args, kwargs))
    traced = [is_traced_leaf(leaf) or isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves]
    wrt = _leaf_flags(args, kwargs, chosen)
    _check_leaves(args, kwargs, leaves, wrt)
    primals = [leaf for leaf, flag in zip(leaves, wrt, strict=True) if flag]
    others = [leaf for leaf, data, flag in zip(leaves, traced, wrt, strict=True) if data and not flag]

    def pushforward(primals: list[Any], others: list[Any], tangents: list[Any]) -> list[jax.Array]:
        def call(*primals: Any) -> list[Any]:
            values, rest = iter(primals), iter(others)
            merged = [
                next(values) if flag else next(rest) if data else leaf
                for leaf, data, flag in zip(leaves, traced, wrt, strict=True)
            ]
            args, kwargs = jtu.tree_unflatten(treedef, merged)
            out = f(*args, **kwargs)
            return jtu.tree_leaves(out[0] if has_aux else out)

        return [_float(t) for t in jax.jvp(call, tuple(primals), tuple(tangents))[1]]

    tangents = [jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)) for x in primals]
    jaxpr = jax.make_jaxpr(pushforward)(primals, others, tangents)
    flags = [False] * (len(primals) + len(others)) + [True] * len(tangents)
    return _analyse(jaxpr, flags, [None] * len(flags), stacklevel=2)


def jaxpr_sparsity(
    closed_jaxpr: Any, wrt: Sequence[bool], known: Sequence[np.ndarray | None] | None = None
) -> SparsityPattern:
    """What the outputs of a jaxpr depend on, through values that can be differentiated, of its flagged inputs.

    The jaxpr is taken as written: for the Jacobian of a function give the jaxpr of its JVP (as `detect_sparsity`
    does), or any jaxpr that is linear in the flagged inputs.

    Args:
        closed_jaxpr: a closed jaxpr; its constants are known values unless they are tracers.
        wrt: per input, whether it is among the columns.
        known: per input that is not flagged, its value if it has one for good.

    Returns:
        Rows are all outputs, raveled and concatenated; columns the flagged inputs, likewise.
    """
    values = [None] * len(wrt) if known is None else list(known)
    return _analyse(closed_jaxpr, list(wrt), values, stacklevel=2)


def _analyse(closed: Any, wrt: list[bool], known: list[Any], stacklevel: int) -> SparsityPattern:
    invars = inner_jaxpr(closed)[0].invars
    shapes = [tuple(v.aval.shape) for v in invars]
    inputs = [shape for shape, flag in zip(shapes, wrt, strict=True) if flag]
    total = sum(map(math.prod, inputs))
    analysis = Analysis(total)
    deps, offset = [], 0
    for shape, flag in zip(shapes, wrt, strict=True):
        deps.append(columns(shape, offset, total) if flag else None)
        offset += math.prod(shape) if flag else 0
    knowns = [None if value is None else Known.of(np.asarray(value)) for value in known]
    outs, _ = analysis.run(closed, deps, knowns)
    analysis.notes.warn(stacklevel + 1)
    outputs = [tuple(v.aval.shape) for v in inner_jaxpr(closed)[0].outvars]
    bound = sum(row_bound(dep) for dep in outs if dep is not None)
    rows = sum(map(math.prod, outputs))
    if bound > min(_MAX_ENTRIES, most_entries.get()):
        raise TooManyEntriesError(
            f"The Jacobian of {rows} outputs with respect to {total} inputs has about {bound:.1e} entries that can be "
            f"nonzero, {8 * bound / 2**30:.0f} GiB of values in float64, more than a sparse matrix can index. "
            f"{analysis.notes.describe() or 'The function couples (nearly) everything with everything.'} Indices that "
            f"come from arguments count as unknown: close over index arrays instead of passing them."
        )
    parts = [to_csr(dep, math.prod(shape), total) for dep, shape in zip(outs, outputs, strict=True)]
    counts = np.concatenate([np.zeros(1, np.int64), *(np.diff(indptr) for indptr, _ in parts)])
    indices = np.concatenate([np.zeros(0, np.int32), *(indices for _, indices in parts)])
    return SparsityPattern(
        np.cumsum(counts), indices, (rows, total), column_shapes=tuple(inputs), row_shapes=tuple(outputs)
    )


def _float(tangent: jax.Array) -> jax.Array:
    """Tangents of integer outputs (dtype float0) as zeros, which have no dependence."""
    return jnp.zeros(tangent.shape) if tangent.dtype == jax.dtypes.float0 else tangent


def _positions(argnums: int | Sequence[int], count: int) -> tuple[int, ...]:
    chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if any(not -count <= a < count for a in chosen):
        raise ValueError(f"argnums={argnums} does not exist: there are {count} positional arguments, counted from 0.")
    return tuple(a % count for a in chosen)


def _leaf_flags(args: Sequence[Any], kwargs: dict[str, Any], chosen: Sequence[int]) -> list[bool]:
    flags = [position in chosen for position, arg in enumerate(args) for _ in jtu.tree_leaves(arg)]
    return flags + [False] * len(jtu.tree_leaves(kwargs))


def _check_leaves(args: Sequence[Any], kwargs: dict[str, Any], leaves: list[Any], wrt: list[bool]) -> None:
    paths, _ = jtu.tree_flatten_with_path((args, kwargs))
    for (path, _), leaf, flag in zip(paths, leaves, wrt, strict=True):
        if not flag:
            continue
        name = f"argument {path[1].idx}{jtu.keystr(path[2:])}"
        if isinstance(leaf, bool | int) or not (is_traced_leaf(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)):
            raise ValueError(
                f"Cannot differentiate {name}: it is {leaf!r} of type {type(leaf).__name__}, not an array of "
                f"floats. Write jnp.asarray(x, float), or choose other arguments with argnums=."
            )
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            raise ValueError(
                f"Cannot differentiate {name}: its dtype is {jnp.result_type(leaf)}, and derivatives need floats. "
                f"Convert it with x.astype(float), or choose other arguments with argnums=."
            )
