from sparsesolve.direct._base import AbstractDirectPlan as AbstractDirectPlan
from sparsesolve.direct._memory import physical_memory as physical_memory
from sparsesolve.direct._plan import plan_direct as plan_direct
from sparsesolve.direct._refine import (
    RefinedInfo as RefinedInfo,
    solve_once as solve_once,
    solve_refined as solve_refined,
)
from sparsesolve.direct._status import SolveStatus as SolveStatus
