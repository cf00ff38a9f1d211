"""`Program`: a user function as one flat list of equations, sliced into the pieces that peeling needs. Plan side.

The function is traced to a jaxpr and calls to `jit` are inlined, so that an equation is a primitive applied to
variables. Variables fall into three classes:

* those that depend on the unknowns `x` (the differentiated arguments);
* *parameters*: those that depend on other arguments or on closed-over tracers, but not on `x`;
* *known* ones, computed from concrete constants alone: index tables, masks, grids.

A *piece* is the backward slice of the equations from some outputs to some inputs. Parameters enter a piece through
`boundary` variables, evaluated once by `parameter_piece`, so a Newton loop never recomputes what does not depend on
the unknowns. Costs: one trace, then linear in the number of equations.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
from jax.core import Tracer, eval_jaxpr
from jax.extend.core import ClosedJaxpr, DropVar, Jaxpr, JaxprEqn, Literal, Var

from sparsesolve.matrix import product_jaxpr

# Wrappers without a meaning of their own. Calls with their own derivative rule (custom_jvp_call, ...) stay closed.
_CALLS = frozenset({"jit", "pjit", "closed_call", "core_call", "sparse_product"})
# Parameter equations that only widen a value: recomputed inside a piece rather than stored at full size.
_WIDENING = frozenset({"broadcast_in_dim", "convert_element_type", "reshape", "squeeze", "expand_dims", "neg", "copy"})


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """Flat equations of `y = f(x, p)`; `outputs` counts the leading outvars that are residuals (the rest is aux).

    Attributes:
        jaxpr: no constvars; invars are `x`, then the parameters `p`, then the closed-over constants.
        consts: the closed-over constants, concrete arrays or outer tracers.
        num_unknowns: how many invars are leaves of `x`.
        num_outputs: how many outvars are leaves of the residual.
        dependent: variables whose value depends on `x`.
        known: variables computed from concrete constants alone.
        boundary: parameter variables that equations depending on `x` read.
    """

    jaxpr: Jaxpr
    consts: tuple[Any, ...]
    num_unknowns: int
    num_outputs: int
    dependent: frozenset[Var]
    known: frozenset[Var]
    boundary: tuple[Var, ...]

    @property
    def unknowns(self) -> list[Var]:
        return list(self.jaxpr.invars[: self.num_unknowns])

    @property
    def parameters(self) -> list[Var]:
        return list(self.jaxpr.invars[self.num_unknowns : len(self.jaxpr.invars) - len(self.consts)])

    @property
    def const_vars(self) -> list[Var]:
        return list(self.jaxpr.invars[len(self.jaxpr.invars) - len(self.consts) :])

    @property
    def outputs(self) -> list[Any]:
        return list(self.jaxpr.outvars[: self.num_outputs])

    def depends(self, atom: Any) -> bool:
        return not isinstance(atom, Literal) and atom in self.dependent

    def is_known(self, atom: Any) -> bool:
        return isinstance(atom, Literal) or atom in self.known

    def piece(self, inputs: Sequence[Var], outputs: Sequence[Any]) -> Piece:
        """The equations from `inputs` (and boundary parameters and constants) to `outputs`."""
        stop = [*self.boundary, *self.const_vars]
        return Piece(_slice(self.jaxpr, [*inputs, *(v for v in stop if v not in set(inputs))], outputs), len(inputs))

    def parameter_piece(self) -> Jaxpr:
        """From the parameters and constants to the boundary variables."""
        return _slice(self.jaxpr, [*self.parameters, *self.const_vars], self.boundary)


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """A slice of a program; its invars are `num_inputs` inputs, then boundary parameters, then constants."""

    jaxpr: Jaxpr
    num_inputs: int

    @property
    def inputs(self) -> list[Var]:
        return list(self.jaxpr.invars[: self.num_inputs])

    @property
    def work(self) -> int:
        """Elements that one evaluation writes; the plan's measure of cost."""
        return sum(size(v) for eqn in self.jaxpr.eqns for v in eqn.outvars)

    def __call__(self, inputs: Sequence[Any], environment: Sequence[Any]) -> list[Any]:
        """Evaluates the piece; `environment` holds the boundary parameters followed by the constants."""
        return eval_jaxpr(self.jaxpr, [], *inputs, *environment)


def shape(atom: Any) -> tuple[int, ...]:
    """Shape of a jaxpr variable (`()` for types that are not arrays)."""
    return tuple(getattr(atom.aval, "shape", ()))


def size(atom: Any) -> int:
    """Number of elements of a jaxpr variable."""
    return math.prod(shape(atom))


