"""The statistics that every stiff solver of this package keeps, under the same names.

A solver's state carries `counts`, a dictionary of int32 scalars. They count all work, that of rejected steps
included (see `_kept.py`), and are found in `Solution.solver_state.counts` with `SaveAt(solver_state=True)`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int

COUNTS = (
    "num_residuals",  # evaluations of the right-hand side
    "num_jacobians",
    "num_factorizations",
    "num_solves",  # linear systems solved
    "num_linear_iterations",  # of Krylov solvers; zero for direct ones
    "num_newton_iterations",
    "num_newton_failures",  # steps given up because Newton's method did not converge
)

Counts = dict[str, Int[Array, ""]]


def new_counts() -> Counts:
    """All zero."""
    return {name: jnp.asarray(0, jnp.int32) for name in COUNTS}


def add_counts(counts: Counts, **increments: Any) -> Counts:
    """`counts` with some of them increased; booleans count as one."""
    more = {name: counts[name] + jnp.asarray(value).astype(jnp.int32) for name, value in increments.items()}
    return {**counts, **more}
