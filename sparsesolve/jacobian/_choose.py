"""Chooses the plan: whole function or peeled, and how deep the head reaches. Plan side.

Candidates are priced by an estimate of one evaluation's time: colours times the size of what is differentiated,
plus the gathers of the decompression. Peeled candidates differ in what their core reads: index maps of the unknowns
(`u[1:]`, `u[triangles]`), linear functions of them (differences at faces), or the unknowns themselves. The whole
function is coloured with care only if a lower bound on its price, and one greedy pass, say that it can win.
"""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
from jax.extend.core import Var

from sparsesolve.coloring import Coloring, color
from sparsesolve.jacobian._compress import choose_coloring, entry_addresses, longest, quick_coloring
from sparsesolve.jacobian._contributions import Contributions, count_contributions, expand
from sparsesolve.jacobian._decompress import plan_layout
from sparsesolve.jacobian._linear_map import LinearMap, PiecesTooDense, known_values, piece_pattern, tangent_jaxpr
from sparsesolve.jacobian._peel import Head, Peeling
from sparsesolve.jacobian._plan import Plan, gather_work, make_passes, pass_work, plain_plan
from sparsesolve.jacobian._program import Piece, Program, abstract, size
from sparsesolve.pattern import SparsityPattern

# Peeling must save a quarter, and may not blow up the decompression.
_GAIN = 0.75
_MAX_CONTRIBUTIONS_PER_ENTRY = 16
# A search leaves about this share of the colours of one greedy pass.
_SEARCHED = 0.8
# With so few colours no deeper head is worth its analysis.
_FEW_COLORS = 2


@dataclasses.dataclass(frozen=True, eq=False)
class _Candidate:
    core: Piece
    head: LinearMap
    index_head: bool
    pattern: SparsityPattern
    coloring: Coloring
    work: float


def choose_plan(
    program: Program,
    pattern: SparsityPattern,
    dtype: np.dtype,
    *,
    peel: bool,
    chunk: int | None,
    symmetric: bool,
) -> Plan:
    """The cheapest plan for the program.

    Args:
        program: the function.
        pattern: holds every entry of its Jacobian that can be nonzero.
        dtype: of the Jacobian's data.
        peel: whether to look for a linear part.
        chunk: how many colours are computed at once, `None` for all.
        symmetric: whether the Jacobian is symmetric (a Hessian): then a star colouring reads two entries at once.
    """
    whole = program.piece(program.unknowns, program.outputs)
    peeling = Peeling(program) if peel else None
    tail, best = None, None
    # The pattern of J has told the user about unknown primitives already.
    with warnings.catch_warnings(), contextlib.suppress(PiecesTooDense):
        warnings.simplefilter("ignore")
        if peeling is not None:
            tail = LinearMap(peeling.tail(), program.consts, dtype)
            if not peeling.cut_outputs:
                return _linear_plan(program, pattern, dtype, tail)
            best = _best_candidate(program, pattern, dtype, peeling, tail)
    if best is not None and tail is not None and _surely_cheaper(best, whole, pattern, symmetric):
        return _peeled_plan(program, pattern, dtype, tail, best, chunk)
    coloring = whole_coloring(whole, pattern, symmetric)
    if best is not None and tail is not None:
        if best.work < _GAIN * (pass_work(whole, coloring) + pattern.nnz):
            return _peeled_plan(program, pattern, dtype, tail, best, chunk)
    return plain_plan(program, pattern, coloring, dtype, chunk)


def whole_coloring(whole: Piece, pattern: SparsityPattern, symmetric: bool) -> Coloring:
    """The colouring for differentiating the function as a whole."""
    if symmetric:
        return color(pattern, "symmetric")
    return choose_coloring(pattern, abstract(whole.inputs), abstract(whole.jaxpr.outvars))


def _surely_cheaper(best: _Candidate, whole: Piece, pattern: SparsityPattern, symmetric: bool) -> bool:
    """Whether the whole function loses by what is known, or to be expected, without a search for its colouring."""
    if best.work < _GAIN * _least_work(whole, pattern, symmetric):
        return True
    if symmetric:
        return False
    quick = quick_coloring(pattern, abstract(whole.inputs), abstract(whole.jaxpr.outvars))
    return best.work < _GAIN * (_SEARCHED * pass_work(whole, quick) + pattern.nnz)


def _least_work(whole: Piece, pattern: SparsityPattern, symmetric: bool) -> float:
    """No column or row colouring of the whole function is cheaper (a star colouring may need two colours only)."""
    if symmetric:
        return 2 * 0.4 * whole.work
    return _least_pass_work(whole, pattern) + pattern.nnz


