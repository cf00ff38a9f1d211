"""How many inputs each variable of a program reads, counted symbolically; prices for the minimum cut. Plan side.

A *term* is a chain of element moves from an unknown: `u`, `slice(u)`, `gather(slice(u))`. An elementwise equation
unites the terms of its operands, a move prepends itself to each, a contraction over `r` elements multiplies their
weight by `r`. The sum of a variable's weights is the average number of nonzeros in a row of its Jacobian, found without
any array: `exp(u) * u` has degree 1, `u[1:] * u[:-1]` has 2, a scatter-add keeps the total number of nonzeros.
These are estimates: they decide which cut is cheap, never what is correct.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jax.extend.core import JaxprEqn, Literal, Var

from sparsesolve.jacobian._program import Program, shape, size

_MAX_TERMS = 256
_MOVES = frozenset(
    "reshape squeeze expand_dims transpose rev slice broadcast_in_dim copy unstack split gather dynamic_slice "
    "convert_element_type sharding_constraint".split()
)
# Operands are spread over the output or summed into it: the number of nonzeros is kept.
_KEEPS_NONZEROS = frozenset("concatenate pad stack reduce_sum scatter-add scatter dynamic_update_slice".split())
_DENSE = frozenset(
    "cumprod cummax cummin cumlogsumexp cumsum sort fft triangular_solve tridiagonal_solve cholesky lu qr eigh svd "
    "scan while cond custom_linear_solve reduce_window_sum".split()
)

Terms = dict[int, float]


def row_degrees(program: Program, eqns: Sequence[JaxprEqn]) -> dict[Var, float]:
    """Estimated nonzeros per element for every variable of `eqns` that depends on the unknowns."""
    counter = _Counter(sum(size(v) for v in program.unknowns))
    terms: dict[Var, Terms] = {v: {counter.intern("x", i): 1.0} for i, v in enumerate(program.unknowns)}
    for eqn in eqns:
        operands = [(i, v) for i, v in enumerate(eqn.invars) if not isinstance(v, Literal) and v in terms]
        if operands:
            merged = counter.rule(eqn, [(i, size(v), terms[v]) for i, v in operands])
            for k, v in enumerate(eqn.outvars):
                moved = eqn.primitive.name in ("unstack", "split")
                terms[v] = counter.prepend((id(eqn), k), merged, 1.0) if moved else merged
    return {v: sum(t.values()) for v, t in terms.items()}


class _Counter:
    """Interns terms as small integers, so that equal chains of moves are equal numbers."""

    def __init__(self, num_unknowns: int):
        self.num_unknowns = num_unknowns
        self._numbers: dict[tuple[object, int], int] = {}

    def intern(self, step: object, term: int) -> int:
        return self._numbers.setdefault((step, term), len(self._numbers))

    def prepend(self, step: object, terms: Terms, weight: float) -> Terms:
        return {self.intern(step, t): w * weight for t, w in terms.items()}

    def rule(self, eqn: JaxprEqn, operands: list[tuple[int, int, Terms]]) -> Terms:
        name, out = eqn.primitive.name, max(1, max(size(v) for v in eqn.outvars))
        merged: Terms = {}
        for position, elements, terms in operands:
            for t, w in self._operand(eqn, name, out, position, elements, terms).items():
                merged[t] = max(w, merged.get(t, 0.0))
        if len(merged) > _MAX_TERMS:
            merged = {self.intern("many", id(eqn)): sum(merged.values())}
        return merged

    def _operand(self, eqn: JaxprEqn, name: str, out: int, position: int, elements: int, terms: Terms) -> Terms:
        if name in _MOVES:
            return self.prepend(_signature(eqn), terms, 1.0)
        if name in _KEEPS_NONZEROS:
            return self.prepend((_signature(eqn), position), terms, elements / out)
        if name == "dot_general":
            (left, right), _ = eqn.params["dimension_numbers"]
            extents = shape(eqn.invars[position])
            return self.prepend(
                (_signature(eqn), position), terms, math.prod(extents[d] for d in (left, right)[position])
            )
        if name == "conv_general_dilated" and position == 0:
            return self.prepend(_signature(eqn), terms, size(eqn.invars[1]) / max(1, shape(eqn.outvars[0])[0]))
        if name in _DENSE or elements != out:
            return {self.intern("dense", id(eqn)): float(min(self.num_unknowns, elements * sum(terms.values())))}
        return terms


def _signature(eqn: JaxprEqn) -> tuple[object, ...]:
    """Equal for equations that move elements alike."""
    others = tuple(_operand_key(v) for v in eqn.invars[1:])
    return (eqn.primitive.name, repr(eqn.params), others)


def _operand_key(atom: object) -> object:
    if isinstance(atom, Literal):
        return np.asarray(atom.val).tobytes()
    return id(atom)