def abstract(atoms: Sequence[Any]) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shapes and dtypes of jaxpr variables that hold arrays."""
    return tuple(
        jax.ShapeDtypeStruct(shape(v), v.aval.dtype, weak_type=bool(getattr(v.aval, "weak_type", False))) for v in atoms
    )


def trace_program(
    f: Callable[[list[Any], list[Any]], tuple[list[Any], list[Any]]], unknowns: Sequence[Any], parameters: Sequence[Any]
) -> Program:
    """Traces `f(x leaves, p leaves) -> (residual leaves, aux leaves)` on abstract values and inlines calls to jit."""
    num_outputs = 0

    def flat(*leaves: Any) -> list[Any]:
        nonlocal num_outputs
        outputs, aux = f(list(leaves[: len(unknowns)]), list(leaves[len(unknowns) :]))
        num_outputs = len(outputs)
        return [*outputs, *aux]

    arguments = [*unknowns, *parameters]
    closed = jax.make_jaxpr(flat)(*arguments)
    if any(eqn.primitive.name in _CALLS for eqn in closed.jaxpr.eqns):
        nested = closed
        closed = jax.make_jaxpr(lambda *leaves: _inline(nested, leaves))(*arguments)
    return _classify(closed, len(unknowns), num_outputs)


def _classify(closed: ClosedJaxpr, num_unknowns: int, num_outputs: int) -> Program:
    jaxpr, consts = closed.jaxpr, tuple(closed.consts)
    jaxpr = _rebuild(jaxpr, [*jaxpr.invars, *jaxpr.constvars], jaxpr.outvars, jaxpr.eqns)
    const_vars = jaxpr.invars[len(jaxpr.invars) - len(consts) :]
    dependent = set(jaxpr.invars[:num_unknowns])
    known = {v for v, c in zip(const_vars, consts, strict=True) if not isinstance(c, Tracer)}
    for eqn in jaxpr.eqns:
        operands = [v for v in eqn.invars if not isinstance(v, Literal)]
        if any(v in dependent for v in operands):
            dependent.update(eqn.outvars)
        elif all(v in known for v in operands) and not eqn.effects:
            known.update(eqn.outvars)
    boundary = _boundary(jaxpr, dependent, known)
    return Program(jaxpr, consts, num_unknowns, num_outputs, frozenset(dependent), frozenset(known), boundary)


def _boundary(jaxpr: Jaxpr, dependent: set[Var], known: set[Var]) -> tuple[Var, ...]:
    """Parameter variables read by equations that depend on the unknowns, before any widening."""
    producer = {v: eqn for eqn in jaxpr.eqns for v in eqn.outvars}
    found: dict[Var, None] = {}

    def visit(atom: Any) -> None:
        if isinstance(atom, Literal) or atom in dependent or atom in known or atom in found:
            return
        eqn = producer.get(atom)
        if eqn is not None and eqn.primitive.name in _WIDENING:
            visit(eqn.invars[0])
        else:
            found[atom] = None

    for eqn in jaxpr.eqns:
        if any(not isinstance(v, Literal) and v in dependent for v in eqn.invars):
            for atom in eqn.invars:
                visit(atom)
    for atom in jaxpr.outvars:
        visit(atom)
    return tuple(found)


def _slice(jaxpr: Jaxpr, inputs: Sequence[Var], outputs: Iterable[Any]) -> Jaxpr:
    """Backward slice: the equations that `outputs` need, stopping at `inputs`."""
    outputs = list(outputs)
    stop = set(inputs)
    needed = {v for v in outputs if not isinstance(v, Literal)} - stop
    kept: list[JaxprEqn] = []
    for eqn in reversed(jaxpr.eqns):
        if any(v in needed for v in eqn.outvars):
            kept.append(eqn)
            needed.update(v for v in eqn.invars if not isinstance(v, Literal) and v not in stop)
    return _rebuild(jaxpr, inputs, outputs, kept[::-1])


def _rebuild(jaxpr: Jaxpr, invars: Sequence[Var], outvars: Sequence[Any], eqns: Sequence[JaxprEqn]) -> Jaxpr:
    names = jaxpr.debug_info._replace(arg_names=None, result_paths=None)
    return jaxpr.replace(constvars=[], invars=list(invars), outvars=list(outvars), eqns=list(eqns), debug_info=names)


def _called(eqn: JaxprEqn) -> ClosedJaxpr:
    if eqn.primitive.name == "sparse_product":
        return product_jaxpr(eqn)
    return eqn.params.get("jaxpr") or eqn.params["call_jaxpr"]


def _inline(closed: ClosedJaxpr, arguments: Sequence[Any]) -> list[Any]:
    """Evaluates a jaxpr, entering calls to `jit`; traced, this gives the flat program."""
    jaxpr = closed.jaxpr
    values: dict[Var, Any] = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    values.update(zip(jaxpr.invars, arguments, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for eqn in jaxpr.eqns:
        if eqn.primitive.name in _CALLS:
            results = _inline(_called(eqn), [read(v) for v in eqn.invars])
            values.update(zip(eqn.outvars, results, strict=True))
            continue
        invars = list(dict.fromkeys(v for v in eqn.invars if not isinstance(v, Literal)))
        outvars = [v for v in eqn.outvars if not isinstance(v, DropVar)]
        one = _rebuild(jaxpr, invars, outvars, [eqn])
        values.update(zip(outvars, eval_jaxpr(one, [], *map(read, invars)), strict=True))
    return [read(v) for v in jaxpr.outvars]
