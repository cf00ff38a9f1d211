"""`RightHandSide`: the slope f(t, y) of diffrax terms as a pure function of real vectors.

diffrax hands a solver `terms` and `args` anew at every trace. They are traced once more into a `PureFunction`, which
compares by content, so that a plan made from it is found again; its operands are arrays: leaves of terms and args and
values of outer transformations that the user's function closed over.
"""

from __future__ import annotations

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Float, PyTree

from sparsesolve.linear._pure import PureFunction, purify_module
from sparsesolve.ode.system._real import RealStructure


class RightHandSide(eqx.Module):
    """`f(t, x)` on the real vector `x` of the state.

    Attributes:
        data: arrays that it needs besides `t`.
        captured: values of outer transformations that it closed over.
        pure: `pure(parts, (t, *data), captured)` on real leaves.
        structure: of the state.
    """

    data: tuple[Array, ...]
    captured: tuple[Any, ...]
    pure: PureFunction = eqx.field(static=True)
    structure: RealStructure = eqx.field(static=True)

    def __call__(self, t: Array, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """The slope dy/dt (or M dy/dt) at time `t`."""
        return self.structure.join(self.pure(self.structure.split(x), (t, *self.data), self.captured))

    def with_time_derivative(self, t: Array, x: Float[Array, " n"]) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """`(f, df/dt)`, by one JVP."""
        return jax.jvp(lambda s: self(s, x), (t,), (jnp.ones_like(t),))

    def product(self, t: Array, x: Float[Array, " n"], v: Float[Array, " n"]) -> Float[Array, " n"]:
        """df/dy v, by one JVP."""
        return jax.jvp(lambda z: self(t, z), (x,), (v,))[1]


def right_hand_side(
    terms: dfx.AbstractTerm, t: Any, y: PyTree[Array], args: Any, structure: RealStructure | None = None
) -> RightHandSide:
    """Traces the slope of diffrax terms once.

    Raises:
        TypeError: for terms that are not ordinary differential equations.
    """
    structure = RealStructure.of(y) if structure is None else structure
    time = jnp.asarray(t)
    if not jnp.issubdtype(time.dtype, jnp.inexact):
        time = time.astype(jnp.result_type(float))
    _require_ode(terms, time)

    def call(parts: list[Array], module: Any) -> list[Array]:
        t_, terms_, args_ = module
        one = jnp.ones_like(t_)
        state = structure.assemble(list(parts))
        slope = terms_.prod(terms_.vf(t_, state, args_), terms_.contr(jnp.zeros_like(one), one))
        return structure.parts(slope)

    pure, data, captured = purify_module(call, (time, terms, args), structure.parts(y))
    return RightHandSide(tuple(data[1:]), tuple(captured), pure, structure)


def _require_ode(terms: Any, time: Array) -> None:
    control = eqx.filter_eval_shape(lambda a: terms.contr(a, a), time)
    leaves = jtu.tree_leaves(control)
    if any(getattr(leaf, "shape", None) != () for leaf in leaves):
        shapes = [getattr(leaf, "shape", leaf) for leaf in leaves]
        raise TypeError(
            f"The stiff solvers of this package integrate ordinary differential equations, and the control of these "
            f"terms has shapes {shapes} where time has (); give diffrax.ODETerm(f), or a diffrax.MultiTerm of them."
        )
