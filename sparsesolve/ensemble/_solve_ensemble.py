"""`solve_ensemble`: one solve, many inputs, all in compiled code; lanes that have ended make room for others.

Plan side (host, remembered by content): the trace of one lane and the widths of chunks. Value side: all inputs and
results, batched along the first axis. Derivatives are those of `vmap` over chunks of lanes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, PyTree

from sparsesolve._cache import BoundedCache
from sparsesolve.ensemble._batched_loops import Lanes, map_lanes
from sparsesolve.ensemble._progress import meter
from sparsesolve.linear._call_key import call_key, forget_with
from sparsesolve.linear._pure import PureFunction, purify

ensemble_cache = BoundedCache("ensembles", maxsize=32)
call_cache = BoundedCache("solve_ensemble calls", maxsize=64)


@dataclasses.dataclass(frozen=True)
class Setting:
    """How an ensemble is run.

    Attributes:
        count: lanes.
        chunk_size: lanes of a chunk, `None` to choose.
        devices: what the lanes are divided among.
        progress: who hears of lanes that have ended.
    """

    count: int
    chunk_size: int | None
    devices: tuple[Any, ...]
    progress: Any


def solve_ensemble(
    solve: Callable[[Any], PyTree],
    inputs: PyTree[Array],
    *,
    chunk_size: int | None = None,
    devices: Sequence[Any] | None = None,
    progress: bool | Callable[[int, int], None] = False,
) -> PyTree[Array]:
    """Maps a solve over the leading axis of its inputs, so that a slow lane does not keep the others running.

    Means the same as `jax.vmap(solve)(inputs)`, whose loops run all lanes until the slowest ends. Here every loop that
    `solve` runs (the time steps of `solve_ode`, the iterations of `root_find`, `least_squares` or `curve_fit`, those
    of diffrax and Optimistix, a `while_loop` of your own) is worked off in chunks of lanes that are still active.

    Args:
        solve: of one input, a pytree of arrays (a `Solution` is one). Plain JAX; give the solvers in it `throw=False`,
            so that a lane that fails says so in its result and leaves the others alone.
        inputs: a pytree of arrays with the same leading axis, one entry a lane.
        chunk_size: lanes that are advanced together; chosen from their number and size if `None`.
        devices: what to divide the lanes among; `None`: all of the default platform, where the inputs are concrete.
        progress: print how many lanes have ended, or a function that is called with that number and their total.

    Returns:
        What `solve` returns, with a leading axis of lanes.

    Raises:
        ValueError: for inputs without arrays, or of different lengths, or a chunk size below 1.

    Example:
        >>> import jax.numpy as jnp
        >>> import sparsesolve as ss
        >>> def solve(rate):
        ...     sol = ss.solve_ode(lambda t, y, k: -k * y, 0.0, 1.0, jnp.ones(1), rate, throw=False)
        ...     return sol.ys[0, 0], sol.stats["num_steps"]
        >>> ends, steps = ss.solve_ensemble(solve, jnp.asarray([0.1, 1.0, 3.0]))
        >>> [round(float(end), 3) for end in ends]
        [0.905, 0.368, 0.05]
    """
    leaves, treedef = jtu.tree_flatten(inputs)
    count = _number_of_lanes(inputs)
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"solve_ensemble got chunk_size={chunk_size}; at least one lane is needed.")
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    setting = Setting(count, chunk_size, _devices(devices, leaves, count), progress)
    shapes = tuple((leaf.shape[1:], np.dtype(leaf.dtype)) for leaf in leaves)
    key = call_key(solve, (setting, treedef, shapes, jnp.result_type(float)))
    known = None if key is None else call_cache.lookup(key)
    if known is not None:
        return known(leaves, ())
    lane = [jax.ShapeDtypeStruct(*shape) for shape in shapes]
    rest: list[Any] = []

    def one(values: Any, _: Any) -> Any:
        arrays, static = eqx.partition(solve(jtu.tree_unflatten(treedef, list(values))), eqx.is_array_like)
        rest.append(static)
        return jtu.tree_map(jnp.asarray, arrays)

    pure, _, captured = purify(one, lane, ())
    static = rest[-1]
    compiled = ensemble_cache.get((pure, setting), lambda: jax.jit(functools.partial(_run, pure, setting)))

    def run(values: list[Array], outer: tuple[Any, ...]) -> Any:
        return eqx.combine(compiled(values, outer), static)

    if key is not None and not pure.has_captured:
        call_cache.store(key, run)
        forget_with(solve, call_cache.discard, key)
    return run(leaves, captured)


def _number_of_lanes(inputs: Any) -> int:
    paths = jtu.tree_flatten_with_path(inputs)[0]
    if not paths:
        raise ValueError(f"solve_ensemble got inputs={inputs!r}, which holds no arrays; give one entry for each lane.")
    lengths = {jtu.keystr(path): jnp.shape(leaf)[:1] for path, leaf in paths}
    if len(set(lengths.values())) > 1 or () in lengths.values():
        shown = ", ".join(f"inputs{name} has {n[0] if n else 'no axis'}" for name, n in lengths.items())
        raise ValueError(
            f"solve_ensemble got inputs with different leading axes ({shown}); give every leaf one entry for each lane "
            "and let solve refer directly to what all lanes share."
        )
    return next(iter(lengths.values()))[0]


def _devices(devices: Sequence[Any] | None, leaves: list[Any], count: int) -> tuple[Any, ...]:
    if devices is None:
        traced = any(isinstance(leaf, Tracer) for leaf in leaves)
        devices = () if traced else jax.local_devices()
    return tuple(devices) if 1 < len(devices) <= count else ()


def _run(pure: PureFunction, setting: Setting, leaves: list[Array], captured: tuple[Any, ...]) -> Any:
    """All lanes; divided among devices, the last one filled up with copies of the last lane."""
    if not setting.devices:
        return _differentiable(pure, setting, leaves, captured)
    share = -(-setting.count // len(setting.devices))
    part = dataclasses.replace(setting, count=share, devices=())
    padded = [_filled(leaf, share * len(setting.devices)) for leaf in leaves]
    lanes, same = PartitionSpec("lanes"), PartitionSpec()
    mapped = jax.shard_map(
        functools.partial(_differentiable, pure, part),
        mesh=Mesh(np.asarray(setting.devices), ("lanes",)),
        in_specs=(lanes, same),
        out_specs=lanes,
        check_vma=False,
    )
    return jtu.tree_map(lambda leaf: leaf[: setting.count], mapped(padded, captured))


def _differentiable(pure: PureFunction, setting: Setting, leaves: list[Array], captured: tuple[Any, ...]) -> Any:
    @jax.custom_jvp
    def run(values: list[Array], outer: tuple[Any, ...]) -> Any:
        return _in_groups(pure, setting, values, outer)

    @run.defjvp
    def derivative(primals: Any, tangents: Any) -> Any:
        return jax.jvp(functools.partial(_by_vmap, pure, setting), primals, tangents)

    return run(leaves, captured)


def _in_groups(pure: PureFunction, setting: Setting, leaves: list[Array], captured: tuple[Any, ...]) -> Any:
    jaxpr, consts = pure.closed(captured)
    count = setting.count
    lanes = Lanes(count, functools.partial(_widths, setting.chunk_size), meter(setting.progress, count))
    out = map_lanes(jaxpr, consts, leaves, [True] * len(leaves), lanes)
    return jtu.tree_unflatten(jtu.tree_structure(pure.out), out)


def _by_vmap(pure: PureFunction, setting: Setting, leaves: list[Array], captured: tuple[Any, ...]) -> Any:
    """Chunks one after the other, each by `vmap`."""
    chunk = _widths(setting.chunk_size, setting.count, 0)[0]
    chunks = -(-setting.count // chunk)
    shaped = [_filled(leaf, chunks * chunk).reshape(chunks, chunk, *leaf.shape[1:]) for leaf in leaves]
    out = jax.lax.map(lambda values: jax.vmap(lambda lane: pure(lane, (), captured))(values), shaped)
    return jtu.tree_map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[: setting.count], out)


def _filled(leaf: Array, count: int) -> Array:
    """More lanes: copies of the last."""
    missing = count - leaf.shape[0]
    if missing == 0:
        return leaf
    return jnp.concatenate([leaf, jnp.broadcast_to(leaf[-1:], (missing, *leaf.shape[1:]))])


def _widths(chunk_size: int | None, count: int, size: int) -> tuple[int, ...]:
    """Widths of chunks for so many lanes of so many bytes each: as wide as a cache holds, and an eighth for the last.

    Wide chunks share the fixed cost of a step, narrow ones waste less on lanes that have ended, and each width is
    compiled for itself.
    """
    wide = min(count, max(32, min(1024, 2**22 // max(size, 1))) if chunk_size is None else chunk_size)
    return (wide, 16 * -(-wide // 128)) if wide >= 64 else (wide,)  # whole vectors of lanes
