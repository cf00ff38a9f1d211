from sparsesolve._native._calls import (
    NativeFactors as NativeFactors,
    NativeTables as NativeTables,
    SymmetricFactors as SymmetricFactors,
    factor as factor,
    factor_symmetric as factor_symmetric,
    solve as solve,
    solve_symmetric as solve_symmetric,
)
from sparsesolve._native._load import available as available, status as status
