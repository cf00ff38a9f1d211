"""`DiscreteAdjoint`: derivatives of stiff integrations by sweeps over recorded steps, as a diffrax adjoint.

The integration is not differentiated. A forward pass with derivatives records, for every accepted step, the few
vectors from which that step can be linearized again (for `BDF` the new state, for one-step methods also their stages):
no Jacobians and no factors. Forward mode then sweeps over the records from the first to the last, reverse mode from the
last to the first with transposed systems, each system solved with factors that serve many steps where they can
(`_solve.py`). Both are one linear map L, given to JAX as the solution of the block system

    [  I  0 ] [u]   [b]
    [ -L  I ] [v] = [0],

whose solve and transposed solve are the two sweeps: `custom_linear_solve` then fits under `jit`, `vmap`, `jvp` and
`grad`. Step sizes and orders are constants of the derivative, as in diffrax. Derivatives by t1 and by the times saved
at are slopes of the interpolating polynomials (`_slopes.py`); that by t0 follows from the flow,
dy/dt0 = -(dy/dy0) y'(t0); places of events are implicit functions (`_end.py`).

Reference: A. Griewank, A. Walther, Evaluating Derivatives, SIAM 2008, doi:10.1137/1.9780898717761 (discrete adjoints);
Y. Cao, S. Li, L. Petzold, R. Serban, SIAM J. Sci. Comput. 24 (2003) 1076, doi:10.1137/S1064827501380630 (of DAEs).
"""

from __future__ import annotations

from typing import Any

import diffrax as dfx
import equinox as eqx

from sparsesolve.ode.adjoint._closures import closed_equations, closes_over_tracers
from sparsesolve.ode.adjoint._derivative import Run, attach
from sparsesolve.ode.adjoint._methods import steps_of
from sparsesolve.ode.adjoint._saveat import parts_of
from sparsesolve.ode.adjoint._tape import room_for


class DiscreteAdjoint(dfx.AbstractAdjoint):
    """Forward and reverse mode through the stiff solvers of this package, sparse, at the cost of one to two more
    integrations.

    The default of `solve_ode`. What it cannot do it leaves to `otherwise`: other solvers, Rosenbrock methods that keep
    their Jacobian, a part of `saveat` with both `ts` and `steps`, states of solver or controller that were handed over
    or are to be returned.

    Attributes:
        records: steps whose vectors are held at once; by default what fits into 64 MB, at least 128. Longer
            integrations leave histories to start from, and are made again piece by piece when derivatives are taken.
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
        steps = steps_of(call)
        shown = call["saveat"].solver_state or call["saveat"].controller_state
        if steps is None or not _supported(call) or (shown and not isinstance(self, UnseenStates)):
            return self.otherwise.loop(**call)
        init = call["init_state"]
        system = steps.system(call["terms"], call["t0"], init.y, call["args"])
        if closes_over_tracers(system):
            call = closed_equations(call)
            steps = steps_of(call)
            system = steps.system(call["terms"], call["t0"], init.y, call["args"])
        told = system.mass is not None and init.made_jump is not False  # of a jump before the first step
        if told or closes_over_tracers(system):
            return self.otherwise.loop(**call)
        throw = call.pop("throw") or (isinstance(self, UnseenStates) and self.throw)
        for name in ("passed_solver_state", "passed_controller_state"):
            call.pop(name)
        vector = system.size * system.dtype.itemsize
        sizes = steps.vectors(system) * vector, steps.rows * vector
        whole = any(sub.steps for sub in parts_of(call["saveat"]))
        bound = call["max_steps"]
        if isinstance(self, UnseenStates) and self.boundless and not (whole or call["saveat"].dense):
            bound = None
        room = room_for(self.records, bound, *sizes, whole=whole)
        return attach(Run(self._loop, steps, call, room, throw), system)


class UnseenStates(DiscreteAdjoint):
    """For `solve_ode`, which takes statistics from the states of solver and controller and shows them to nobody.

    Attributes:
        throw: what `solve_ode` was told.
        boundless: whether the caller named no bound on the number of steps.
    """

    throw: bool = eqx.field(static=True, default=True)
    boundless: bool = eqx.field(static=True, default=False)


def _supported(call: dict[str, Any]) -> bool:
    plain = all(sub.steps == 0 or sub.ts is None for sub in parts_of(call["saveat"]))
    return plain and not call["passed_solver_state"] and not call["passed_controller_state"]
