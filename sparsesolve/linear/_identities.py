"""Removes calls that do nothing, to all orders of differentiation, from a traced function. Host-side.

optimistix and lineax pass results through an identity with a derivative rule of its own (`_asarray`, a workaround).
Such a call hides a linear function from the Jacobian's peeling, and its rule, a new object in every trace, makes
equal computations look different. It is dropped when its body is the identity and its rule is too: the tangent is
passed on as it is, or through the same call again, and so on to all orders by induction.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.extend.core as jex


def without_identities(jaxpr: Any) -> Any:
    """The jaxpr with identity calls on its top level bypassed."""
    bypass: dict[Any, Any] = {}

    def resolved(atoms: Any) -> list[Any]:
        return [a if isinstance(a, jex.Literal) else bypass.get(a, a) for a in atoms]

    kept = []
    for eqn in jaxpr.eqns:
        invars = resolved(eqn.invars)
        if _is_identity_call(eqn) and _has_identity_rule(eqn):
            bypass[eqn.outvars[0]] = invars[0]
        else:
            kept.append(eqn.replace(invars=invars))
    return jaxpr.replace(eqns=kept, outvars=resolved(jaxpr.outvars)) if bypass else jaxpr


def _is_identity_call(eqn: Any) -> bool:
    if eqn.primitive.name != "custom_jvp_call" or len(eqn.invars) != 1:
        return False
    body = eqn.params["call_jaxpr"].jaxpr
    return not body.eqns and not body.constvars and list(body.outvars) == list(body.invars)


def _has_identity_rule(eqn: Any) -> bool:
    aval = eqn.invars[0].aval

    def call(x: Any) -> Any:
        return eqn.primitive.bind(x, **eqn.primitive.get_bind_params(eqn.params))[0]

    def push(x: Any, tangent: Any) -> Any:
        return jax.jvp(call, (x,), (tangent,))

    example = jax.ShapeDtypeStruct(aval.shape, aval.dtype)
    jaxpr: Any = jax.make_jaxpr(push)(example, example).jaxpr
    passed = {v: v for v in jaxpr.invars}
    for inner in jaxpr.eqns:
        if not (_is_identity_call(inner) and _name(inner) == _name(eqn) and inner.invars[0] in passed):
            return False
        passed[inner.outvars[0]] = passed[inner.invars[0]]
    return [passed.get(v) for v in jaxpr.outvars] == list(jaxpr.invars)


def _name(eqn: Any) -> Any:
    return eqn.params.get("name", eqn.params["call_jaxpr"].jaxpr.debug_info.func_name)
