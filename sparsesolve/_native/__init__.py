from sparsesolve._native._calls import (
    NativeFactors as NativeFactors,
    NativeTables as NativeTables,
    SymmetricFactors as SymmetricFactors,
    factor as factor,
    factor_symmetric as factor_symmetric,
    invert_symmetric as invert_symmetric,
    solve as solve,
    solve_symmetric as solve_symmetric,
)
from sparsesolve._native._checked_calls import (
    CheckedSolution as CheckedSolution,
    Limits as Limits,
    simplicial_solve_checked as simplicial_solve_checked,
    solve_checked as solve_checked,
    solve_symmetric_checked as solve_symmetric_checked,
)
from sparsesolve._native._gram_calls import gram as gram
from sparsesolve._native._load import (
    CSR_ROWS as CSR_ROWS,
    DIAGONALS as DIAGONALS,
    PADDED_ROWS as PADDED_ROWS,
    STENCIL as STENCIL,
    available as available,
    require as require,
    status as status,
)
from sparsesolve._native._memory_calls import untouched as untouched
from sparsesolve._native._multigrid_calls import (
    aggregate_greedily as aggregate_greedily,
    chebyshev_sweep as chebyshev_sweep,
    csr_product as csr_product,
    galerkin_product as galerkin_product,
)
from sparsesolve._native._simplicial_calls import (
    SimplicialFactors as SimplicialFactors,
    SimplicialTables as SimplicialTables,
    simplicial_factor as simplicial_factor,
    simplicial_solve as simplicial_solve,
)
from sparsesolve._native._symbolic import (
    LUStructure as LUStructure,
    group_columns as group_columns,
    symbolic_lu as symbolic_lu,
)
