"""The Brusselator on 100 x 100 points, 20,000 unknowns: direct, stale factors and multigrid, with CVODE beside.

`solve_ode` is its own choice: BDF with factors in single precision where they will do.
"""

from __future__ import annotations

import sparsesolve as ss
from benchmarks._base import Case
from benchmarks._ode_amg import cvode_multigrid
from benchmarks._ode_ours import ours
from benchmarks._ode_peers import cvode

PEERS = {
    "solve_ode": ours(None),
    "BDF, double": ours(lambda: ss.BDF(linear_solver=ss.AutoSparse())),
    "BDF, GMRES + LaggedLU": ours(lambda: ss.BDF(linear_solver=ss.GMRES(preconditioner=ss.LaggedLU()))),
    "BDF, GMRES + AMG": ours(lambda: ss.BDF(linear_solver=ss.GMRES(preconditioner=ss.AMG()))),
    "CVODE, direct": cvode("direct"),
    "CVODE, GMRES": cvode("GMRES"),
    "CVODE, GMRES + AMG": cvode_multigrid,
}


def cases(quick: bool) -> list[Case]:
    """One tolerance; nothing when it should be quick."""
    parameters = {"problem": "brusselator_ode", "size": 100, "rtol": 1e-6}
    return [] if quick else [Case("brusselator_ode(100), rtol 1e-06", parameters, tuple(PEERS))]
