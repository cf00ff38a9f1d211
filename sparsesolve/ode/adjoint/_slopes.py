"""`Slopes`: how the interpolated solution moves with the times that it is saved at, and with the end.

The slope is that of the polynomial whose values are saved, not f at them: f magnifies the error of an interpolated
state by the largest eigenvalues of its Jacobian, and would belong to another function than the one returned. Slopes are
taken while the steps are made, when the polynomials are at hand.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.tree_util as jtu
from jax import lax
from jaxtyping import Array

from sparsesolve.ode.adjoint._moving import Moving, moves
from sparsesolve.ode.adjoint._saveat import buffers_of
from sparsesolve.ode.system._system import StiffSystem


class Slopes(eqx.Module):
    """Slopes at times saved at.

    Attributes:
        ts: those times, for each part of `saveat`; `None` where they do not move.
        rows: a slope for each of them, `(times, n)`.
        end: the slope at the end of the last step, or `None`.
    """

    ts: list[Array | None]
    rows: list[Array | None]
    end: Array | None

    @classmethod
    def empty(cls, system: StiffSystem, ts: list[Array | None], along: Moving) -> Slopes:
        """Nothing written yet."""
        moving = [t if moves(dot) else None for t, dot in zip(ts, along.ts, strict=True)]
        room = lambda t: None if t is None else jnp.zeros((t.shape[0], system.size), system.dtype)  # noqa: E731
        return cls(moving, [room(t) for t in moving], None)

    def written(self, steps: Any, record: Any, before: Any, after: Any) -> Slopes:
        """With those in the step from `before` to `after`, states of diffrax's loop."""
        first, last = buffers_of(before), buffers_of(after)
        rows = list(self.rows)
        for k, ts in enumerate(self.ts):
            if ts is None:
                continue
            end, start = last[k].saveat_ts_index, (first[k].saveat_ts_index, rows[k])

            def write(loop: Any, ts: Array = ts) -> Any:
                i, out = loop
                return i + 1, out.at[i].set(steps.slope(record, after, ts[i]))

            rows[k] = lax.while_loop(lambda loop, end=end: loop[0] < end, write, start)[1]
        return Slopes(self.ts, rows, None)

    def ended(self, steps: Any, records: Any, final: Any) -> Slopes:
        """With that at the end of the last step, from the records and the last state of diffrax's loop."""
        last = jnp.maximum(final.num_accepted_steps - 1, 0)
        record = jtu.tree_map(lambda b: b[last], eqx.filter(records, lambda leaf: leaf.ndim == 1))
        return Slopes(self.ts, self.rows, steps.slope(record, final, record.end))
