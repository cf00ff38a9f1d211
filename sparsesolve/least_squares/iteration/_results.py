"""How a least-squares solve can end. Extends optimistix's enumeration, so its messages stay available."""

from __future__ import annotations

import optimistix as optx


class RESULTS(optx.RESULTS):  # pyright: ignore
    """Outcomes of `least_squares`; `RESULTS[sol.result]` is the message."""

    successful = ""
    nonfinite_start = (
        "The residual has NaN or infinite entries at the initial guess y0, so there is no direction to go. Evaluate "
        "fn(y0, args) and start from a point where it is finite."
    )
    nonfinite_jacobian = (
        "The Jacobian has NaN or infinite entries where the residual itself is finite (the derivative of sqrt, log or "
        "a norm at zero, usually). Rewrite the residual so that its derivative is finite there, or start elsewhere."
    )
    infeasible = (
        "No point fulfils both the equality constraints and the bounds; give constraints A y = b that some y between "
        "the bounds fulfils."
    )
    stagnated = (
        "No step, however short, decreases the sum of squares, but the gradient is not zero. Likely causes: (a) the "
        "residual is not smooth at the last iterate, or its derivative is wrong (a custom_jvp); (b) its rounding "
        "errors are larger than the tolerances, write a larger rtol or ftol; (c) a linear solve failed, try double "
        "precision."
    )
