from sparsesolve.pattern._convert import as_pattern as as_pattern
from sparsesolve.pattern._detect import (
    TooManyEntriesError as TooManyEntriesError,
    detect_sparsity as detect_sparsity,
    jaxpr_sparsity as jaxpr_sparsity,
    most_entries as most_entries,
)
from sparsesolve.pattern._pattern import SparsityPattern as SparsityPattern
from sparsesolve.pattern._register import register_sparsity_rule as register_sparsity_rule
from sparsesolve.pattern._warnings import SparsityWarning as SparsityWarning
