"""How a direct solve can end."""

from __future__ import annotations

import equinox as eqx
from jaxtyping import Array, Int


class SolveStatus(eqx.Enumeration):
    """Outcome of a checked solve; `SolveStatus[stats["status"]]` is the message. lineax has no member for some of
    them: its `result` is then the nearest one."""

    successful = ""
    singular = (
        "The matrix is singular to working precision: changing each of its rows by a relative 1e-12 (float64) makes it "
        "singular, and the right-hand side is out of its reach."
    )
    inaccurate = (
        "Neither refinement nor GMRES with the factors reached the accuracy asked for. The matrix is not known to be "
        "singular: give typical values as sample, so that the pivots are chosen by them, factorize the present values "
        "anew if the factors are older ones, or use factors of higher precision."
    )
    nonfinite = "The matrix or the right-hand side holds NaN or infinite entries."
    pattern_mismatch = "The operator has an entry outside the pattern that was prepared."
    not_definite = "A pivot was not positive: the matrix is not positive definite. Write SparseLU or AutoSparse."


def status_of(code: Int[Array, ""]) -> SolveStatus:
    """The status that a kernel means by a number (`_native/src/refine.h`)."""
    status = SolveStatus.where(code == 1, SolveStatus.singular, SolveStatus.successful)
    status = SolveStatus.where(code == 2, SolveStatus.inaccurate, status)
    return SolveStatus.where(code == 3, SolveStatus.nonfinite, status)
