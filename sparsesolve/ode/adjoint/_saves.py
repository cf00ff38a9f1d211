"""`Saves`: tangents of what was saved from tangents of states."""

from __future__ import annotations

import dataclasses
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax import lax
from jaxtyping import Array

from sparsesolve.ode.adjoint._moving import Moving, full, full_tree
from sparsesolve.ode.adjoint._slopes import Slopes
from sparsesolve.ode.system._system import StiffSystem

SAVE_STATE = dfx.SubSaveAt(t1=True).fn  # diffrax's default: the state itself


@dataclasses.dataclass(frozen=True)
class Saves:
    """What tangents of saved values are made of.

    Attributes:
        args: of the functions in `saveat`.
        system: prepared.
        moving: what may move.
        along: its tangents.
        final: last state of diffrax's loop.
        records: of the steps.
        slopes: of the interpolated solution at times that move, and at an end that does.
        moved: tangents of states, from `Sweep.apply`.
        x0: initial state.
    """

    args: Any
    system: StiffSystem
    moving: Moving
    along: Moving
    final: Any
    records: Any
    slopes: Slopes
    moved: Any
    x0: Array

    def of(self, k: int, sub: Any, state: Any, raw: Any) -> tuple[Any, Any]:
        """Tangents of times and values of part `k` of `saveat`, shaped as in `state`.

        Args:
            k: which.
            sub: that part.
            state: its buffers.
            raw: states at its times, where the values are a function of them.
        """
        ts, ys = jnp.zeros_like(state.ts), jtu.tree_map(jnp.zeros_like, state.ys)
        structure, offset, yes = self.system.structure, int(sub.t0), jnp.ones((1,), bool)
        if sub.t0:
            x_dot = structure.ravel(full_tree(self.along.y, self.moving.y))
            t_dot = full(self.along.t0, self.moving.t0)[None]
            ys = _put(ys, self._shown(sub.fn, self.moving.t0[None], self.x0[None], t_dot, x_dot[None], yes), 0)
            ts = _put(ts, t_dot, 0)
        if sub.ts is not None:
            times, valid = self.moving.ts[k], self.moved.saved[k]
            assert times is not None
            values = jtu.tree_map(lambda y: y[offset : offset + times.shape[0]], state.ys) if raw is None else raw
            x = jnp.where(valid[:, None], jax.vmap(structure.ravel)(values), self.x0)
            rows, t_dot = self.moved.at_times[k], full(self.along.ts[k], times)
            if self.slopes.rows[k] is not None:
                rows = rows + t_dot[:, None].astype(x.dtype) * self.slopes.rows[k]
            ys = _put(ys, self._shown(sub.fn, times, x, t_dot, rows, valid), offset)
            ts = _put(ts, jnp.where(valid, t_dot, 0), offset)
        if sub.steps:
            ends = self.records.end
            valid = jnp.arange(ends.shape[0]) < self.final.num_accepted_steps
            x = jnp.where(valid[:, None], self.records.y[: ends.shape[0]], self.x0)
            ys = _put(ys, self._shown(sub.fn, ends, x, jnp.zeros_like(ends), self.moved.at_steps, valid), offset)
        if sub.t1 and not sub.steps:
            x, end, time = structure.ravel(self.final.y), self.moved.end, self.final.tprev
            t_dot = full(self.along.t1, self.moving.t1)
            if self.slopes.end is not None:
                end = end + t_dot.astype(x.dtype) * self.slopes.end
            place = jnp.maximum(state.save_index - 1, 0)
            ys = _put(ys, self._shown(sub.fn, time[None], x[None], t_dot[None], end[None], yes), place)
            ts = _put(ts, t_dot[None], place)
        return ts, ys

    def _shown(self, fn: Any, t: Array, x: Array, t_dot: Array, x_dot: Array, valid: Array) -> Any:
        """Tangents of the values of `fn` at rows of states."""
        unravel = self.system.structure.unravel
        if fn is SAVE_STATE:
            out = jax.vmap(unravel)(x_dot)
        else:
            arrays, static = eqx.partition(self.args, eqx.is_array)
            leaves, treedef = jtu.tree_flatten(arrays)
            dots = [full(d, p) for d, p in zip(jtu.tree_leaves(self.along.args), leaves, strict=True)]

            def rows(t_: Array, x_: Array, leaves_: list[Array]) -> Any:
                args = eqx.combine(jtu.tree_unflatten(treedef, leaves_), static)
                return jax.vmap(lambda s, z: fn(s, unravel(z), args))(t_, x_)

            out = jax.jvp(rows, (t, x, leaves), (t_dot, x_dot, dots))[1]
        return jtu.tree_map(lambda v: jnp.where(valid.reshape(-1, *[1] * (v.ndim - 1)), v, 0), out)


def _put(tree: Any, rows: Any, place: Any) -> Any:
    return jtu.tree_map(lambda a, b: lax.dynamic_update_slice_in_dim(a, b.astype(a.dtype), place, 0), tree, rows)
