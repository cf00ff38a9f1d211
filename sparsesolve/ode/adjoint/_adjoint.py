"""`DiscreteAdjoint`: derivatives of stiff integrations by sweeps over recorded steps, as a diffrax adjoint.

The integration is not differentiated. A forward pass with derivatives records, for every accepted step, the few
vectors from which that step can be linearized again (for `BDF` one, the new state): no Jacobians and no factors.
Forward mode then sweeps over the records from the first to the last, reverse mode from the last to the first with
transposed systems, each system solved with factors that serve many steps (`_solve.py`). Both are one linear map L,
given to JAX as the solution of the block system

    [  I  0 ] [u]   [b]
    [ -L  I ] [v] = [0],

whose solve and transposed solve are the two sweeps: `custom_linear_solve` then fits under `jit`, `vmap`, `jvp` and
`grad`. Step sizes and orders are constants of the derivative, as in diffrax. Derivatives by the ends of the interval
and by the times saved at follow from the flow: dy/dt1 = y'(t1), dy/dt0 = -(dy/dy0) y'(t0).

Reference: A. Griewank, A. Walther, Evaluating Derivatives, SIAM 2008, doi:10.1137/1.9780898717761 (discrete adjoints);
Y. Cao, S. Li, L. Petzold, R. Serban, SIAM J. Sci. Comput. 24 (2003) 1076, doi:10.1137/S1064827501380630 (of DAEs).
"""

from __future__ import annotations

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax.tree_util as jtu
from jax.core import Tracer

from sparsesolve.ode.adjoint._derivative import Run, attach
from sparsesolve.ode.adjoint._methods import steps_of

MEMORY = 2**26  # bytes of records
LEAST_RECORDS, MOST_RECORDS = 1024, 16384


class DiscreteAdjoint(dfx.AbstractAdjoint):
    """Forward and reverse mode through `BDF`, sparse, at the cost of one to two more integrations.

    The default of `solve_ode`. What it cannot do it leaves to `otherwise`: other solvers, events, dense output,
    `SaveAt(steps=k)` with `k > 1`, a solver state that was handed over.

    Attributes:
        records: most steps that are recorded; by default what fits into 64 MB, at least 1024 and at most 16384. An
            integration with more steps gets derivatives that are NaN.
        otherwise: adjoint for everything else.

    Example:
        >>> import diffrax as dfx, jax, jax.numpy as jnp
        >>> from sparsesolve.ode import BDF, DiscreteAdjoint
        >>> def end(k):
        ...     sol = dfx.diffeqsolve(
        ...         dfx.ODETerm(lambda t, y, k: -k * y), BDF(), 0.0, 1.0, None, jnp.array([1.0]), k,
        ...         stepsize_controller=dfx.PIDController(rtol=1e-6, atol=1e-9), adjoint=DiscreteAdjoint(),
        ...     )
        ...     return sol.ys[0, 0]
        >>> bool(abs(jax.grad(end)(2.0) + jnp.exp(-2.0)) < 1e-4)
        True
    """

    records: int | None = eqx.field(static=True, default=None)
    otherwise: dfx.AbstractAdjoint = dfx.RecursiveCheckpointAdjoint()

    def loop(self, **call: Any) -> Any:
        """Runs the integration; for diffrax."""
        steps = steps_of(call["solver"])
        if steps is None or not _supported(call):
            return self.otherwise.loop(**call)
        init = call["init_state"]
        system = steps.system(call["terms"], call["t0"], init.y, call["args"])
        captured = system.rhs.captured, getattr(system.mass, "captured", ())
        if any(isinstance(leaf, Tracer) for leaf in jtu.tree_leaves(captured)):
            return self.otherwise.loop(**call)
        for name in ("throw", "passed_solver_state", "passed_controller_state"):
            call.pop(name)
        room = self._room(system.size * steps.vectors, call)
        return attach(Run(self._loop, steps, call, room), system)

    def _room(self, size: int, call: dict[str, Any]) -> int:
        subs = jtu.tree_leaves(call["saveat"].subs, is_leaf=lambda s: isinstance(s, dfx.SubSaveAt))
        most = call["max_steps"]
        if most is not None and any(sub.steps for sub in subs):
            return most
        fitting = self.records
        if fitting is None:
            fitting = min(MOST_RECORDS, max(LEAST_RECORDS, MEMORY // (8 * max(size, 1))))
        return fitting if most is None else min(most, fitting)


def _supported(call: dict[str, Any]) -> bool:
    saveat = call["saveat"]
    subs = jtu.tree_leaves(saveat.subs, is_leaf=lambda s: isinstance(s, dfx.SubSaveAt))
    plain = all(sub.steps == 0 or (sub.steps == 1 and sub.ts is None) for sub in subs)
    return (
        plain
        and not saveat.dense
        and call["event"] is None
        and not call["passed_solver_state"]
        and not call["passed_controller_state"]
    )
