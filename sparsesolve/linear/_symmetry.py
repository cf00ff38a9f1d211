"""What lineax's tags say about symmetry, as the direct plans name it. Host-side."""

from __future__ import annotations

from typing import Literal

import lineax as lx

from sparsesolve.direct._symmetric import Symmetry, is_symmetric
from sparsesolve.pattern import SparsityPattern

Use = Literal["never", "where tagged", "always"]


def tagged_symmetry(operator: lx.AbstractLinearOperator) -> Symmetry | None:
    """The symmetry that an operator declares.

    As in lineax: semidefinite matrices are Hermitian, symmetric ones equal their transpose, without conjugation.
    """
    if lx.is_positive_semidefinite(operator):
        return "positive"
    if lx.is_negative_semidefinite(operator):
        return "negative"
    return "symmetric" if lx.is_symmetric(operator) else None


def usable_symmetry(operator: lx.AbstractLinearOperator, pattern: SparsityPattern, use: Use) -> Symmetry | None:
    """The symmetry by which to factorize. `"where tagged"` overlooks one that the pattern does not have."""
    if use == "never":
        return None
    symmetry = tagged_symmetry(operator)
    if use == "always":
        return symmetry or "positive"
    if symmetry is None or not is_symmetric(pattern):
        return None
    hollow = (pattern.diagonal_positions < 0).any()
    return "symmetric" if hollow and symmetry == "symmetric" else None if hollow else symmetry
