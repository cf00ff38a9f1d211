"""Linear peeling: J = C + B J_core A, so that only the nonlinear core is coloured and differentiated. Plan side.

A discretized PDE is mostly linear bookkeeping around a small nonlinear heart. A program `y = f(x, p)` is split as

    c = head(x),    z = core(c, p),    y = tail(z, x, p)

where `tail` is linear in `(z, x)`, with weights from parameters and constants, and `head` moves elements. Then
`B = d tail / d z`, `C = d tail / d x` (both independent of `x`: computed once per solve) and `A = d head / d x`. The
core often acts point by point: five-point Bratu needs 7 colours whole and 1 for its core.

Which linear equations belong to the tail is a minimum cut (see `_flow`): the price of a variable at the interface is
the number of nonzeros of its Jacobian (see `_degrees`). Variables that are linear in `x` from start to end cost
nothing, for the tail computes them anew. Cost: linear in the number of equations, apart from the maximum flow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal as Choice

from jax.extend.core import JaxprEqn, Literal, Var

from sparsesolve.jacobian._degrees import row_degrees
from sparsesolve.jacobian._flow import smallest_core
from sparsesolve.jacobian._linear_rules import is_index_map, is_linear
from sparsesolve.jacobian._program import Piece, Program, size

Head = Choice["maps", "affine", "unknowns"]


class Peeling:
    """The minimum cut of one program, and the pieces on either side of it.

    Attributes:
        cut_outputs: variables that the core hands to the tail.
        num_tail: equations of the tail that read the core's results.
    """

    def __init__(self, program: Program):
        self.program = program
        self._eqns = list(program.piece(program.unknowns, program.outputs).jaxpr.eqns)
        self._maps = self._closure(is_index_map)
        self._affine = self._closure(is_linear)
        in_core = self._cut()
        self.cut_outputs = self._cut_outputs(in_core)
        self.num_tail = len(in_core) - sum(in_core.values())

    def tail(self) -> Piece:
        """From the core's results and the unknowns to the residual; linear."""
        return self.program.piece([*self.cut_outputs, *self.program.unknowns], self.program.outputs)

    def core_inputs(self, head: Head) -> list[Var]:
        """What the core reads: index maps of `x`, linear functions of `x`, or `x` itself."""
        stop = {"maps": self._maps, "affine": self._affine, "unknowns": set(self.program.unknowns)}[head]
        return self._frontier(stop)

    def head(self, inputs: list[Var]) -> Piece:
        """From the unknowns to the inputs of the core."""
        return self.program.piece(self.program.unknowns, inputs)

    def core(self, inputs: list[Var], aliases: dict[Var, Var]) -> Piece:
        """From the inputs of the core to its results; `aliases` names inputs that equal others."""
        kept = [v for v in inputs if v not in aliases]
        whole = self.program.piece(inputs, self.cut_outputs).jaxpr
        eqns = [
            eqn.replace(invars=[v if isinstance(v, Literal) else aliases.get(v, v) for v in eqn.invars])
            for eqn in whole.eqns
        ]
        return Piece(whole.replace(invars=[*kept, *whole.invars[len(inputs) :]], eqns=eqns), len(kept))

    def _closure(self, rule: Callable[..., bool]) -> set[Var]:
        """Variables reached from the unknowns through equations that satisfy `rule` alone."""
        reached = set(self.program.unknowns)
        for eqn in self._eqns:
            operands = [v for v in eqn.invars if self.program.depends(v)]
            if operands and all(v in reached for v in operands):
                if rule(eqn, self.program.depends, self.program.is_known):
                    reached.update(eqn.outvars)
        return reached

    def _is_free(self, atom: Any) -> bool:
        return not self.program.depends(atom) or atom in self._affine

    def _cut(self) -> dict[int, bool]:
        """Whether each equation that is not linear from start to end is in the core, by its `id`."""
        eqns = [eqn for eqn in self._eqns if not all(self._is_free(v) for v in eqn.outvars)]
        variables = {v: i for i, v in enumerate(v for eqn in eqns for v in eqn.outvars)}
        degrees = row_degrees(self.program, self._eqns)
        in_core = smallest_core(
            [[variables[v] for v in _operands(eqn) if v in variables] for eqn in eqns],
            [[variables[v] for v in eqn.outvars] for eqn in eqns],
            [is_linear(eqn, self.program.depends, self.program.is_known) for eqn in eqns],
            [size(v) * degrees[v] for v in variables],
            [variables[v] for v in self.program.outputs if not isinstance(v, Literal) and v in variables],
        )
        return {id(eqn): bool(flag) for eqn, flag in zip(eqns, in_core, strict=True)}

    def _cut_outputs(self, in_core: dict[int, bool]) -> list[Var]:
        produced = {v for eqn in self._eqns if in_core.get(id(eqn)) for v in eqn.outvars}
        found: dict[Var, None] = {}
        for eqn in self._eqns:
            if in_core.get(id(eqn)) is False:
                found.update((v, None) for v in _operands(eqn) if v in produced)
        found.update((v, None) for v in self.program.outputs if not isinstance(v, Literal) and v in produced)
        return list(found)

    def _frontier(self, stop: set[Var]) -> list[Var]:
        """Members of `stop` that the core reads."""
        found: dict[Var, None] = {}
        needed = set(self.cut_outputs)
        for eqn in reversed(self._eqns):
            if any(v in needed for v in eqn.outvars):
                for v in _operands(eqn):
                    if v in stop:
                        found[v] = None
                    elif self.program.depends(v):
                        needed.add(v)
        return list(found)[::-1]


def _operands(eqn: JaxprEqn) -> list[Var]:
    return list(dict.fromkeys(v for v in eqn.invars if not isinstance(v, Literal)))
