from sparsesolve.coloring._base import Coloring as Coloring, Partition as Partition
