"""The pattern that a prepared Jacobian works on: detected or given, for this program. Plan side."""

from __future__ import annotations

from typing import Any

from sparsesolve._tree import Structure
from sparsesolve.jacobian._linear_map import known_values, piece_pattern, tangent_jaxpr
from sparsesolve.jacobian._program import Program
from sparsesolve.pattern import SparsityPattern, as_pattern


def program_pattern(
    program: Program,
    inputs: Structure,
    outputs: Structure,
    sparsity: Any,
    prepared: SparsityPattern | None,
    *,
    square: bool,
    symmetric: bool,
    caller: str,
) -> SparsityPattern:
    """The pattern of the Jacobian.

    Args:
        program: the function.
        inputs, outputs: its structures.
        sparsity: what the user gave, or `None`.
        prepared: the pattern of an earlier specialisation; later ones must fit into it.
        square: whether all diagonal entries are stored.
        symmetric: whether the pattern is made symmetric.
        caller: for messages.
    """
    shape = (outputs.size, inputs.size)
    if sparsity is not None:
        if prepared is not None:
            return prepared
        given = as_pattern(sparsity, shape)
        pattern = SparsityPattern(
            given.indptr, given.indices, given.shape, column_shapes=inputs.shapes, row_shapes=outputs.shapes
        )
    else:
        whole = program.piece(program.unknowns, program.outputs)
        pattern = piece_pattern(tangent_jaxpr(whole, at_zero=False), whole, known_values(whole, program.consts))
    if symmetric:
        pattern = pattern.union(pattern.T)
    if square and shape[0] == shape[1]:
        pattern = pattern.with_diagonal()
    if prepared is None or prepared == pattern:
        return pattern if prepared is None else prepared
    if prepared.union(pattern) != prepared:
        raise ValueError(
            f"This {caller} was prepared with other static arguments (integers, strings, callables), for which it has "
            f"a smaller pattern ({prepared.nnz} entries) than these need ({prepared.union(pattern).nnz}); prepare "
            f"another with {caller}(f, *args)."
        )
    return prepared
