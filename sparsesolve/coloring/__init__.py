from sparsesolve.coloring._base import Coloring as Coloring, Partition as Partition
from sparsesolve.coloring._check import check_coloring as check_coloring
from sparsesolve.coloring._color import best_coloring as best_coloring, color as color
