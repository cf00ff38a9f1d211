"""`StiffController`: the step size controller that carries out what `BDF` has chosen.

A solver of variable order chooses its step size together with its order and tells it through the norm of its error
estimate (`encode_factor`). `diffrax.PIDController` understands that with two limits: it never shrinks a step after an
accepted one, and cuts a rejected one to no less than a fifth. This controller has neither limit, chooses the first step
for a method that starts at order 1, and stops when steps have become too small to move time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import jax.numpy as jnp
import optimistix as optx
from jax import lax
from jaxtyping import Array, PyTree

from sparsesolve.ode.stepping._first_step import first_step
from sparsesolve.ode.system._real import RealStructure
from sparsesolve.ode.system._weights import scaled_norm, tolerance_weights

SAFETY = 0.9  # of diffrax's controllers by default
ERROR_ORDER = 2  # that encoded norms are made for
_SMALLEST, _LARGEST = 1e-9, 10.0  # the smallest after a jump, from the step before to one of order 1
_FAILED = 0.25  # after a corrector that did not converge


def encode_factor(accepted: Array, factor: Array) -> Array:
    """The scaled error norm that stands for a step size factor: below 1 exactly where the step is accepted.

    Accepted steps have `(safety / F)^2` for a growth `F >= 1`; a shrinkage `f < 1` becomes `F = 0.9 + 0.1 f`, which
    `diffrax.PIDController` clips to 1. Rejected steps have `(safety / f)^2` for `f <= safety`.
    """
    shrunk = SAFETY + (1.0 - SAFETY) * jnp.maximum(factor, 0.01)
    shown = jnp.where(accepted, jnp.where(factor < 1, shrunk, factor), jnp.minimum(factor, SAFETY))
    return (SAFETY / shown) ** ERROR_ORDER


def decode_factor(norm: Array) -> Array:
    """The step size factor that an error norm stands for."""
    shown = SAFETY / jnp.sqrt(norm)
    shrunk = (norm < 1) & (shown < 1 - 1e-3)
    factor = jnp.where(shrunk, (shown - SAFETY) / (1.0 - SAFETY), shown)
    return jnp.where(jnp.isfinite(norm), jnp.clip(factor, _SMALLEST, _LARGEST), _FAILED)


class StiffController(dfx.AbstractAdaptiveStepSizeController):
    """Step size control for `BDF`. Give it to `diffrax.ClipStepSizeController` for `jump_ts`.

    Attributes:
        rtol: relative tolerance, a number or a pytree like the state.
        atol: absolute tolerance, likewise.
        norm: of the scaled error.
        dtmax: largest step.

    Example:
        >>> import diffrax as dfx, jax.numpy as jnp
        >>> from sparsesolve.ode import BDF, StiffController
        >>> sol = dfx.diffeqsolve(
        ...     dfx.ODETerm(lambda t, y, args: -50.0 * (y - jnp.cos(t))), BDF(), 0.0, 2.0, None, jnp.array(0.0),
        ...     stepsize_controller=StiffController(rtol=1e-6, atol=1e-8),
        ... )
        >>> bool(abs(sol.ys[0] - (2500 * jnp.cos(2.0) + 50 * jnp.sin(2.0)) / 2501) < 1e-5)
        True
    """

    rtol: Any
    atol: Any
    norm: Callable[[PyTree], Array] = optx.rms_norm
    dtmax: Any = None

    def wrap(self, direction: Any) -> StiffController:
        """Steps are positive in either direction."""
        del direction
        return self

    def init(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: PyTree[Array],
        dt0: Any,
        args: Any,
        func: Callable[..., PyTree[Array]],
        error_order: Any,
    ) -> tuple[Any, None]:
        """The end of the first step: `t0 + dt0`, or chosen by `first_step`."""
        del error_order
        if dt0 is None:
            dt0 = first_step(self, terms, t0, t1, y0, args, func, error_order=2, least=1e-6)  # BDF starts at order 1
        return t0 + self._limited(dt0), None

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: PyTree[Array],
        y1_candidate: PyTree[Array],
        args: Any,
        y_error: PyTree[Array] | None,
        error_order: Any,
        controller_state: None,
    ) -> tuple[Any, Any, Any, bool, None, dfx.RESULTS]:
        """Accepts or rejects a step and chooses the next one."""
        del args, error_order, controller_state
        if y_error is None:
            raise RuntimeError(
                "StiffController got no error estimate; give an adaptive solver such as BDF() to diffeqsolve."
            )
        structure = RealStructure.of(y0)
        first, last, error = (structure.ravel(lax.stop_gradient(tree)) for tree in (y0, y1_candidate, y_error))
        last = jnp.where(jnp.isfinite(last), last, first)
        norm = scaled_norm(self.norm, structure, error, self._weights(structure, first, last))
        accepted = norm < 1
        step = (t1 - t0) * lax.stop_gradient(decode_factor(norm).astype(jnp.result_type(t1)))
        step = self._limited(step)
        start = jnp.where(accepted, t1, t0)
        stuck = ~accepted & (step <= 4 * jnp.finfo(jnp.result_type(t1)).eps * jnp.abs(t0))
        result = dfx.RESULTS.where(stuck, dfx.RESULTS.dt_min_reached, dfx.RESULTS.successful)
        return accepted, start, start + step, False, None, result

    def _weights(self, structure: RealStructure, *states: Array) -> Array:
        return tolerance_weights(structure, self.rtol, self.atol, *states)

    def _limited(self, step: Any) -> Any:
        return step if self.dtmax is None else jnp.minimum(step, self.dtmax)