def _least_pass_work(core: Piece, pattern: SparsityPattern) -> float:
    row, column = longest(pattern)
    columns = Coloring("column", np.asarray([row - 1]), None)
    return min(pass_work(core, columns), pass_work(core, Coloring("row", None, np.asarray([column - 1]))))


def _best_candidate(
    program: Program, pattern: SparsityPattern, dtype: np.dtype, peeling: Peeling, tail: LinearMap
) -> _Candidate | None:
    best: _Candidate | None = None
    seen: list[list[Var]] = []
    heads: Sequence[Head] = ("maps", "affine", "unknowns")
    for head in heads:
        inputs = peeling.core_inputs(head)
        if inputs in seen:
            continue
        seen.append(inputs)
        if best is not None and sum(map(size, inputs)) >= sum(map(size, best.core.inputs)):
            continue  # a deeper head pays only by a narrower interface
        candidate = _candidate(program, pattern, dtype, peeling, tail, inputs, head != "affine", best)
        best = candidate or best
        if best is not None and best.coloring.num_colors <= _FEW_COLORS:
            break
    return best


def _candidate(
    program: Program,
    pattern: SparsityPattern,
    dtype: np.dtype,
    peeling: Peeling,
    tail: LinearMap,
    inputs: list[Var],
    index_head: bool,
    best: _Candidate | None,
) -> _Candidate | None:
    """The plan whose core reads `inputs`, if it beats the best so far."""
    head = LinearMap(peeling.head(inputs), program.consts, dtype)
    aliases = _equal_maps(inputs, head.pattern) if index_head else {}
    if aliases:
        head = LinearMap(peeling.head([v for v in inputs if v not in aliases]), program.consts, dtype)
    core = peeling.core(inputs, aliases)
    found = piece_pattern(tangent_jaxpr(core, at_zero=False), core, known_values(core, program.consts))
    count = count_contributions(found, tail.pattern, head.pattern)
    if count > _MAX_CONTRIBUTIONS_PER_ENTRY * max(1, pattern.nnz):
        return None
    gathers = gather_work(count, pattern)
    if best is not None and _least_pass_work(core, found) + gathers >= _GAIN * best.work:
        return None
    coloring = choose_coloring(found, abstract(core.inputs), abstract(core.jaxpr.outvars))
    work = pass_work(core, coloring) + gathers
    if best is not None and work >= _GAIN * best.work:
        return None
    return _Candidate(core, head, index_head, found, coloring, work)


def _equal_maps(inputs: list[Var], pattern: SparsityPattern) -> dict[Var, Var]:
    """Inputs of the core that read the same elements as an earlier one."""
    aliases: dict[Var, Var] = {}
    first: dict[tuple[object, ...], Var] = {}
    start = 0
    for v in inputs:
        stop = start + size(v)
        rows = pattern.indptr[start : stop + 1]
        # An element that reads nothing (padding) may hold another value elsewhere.
        if np.all(np.diff(rows) == 1):
            key = (*_kind(v), pattern.indices[rows[0] : rows[-1]].tobytes())
            if key in first:
                aliases[v] = first[key]
            else:
                first[key] = v
        start = stop
    return aliases


def _kind(v: Var) -> tuple[tuple[int, ...], np.dtype]:
    (leaf,) = abstract([v])
    return leaf.shape, leaf.dtype


def _peeled_plan(
    program: Program,
    pattern: SparsityPattern,
    dtype: np.dtype,
    tail: LinearMap,
    chosen: _Candidate,
    chunk: int | None,
) -> Plan:
    addresses = entry_addresses(chosen.pattern, chosen.coloring)
    contributions = expand(pattern, chosen.pattern, addresses, tail.pattern, chosen.head.pattern)
    if tail.static is not None:
        contributions = contributions.select(tail.static[contributions.tail] != 0)
    layout = plan_layout(contributions.slot, pattern.nnz)
    passes = make_passes(chosen.core, chosen.coloring, dtype, chunk)
    head_map = None if chosen.index_head else chosen.head
    return Plan(program, pattern, dtype, chosen.core, chosen.head.piece, passes, contributions, layout, tail, head_map)


def _linear_plan(program: Program, pattern: SparsityPattern, dtype: np.dtype, tail: LinearMap) -> Plan:
    """The plan of a function that is linear in its unknowns: J = C."""
    none = np.zeros(0, np.int64)
    coloring = Coloring("column", np.zeros(0, np.int32), None, 0, "linear")
    contributions = Contributions(none, none, none, none)
    piece = Piece(program.piece([], []).jaxpr, 0)
    return Plan(
        program,
        pattern,
        dtype,
        None,
        None,
        make_passes(piece, coloring, dtype, None),
        contributions,
        plan_layout(none, pattern.nnz),
        tail,
    )
