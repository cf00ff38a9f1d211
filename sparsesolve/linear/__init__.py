"""lineax solver classes: any lineax operator in, a sparse factorization inside, a checked solution out."""

from sparsesolve._cache import caches as caches, clear_caches as clear_caches
from sparsesolve.linear._auto import AutoSparse as AutoSparse
from sparsesolve.linear._banded import Banded as Banded
from sparsesolve.linear._base import AbstractDirectSolver as AbstractDirectSolver, DirectState as DirectState
from sparsesolve.linear._bicgstab import BiCGStab as BiCGStab
from sparsesolve.linear._cg import CG as CG
from sparsesolve.linear._cholesky import SparseCholesky as SparseCholesky
from sparsesolve.linear._gmres import GMRES as GMRES
from sparsesolve.linear._idr import IDR as IDR
from sparsesolve.linear._lu import SparseLU as SparseLU
