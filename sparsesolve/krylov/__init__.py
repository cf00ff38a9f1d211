"""Krylov methods as pure functions on flat arrays and callables; `linear/` makes lineax solvers of them."""

from sparsesolve.krylov._base import (
    BREAKDOWN as BREAKDOWN,
    CONVERGED as CONVERGED,
    MAX_STEPS as MAX_STEPS,
    NONFINITE as NONFINITE,
    STAGNATION as STAGNATION,
    KrylovInfo as KrylovInfo,
)
from sparsesolve.krylov._bicgstab import bicgstab as bicgstab
from sparsesolve.krylov._cg import cg as cg
from sparsesolve.krylov._gcr import GCRResult as GCRResult, gcr_cycle as gcr_cycle
from sparsesolve.krylov._gmres import gmres as gmres
from sparsesolve.krylov._idr import idr as idr
from sparsesolve.krylov._lsmr import LSMRInfo as LSMRInfo, lsmr as lsmr
