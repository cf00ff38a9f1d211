"""The Brusselator on 100 x 100 points, 20,000 unknowns: direct and Krylov."""

from __future__ import annotations

import sparsesolve as ss
from benchmarks._base import Case
from benchmarks._ode_ours import ours
from benchmarks._ode_peers import cvode

PEERS = {
    "BDF": ours(ss.BDF),
    "CVODE, direct": cvode("direct"),
    "CVODE, GMRES": cvode("GMRES"),
}


def cases(quick: bool) -> list[Case]:
    """One tolerance; nothing when it should be quick."""
    parameters = {"problem": "brusselator_ode", "size": 100, "rtol": 1e-6}
    return [] if quick else [Case("brusselator_ode(100), rtol 1e-06", parameters, tuple(PEERS))]
