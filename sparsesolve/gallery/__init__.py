"""Test problems with known answers: plain JAX residuals as a user would write them.

Tests, examples and benchmarks share them; they import nothing of the package. Each function returns a `Problem`.

| problem | unknowns | what it exercises | the answer it is checked against |
|---|---|---|---|
| `bratu_1d`, `bratu_2d`, `bratu_3d` | n, n^2, n^3 | 3-, 5-, 7-point stencils, a fold | closed form; collocation |
| `bratu_2d_manufactured` | n^2 | a source in `args` | manufactured, order 2 |
| `brusselator` | 2 n^2 | two fields, periodic | balance of mass; homogeneous state |
| `p_laplacian` | n^2 | gradient of an energy, degenerate | radial solution, order 2 |
| `cavity` | 2 n^2 | convection, boundary formulas | Ghia et al., Botella and Peyret |
| `fem_diffusion` | n^2 | gathers and scatter-adds on a mesh | manufactured, order 2 in L2 |
| `reaction_diffusion` | 6 n^2 | six fields, dense local coupling | three conservation laws |
"""

from sparsesolve.gallery._bratu import (
    CRITICAL_LAM as CRITICAL_LAM,
    bratu_1d as bratu_1d,
    bratu_2d as bratu_2d,
    bratu_2d_manufactured as bratu_2d_manufactured,
    bratu_3d as bratu_3d,
)
from sparsesolve.gallery._brusselator import brusselator as brusselator
from sparsesolve.gallery._cavity import cavity as cavity, centreline as centreline
from sparsesolve.gallery._fem_diffusion import fem_diffusion as fem_diffusion
from sparsesolve.gallery._p_laplacian import (
    p_laplacian as p_laplacian,
    p_laplacian_energy as p_laplacian_energy,
)
from sparsesolve.gallery._problem import Problem as Problem
from sparsesolve.gallery._reaction_diffusion import reaction_diffusion as reaction_diffusion
