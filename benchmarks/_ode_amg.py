"""CVODE with GMRES and algebraic multigrid (PyAMG) as preconditioner, renewed when CVODE asks for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from benchmarks._base import Trial
from benchmarks._ode_peers import Flat


class _Multigrid:
    """`I - gamma J` by classical multigrid; J is kept as long as CVODE says that it is current."""

    def __init__(self, f: Flat):
        self.f, self.setups, self.cycles = f, 0, 0
        self.jacobian: Any = None

    def setup(self, t: float, y: np.ndarray, yp: np.ndarray, current: bool, new: Any, gamma: float) -> None:
        import pyamg

        del yp
        new[0] = 0 if current and self.jacobian is not None else 1
        jacobian: Any = scipy.sparse.csr_matrix(self.f.jacobian(t, y)) if new[0] else self.jacobian
        self.jacobian = jacobian
        identity = scipy.sparse.eye(self.f.y0.size, format="csr")
        self.apply = pyamg.ruge_stuben_solver((identity - gamma * jacobian).tocsr()).aspreconditioner()
        self.setups += 1

    def solve(
        self, t: float, y: Any, yp: Any, r: np.ndarray, z: np.ndarray, gamma: float, delta: float, lr: int
    ) -> None:
        del t, y, yp, gamma, delta, lr
        z[:] = self.apply @ r
        self.cycles += 1


def cvode_multigrid(problem: str, size: int | None, rtol: float) -> Trial:
    """A peer."""
    import pyamg  # noqa: F401  (skipped here where it is missing, not in the middle of a run)
    from sksundae.cvode import CVODE, CVODEPrecond

    f = Flat(problem, size, rtol)
    notes: dict[str, Any] = {}

    def rhsfn(t: float, y: np.ndarray, yp: np.ndarray) -> None:
        yp[:] = f.rhs(t, y)

    def run() -> np.ndarray:
        y, counts = f.y0, np.zeros(3, int)
        for a, b in f.pieces():
            grid = _Multigrid(f)
            options = {"linsolver": "gmres", "krylov_dim": 10, "precond": CVODEPrecond(grid.setup, grid.solve)}
            solver = CVODE(rhsfn, method="BDF", rtol=rtol, atol=f.atol, max_num_steps=10**6, **options)
            out = solver.solve(np.asarray([a, b]), y)
            y = np.asarray(out.y)[-1]
            counts += (out.nfev, grid.setups, grid.cycles)
        notes.update(zip(("evaluations", "setups", "cycles"), map(int, counts), strict=True))
        return y

    return f.trial(run, notes)
