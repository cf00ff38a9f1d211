from sparsesolve._native._calls import (
    NativeFactors as NativeFactors,
    NativeTables as NativeTables,
    factor as factor,
    solve as solve,
)
from sparsesolve._native._load import available as available, status as status
