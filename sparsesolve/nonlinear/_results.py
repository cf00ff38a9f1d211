"""How a nonlinear solve can end. Extends optimistix's enumeration, so its messages stay available."""

from __future__ import annotations

import lineax as lx
import optimistix as optx
from jaxtyping import Array, Bool


class RESULTS(optx.RESULTS):  # pyright: ignore
    """Outcomes of `root_find`; `RESULTS[sol.result]` is the message."""

    successful = ""
    nonfinite_start = (
        "The residual has NaN or infinite entries at the initial guess y0, so there is no direction to go. Evaluate "
        "fn(y0, args) and start from a point where it is finite."
    )
    nonfinite_jacobian = (
        "The Jacobian has NaN or infinite entries where the residual itself is finite (the derivative of sqrt, log or "
        "a norm at zero, usually). Rewrite the residual so that its derivative is finite there, or start elsewhere."
    )
    singular_jacobian = (
        "The Jacobian is singular, or so nearly that the Newton step failed its residual check. Likely causes: "
        "(a) the equations do not determine all unknowns (a pressure or potential known up to a constant, a missing "
        "boundary condition); (b) this iterate sits at a fold or bifurcation, try another y0; (c) the derivative "
        "vanishes at y0, as that of y**2 does at 0."
    )
    line_search_failed = (
        "The residual norm cannot be decreased along the Newton direction: the iteration stagnated away from a root. "
        "Likely causes: (a) a local minimum of the residual norm, try another y0 or approach the parameters in "
        "steps; (b) the residual is not smooth there; (c) rounding errors of the residual are larger than the "
        "tolerance, write a larger rtol."
    )
    newton_stagnated = (
        "The line search allows only steps shorter than the tolerance, but the full Newton step is not short and the "
        "residual not small: the iteration stagnated near a local minimum of the residual norm, or where the Jacobian "
        "becomes singular. Try another y0, or approach the parameters in steps."
    )


def to_optimistix(result: RESULTS) -> optx.RESULTS:
    """The closest member of optimistix's own enumeration, which its drivers insist on."""

    def among(*items: RESULTS) -> Bool[Array, ""]:
        found = result == items[0]
        for item in items[1:]:
            found = found | (result == item)
        return found

    out = optx.RESULTS.where(
        among(RESULTS.successful), optx.RESULTS.successful, optx.RESULTS.promote(lx.RESULTS.stagnation)
    )
    out = optx.RESULTS.where(among(RESULTS.singular_jacobian), optx.RESULTS.promote(lx.RESULTS.singular), out)
    nonfinite = among(RESULTS.nonfinite_start, RESULTS.nonfinite_jacobian)
    out = optx.RESULTS.where(nonfinite, optx.RESULTS.nonfinite, out)
    return optx.RESULTS.where(
        among(RESULTS.line_search_failed, RESULTS.newton_stagnated), optx.RESULTS.nonlinear_divergence, out
    )
