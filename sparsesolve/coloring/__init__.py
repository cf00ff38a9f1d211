from sparsesolve.coloring._base import Coloring as Coloring, Partition as Partition
from sparsesolve.coloring._check import check_coloring as check_coloring
from sparsesolve.coloring._color import (
    VJP_WEIGHT as VJP_WEIGHT,
    best_coloring as best_coloring,
    color as color,
    coloring_cost as coloring_cost,
)
