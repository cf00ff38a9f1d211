"""`StageNewton`: how implicit stages are solved; also a root finder for diffrax's own implicit solvers.

diffrax solves its stages in the space of slopes, f or k = h f, and its `VeryChord` compares updates of slopes with
tolerances of states. In a stiff problem slopes are larger than states by many orders, so that iterations that have
converged long ago are called failures, and the step is rejected. Here an update df is turned into what it does to the
stage value, dy = gamma h df, and is compared with atol + rtol |y|. The stage's coefficients are found among the
arguments that diffrax hands to its root finders; if they are not laid out as this module knows them, it warns and
measures slopes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
import optimistix as optx
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from sparsesolve.linear import AutoSparse

_FROM_CONTROLLER: Any = dfx.with_stepsize_controller_tols(dfx.VeryChord)().rtol
_TRUSTED = 1e-3  # share of kappa below which a first update needs no second one


class _StageState(eqx.Module):
    """Factors of I - gamma h J, the size of the last two updates and what became of them."""

    factors: PyTree
    size: Float[Array, ""]
    previous: Float[Array, ""]
    steps: Int[Array, ""]
    result: optx.RESULTS


class _NoAux(eqx.Module):
    fn: Callable

    def __call__(self, y: PyTree, args: Any) -> PyTree:
        return self.fn(y, args)[0]


class StageNewton(optx.AbstractRootFinder):
    """Newton's method for implicit stages with its convergence test in the space of states.

    Two uses. `dfx.Kvaerno5(root_finder=StageNewton())` makes diffrax's own solver sparse and rids it of false
    failures. `Kvaerno5(root_finder=StageNewton(kappa=...))` of this package sets the options of its own stages.

    Attributes:
        rtol: relative tolerance of the state; by default that of the step-size controller.
        atol: absolute tolerance; likewise.
        norm: of an update divided by its tolerances; likewise.
        kappa: share of the tolerance that the error of the iteration may take.
        linear_solver: any lineax solver.

    Example:
        >>> import diffrax as dfx, jax.numpy as jnp
        >>> from sparsesolve.ode import StageNewton
        >>> sol = dfx.diffeqsolve(
        ...     dfx.ODETerm(lambda t, y, args: -1000.0 * (y - jnp.cos(t))),
        ...     dfx.Kvaerno5(root_finder=StageNewton()), 0.0, 1.0, 0.01, jnp.zeros(3),
        ...     stepsize_controller=dfx.PIDController(rtol=1e-6, atol=1e-8),
        ... )
        >>> bool(jnp.allclose(sol.ys, jnp.cos(1.0), atol=1e-3))
        True
    """

    rtol: Any = _FROM_CONTROLLER
    atol: Any = _FROM_CONTROLLER
    norm: Any = _FROM_CONTROLLER
    kappa: Any = 0.02
    linear_solver: lx.AbstractLinearSolver = AutoSparse()

    def init(
        self,
        fn: Callable,
        y: PyTree[Array],
        args: Any,
        options: dict[str, Any],
        f_struct: PyTree[jax.ShapeDtypeStruct],
        aux_struct: PyTree[jax.ShapeDtypeStruct],
        tags: frozenset[object],
    ) -> _StageState:
        """Factorizes, unless `options["init_state"]` brings the factors of an earlier stage."""
        del f_struct, aux_struct
        if "init_state" in options:
            return options["init_state"]
        factors = self.linear_solver.init(lx.JacobianLinearOperator(_NoAux(fn), y, args, tags=tags), {})
        dynamic, static = eqx.partition(factors, eqx.is_array)
        real = jnp.finfo(jnp.result_type(*jtu.tree_leaves(y))).dtype
        return _StageState(
            factors=eqx.combine(lax.stop_gradient(dynamic), static),
            size=jnp.asarray(jnp.inf, real),
            previous=jnp.asarray(1.0, real),
            steps=jnp.asarray(0),
            result=optx.RESULTS.successful,
        )

    def step(
        self,
        fn: Callable,
        y: PyTree[Array],
        args: Any,
        options: dict[str, Any],
        state: _StageState,
        tags: frozenset[object],
    ) -> tuple[PyTree[Array], _StageState, Any]:
        """One update of the slope."""
        del options, tags
        value, aux = fn(y, args)
        update, result, _ = self.linear_solver.compute(lax.stop_gradient(state.factors), value, {})
        new = jtu.tree_map(jnp.subtract, y, update)
        change, stage = _in_states(update, new, args)
        scaled = jtu.tree_map(lambda d, s: d / (self.atol + self.rtol * jnp.abs(s)), change, stage)
        size = jnp.asarray(self.norm(scaled)).astype(state.size.dtype)
        state = _StageState(state.factors, size, state.size, state.steps + 1, optx.RESULTS.promote(result))
        return new, state, aux

    def terminate(
        self,
        fn: Callable,
        y: PyTree[Array],
        args: Any,
        options: dict[str, Any],
        state: _StageState,
        tags: frozenset[object],
    ) -> tuple[Bool[Array, ""], optx.RESULTS]:
        """Converged, hopeless, or to be continued."""
        del fn, y, args, options, tags
        size, twice = state.size, state.steps >= 2
        theta = jnp.where(twice, size / state.previous, 0.0)
        eta = jnp.where(theta < 1, theta / jnp.where(theta < 1, 1 - theta, 1.0), 1.0)
        converged = jnp.where(twice, eta * size <= self.kappa, size <= _TRUSTED * self.kappa) & (state.steps >= 1)
        failed = (state.steps >= 1) & ~converged & (~jnp.isfinite(size) | (theta > 2))
        singular = (state.steps >= 1) & (state.result != optx.RESULTS.successful) & ~converged
        result = optx.RESULTS.where(failed, optx.RESULTS.nonlinear_divergence, optx.RESULTS.successful)
        result = optx.RESULTS.where(singular, state.result, result)
        return converged | failed | singular, result

    def postprocess(
        self,
        fn: Callable,
        y: PyTree[Array],
        aux: Any,
        args: Any,
        options: dict[str, Any],
        state: _StageState,
        tags: frozenset[object],
        result: optx.RESULTS,
    ) -> tuple[PyTree[Array], Any, dict[str, Any]]:
        """Nothing to add."""
        del fn, args, options, state, tags, result
        return y, aux, {}


def _in_states(update: PyTree, slope: PyTree, args: Any) -> tuple[PyTree, PyTree]:
    """What the update does to the stage value, and that value, from diffrax's arguments of a stage.

    diffrax 0.7 hands `(index, gamma, vf, prod, t, y_partial, args, control)` to stages solved for f, and
    `(index, gamma, vf_prod, t, y_partial, args, control)` to those solved for k = f control.
    """
    count = len(args) if isinstance(args, tuple) else 0
    if count == 8 and callable(args[2]) and callable(args[3]):
        gamma, prod, partial, control = args[1], args[3], args[5], args[7]
        change, value = prod(update, control), prod(slope, control)
    elif count == 7 and callable(args[2]):
        gamma, partial, change, value = args[1], args[4], update, slope
    else:
        return _measured_as_slopes(update, slope)
    if jtu.tree_structure(partial) != jtu.tree_structure(value):
        return _measured_as_slopes(update, slope)
    change = jtu.tree_map(lambda d: gamma * d, change)
    return change, jtu.tree_map(lambda p, v: p + gamma * v, partial, value)


def _measured_as_slopes(update: PyTree, slope: PyTree) -> tuple[PyTree, PyTree]:
    warnings.warn(
        "StageNewton does not know how this version of diffrax lays out its stages, so it compares updates of slopes "
        "with tolerances of states, as diffrax.VeryChord does. Expect rejected steps; this package's own Kvaerno5 has "
        "no such limit.",
        stacklevel=2,
    )
    return update, slope
