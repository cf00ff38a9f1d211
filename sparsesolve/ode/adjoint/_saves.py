"""`Saves`: tangents of what was saved from tangents of states."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax import lax
from jaxtyping import Array

from sparsesolve.ode.adjoint._end import End
from sparsesolve.ode.adjoint._moving import Moving, full, full_tree
from sparsesolve.ode.adjoint._saveat import SAVE_STATE
from sparsesolve.ode.adjoint._slopes import Slopes
from sparsesolve.ode.adjoint._sweep import Moved
from sparsesolve.ode.system._system import StiffSystem


@dataclasses.dataclass(frozen=True)
class Saves:
    """What tangents of saved values are made of.

    Attributes:
        args: of the functions in `saveat`.
        subs: its parts.
        system: prepared.
        moving: what may move.
        along: its tangents.
        final: last state of diffrax's loop.
        records: of the steps.
        slopes: of the interpolated solution at times that move.
        moved: tangents of states, from `Sweep.apply`.
        end: where it ended.
        cut: whether an event may have cut the last step.
        x0: initial state.
    """

    args: Any
    subs: list[Any]
    system: StiffSystem
    moving: Moving
    along: Moving
    final: Any
    records: Any
    slopes: Slopes
    moved: Moved
    end: End
    cut: bool
    x0: Array

    def of(self, k: int, state: Any, raw: Any) -> tuple[Any, Any]:
        """Tangents of times and values of part `k` of `saveat`, shaped as in `state`.

        Args:
            k: which.
            state: its buffers.
            raw: states at its times, where the values are a function of them.
        """
        out, sub = (jnp.zeros_like(state.ts), jtu.tree_map(jnp.zeros_like, state.ys)), self.subs[k]
        offset, yes = int(sub.t0), jnp.ones((1,), bool)
        if sub.t0:
            x_dot = self._start_dot()[None]
            t_dot = full(self.along.t0, self.moving.t0)[None]
            rows = self._shown(k, self.moving.t0[None], self.x0[None], t_dot, x_dot, yes)
            out = _put(out, (t_dot, rows), 0, True)
        if sub.ts is not None:
            out = _put(out, self._at_times(k, state, raw, offset), offset, True)
        if sub.steps:
            out = _put(out, self._at_steps(k), offset, True)
        there = self._ends_with(sub)
        if there is not False:
            e = self.end
            rows = self._shown(k, e.time[None], e.x[None], e.t_dot[None], e.x_dot[None], yes)
            place = jnp.maximum(state.save_index - 1, 0)
            out = _put(out, (e.t_dot[None], rows), place, there)
        return out

    def _start_dot(self) -> Array:
        return self.system.structure.ravel(full_tree(self.along.y, self.moving.y))

    def _at_times(self, k: int, state: Any, raw: Any, offset: int) -> tuple[Any, Any]:
        times, rows = self.moving.ts[k], self.moved.at_times[k]
        assert times is not None and rows is not None
        some = self.final.num_accepted_steps > 0
        # Where there is nothing between t0 and t1, all values are the initial one.
        valid = (jnp.arange(times.shape[0]) < state.saveat_ts_index) | (self.moving.t0 == self.moving.t1)
        values = jtu.tree_map(lambda y: y[offset : offset + times.shape[0]], state.ys) if raw is None else raw
        x = jnp.where(valid[:, None], jax.vmap(self.system.structure.ravel)(values), self.x0)
        t_dot = full(self.along.ts[k], times)
        rows = jnp.where(some, rows, self._start_dot())
        if self.slopes.rows[k] is not None:
            rows = rows + t_dot[:, None].astype(x.dtype) * self.slopes.rows[k]
        return jnp.where(valid, t_dot, 0), self._shown(k, times, x, t_dot, rows, valid)

    def _at_steps(self, k: int) -> tuple[Any, Any]:
        """At the ends of every so many steps; what an event cut off is not saved."""
        steps = self.subs[k].steps
        every = slice(steps - 1, None, steps)
        count = jnp.where(self.end.time < self.final.tprev, 1, 0) if self.cut else 0
        valid = jnp.arange(self.records.end.shape[0])[every] < self.final.num_accepted_steps - count
        ends = jnp.where(valid, self.records.end[every], self.moving.t0)
        x = jnp.where(valid[:, None], self.records.y[: self.records.end.shape[0]][every], self.x0)
        assert self.moved.at_steps is not None
        rows = self._shown(k, ends, x, jnp.zeros_like(ends), self.moved.at_steps[every, 0], valid)
        return jnp.zeros_like(ends), rows

    def _ends_with(self, sub: Any) -> Any:
        """Whether the end is saved besides the steps."""
        if sub.steps <= 1:
            return sub.t1 or sub.steps == 1 if self.cut else sub.t1 and sub.steps == 0
        stepped = self.final.num_accepted_steps % sub.steps == 0
        return sub.t1 | stepped if self.cut else sub.t1 & ~stepped

    def _shown(self, k: int, t: Array, x: Array, t_dot: Array, x_dot: Array, valid: Array) -> Any:
        """Tangents of the values of part k's function at rows of states."""
        unravel, fn = self.system.structure.unravel, self.subs[k].fn
        if fn is SAVE_STATE:
            out = jax.vmap(unravel)(x_dot)
        else:
            arrays, static = eqx.partition((fn, self.args), eqx.is_array)
            leaves, treedef = jtu.tree_flatten(arrays)
            moved = jtu.tree_leaves((self.along.observers[k], self.along.args))
            dots = [full(d, p) for d, p in zip(moved, leaves, strict=True)]

            def rows(t_: Array, x_: Array, leaves_: list[Array]) -> Any:
                fn, args = eqx.combine(jtu.tree_unflatten(treedef, leaves_), static)
                return jax.vmap(lambda s, z: fn(s, unravel(z), args))(t_, x_)

            out = jax.jvp(rows, (t, x, leaves), (t_dot, x_dot, dots))[1]
        return jtu.tree_map(lambda v: jnp.where(valid.reshape(-1, *[1] * (v.ndim - 1)), v, 0), out)


def _put(tree: Any, rows: Any, place: Any, there: Any) -> Any:
    """The tree with rows written from `place` on, if they are `there`."""

    def leaf(a: Array, b: Array) -> Array:
        if there is not True:
            b = jnp.where(there, b, lax.dynamic_slice_in_dim(a, place, b.shape[0], 0))
        return lax.dynamic_update_slice_in_dim(a, b.astype(a.dtype), place, 0)

    return jtu.tree_map(leaf, tree, rows)
